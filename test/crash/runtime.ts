/**
 * A real runtime process for the harness to kill: a MissionNode on a folder, a client that sends numbered events and waits
 * for their acknowledgement, and an observer that notes down everything the outside could have seen.
 *
 * R1 A line is in the report file before anything else happens, so what stands there was acknowledged or shown when the
 *    kill came.
 * R2 It settles what is in doubt as a person would: it waits until the doubt is shown, looks at the world, and decides.
 */
import { openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CellStore } from '../../cells/checkpoint.ts';
import { MissionNode } from '../../actors/node.ts';
import { machineRegistry } from '../../actors/registry.ts';
import type { DoubtView, RevivalView, StatusView } from '../../actors/status.ts';
import { lazarusAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isFull } from '../../actors/patience.ts';
import { decodeRecord } from '../../actors/records.ts';
import { compareWithDisk, historyOf } from '../support/replay.ts';
import type { Disk } from '../support/replay.ts';
import { loadMachine } from './load.machine.ts';
import type { LoadContext } from './load.machine.ts';
import { judge } from './mission.ts';
import type { StepOfMission } from './mission.ts';
import type { LifeArguments, Line, Sight, ViolationKind } from './report.ts';

const args = JSON.parse(process.argv[2] ?? '{}') as LifeArguments;
const report = openSync(args.report, 'a');
/** R1. */
const say = (line: Line): void => void writeSync(report, `${JSON.stringify(line)}\n`);
const complain = (kind: ViolationKind, what: string): void => say({ t: 'violation', kind, what });

/** How far this life is. */
const phase = { isFinished: false, isStopping: false };
let shownLast = '';

const SINK = 'system/load/sink';
const sources = Array.from({ length: args.load.sources }, (_, i) => `system/load/${i}`);
const registry = machineRegistry().register({ machine: loadMachine });
const log = {
  info: () => undefined,
  warn: (fields: object, message: string) => say({ t: 'warn', message, fields: { ...fields } }),
  error: (fields: object, message: string) => say({ t: 'warn', message, fields: { ...fields } }),
};

const { now: realNow } = Date;
const { clockOffsetMs = 0 } = args;
Date.now = () => realNow() + clockOffsetMs;
const node = await MissionNode.start({
  missionsDir: args.missions,
  log,
  version: 'crash',
  drainMs: 2000,
  kernel: { registry, segmentBytes: args.segmentBytes, limits: { snapshotEvery: 8 } },
});
const { system } = node.kernel;
const disk: Disk = {
  registry,
  store: new CellStore(node.places, log),
  journalFolder: node.layout.journal,
  indexFile: node.layout.index,
};
say({ t: 'up', epoch: system.epoch, afterMs: realNow() - args.spawnedAt, ...look() });

const compacting = setInterval(() => void compact(), args.compactMs);
const looking = setInterval(() => show(), 10);
process.on('SIGTERM', () => void stop());
await main().catch((error: unknown) =>
  complain('other', `the runtime failed: ${error instanceof Error ? error.stack : String(error)}`),
);

async function main(): Promise<void> {
  await checkReplay('early');
  for (const address of [SINK, ...sources])
    await system.spawn(address, 'load', { self: address, sink: address === SINK ? null : SINK });
  const feeds = sources.map((address) => feed(address));
  const doubts = settleDoubts();
  await Promise.all(feeds);
  await completed();
  phase.isFinished = true;
  await doubts;
  await checkReplay('end');
  checkOnce();
  show();
  say({ t: 'done' });
  await stop();
}

async function stop(): Promise<void> {
  if (phase.isStopping) return;
  phase.isStopping = true;
  clearInterval(compacting);
  clearInterval(looking);
  await node.stop();
  say({ t: 'stopped' });
}

// ---- what the outside sees --------------------------------------------------------------------------------------------

function prefixed(relayed: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(relayed).map(([from, n]) => [`${SINK} ${from}`, n]));
}

function look(): Sight {
  const sight: Sight = {
    state: '',
    seqs: {},
    load: {},
    tasks: {},
    cells: {},
    held: [],
    pids: [],
    doubts: [],
  };
  const status: StatusView = node.status();
  sight.state = status.node.state;
  for (const cell of status.cells) {
    sight.cells[cell.cell_id] = cell.status;
    for (const { task_id: task, status: is, steps_done: steps, blocked_reason: why } of cell.tasks)
      sight.tasks[`${cell.cell_id}.${task}`] = { is, steps, why };
    for (const { pid } of cell.agents) if (pid !== null) sight.pids.push(pid);
  }
  sight.held = status.held.map(({ what, reason }) => `${what}: ${reason}`);
  sight.doubts = status.in_doubt.map(({ key }) => key);
  for (const actor of system.actors.values()) {
    if (!actor.isShown || actor.hold) continue;
    const { seq, snapshot } = system.read(actor.address);
    sight.seqs[actor.address] = seq;
    if (!actor.address.startsWith('system/load/')) continue;
    const { last, relayed, wrong } = snapshot.context as LoadContext;
    Object.assign(
      sight.load,
      actor.address === SINK ? prefixed(relayed) : { [actor.address]: last },
    );
    for (const oddity of wrong) {
      const [n = 0, after = 0] = oddity.split(' after ').map(Number);
      complain(n > after ? 'lost' : 'repeated', `${actor.address} was given ${oddity}`);
    }
  }
  return sight;
}

function show(): void {
  const sight = look();
  const text = JSON.stringify(sight);
  if (text !== shownLast) say({ t: 'shown', ...sight });
  shownLast = text;
}

// ---- the client -------------------------------------------------------------------------------------------------------

/** Sends what was never acknowledged, again under the same id, until it is. */
async function feed(address: string): Promise<void> {
  let next = (args.load.acked[address] ?? 0) + 1;
  while (next <= args.load.upTo && !phase.isStopping) {
    const window = Array.from({ length: args.load.inFlight }, (_, i) => next + i);
    const sent = window
      .filter((n) => n <= args.load.upTo)
      .map(async (n) => {
        const { seq } = await system.send(address, { type: 'count', n }, { id: `${address}-${n}` });
        say({ t: 'ack', address, n, seq });
      });
    for (const result of await Promise.allSettled(sent)) {
      if (result.status === 'fulfilled') next += 1;
      else {
        refused(result.reason);
        break;
      }
    }
    await sleep(args.load.gapMs);
  }
}

function refused(reason: unknown): void {
  const { code, message } = reason as RuntimeError;
  const isExpected = code === 'JOURNAL_HELD' || code === 'BUSY';
  if (!isExpected || !(reason instanceof RuntimeError))
    complain('other', `a send was refused: ${message}`);
}

async function completed(): Promise<void> {
  for (let left = args.patienceMs; left > 0 && !phase.isStopping; left -= 20) {
    const { cells } = node.status();
    if (args.cells.every((id) => cells.some((c) => c.cell_id === id && c.status === 'completed')))
      return;
    await sleep(20);
  }
  if (!phase.isStopping) complain('other', `not completed: ${JSON.stringify(node.status().cells)}`);
}

// ---- doubts (R2) ------------------------------------------------------------------------------------------------------

async function settleDoubts(): Promise<void> {
  while (!phase.isFinished && !phase.isStopping) {
    for (const doubt of node.status().in_doubt) await settle(doubt);
    for (const revival of node.status().revivals)
      if (revival.status === 'pending_approval') await approve(revival);
    await sleep(10);
  }
}

async function settle(doubt: DoubtView): Promise<void> {
  const step = args.steps.find(
    (s) => s.cell === doubt.cell_id && s.task === doubt.task_id && s.name === doubt.step,
  );
  if (step === undefined) return complain('doubt', `about no step of the mission: ${doubt.key}`);
  if (step.kind === 'safe') complain('doubt', `a safe step is in doubt: ${doubt.key}`);
  if (!(await isShown(step, doubt.key))) return;
  const verdict = judge(args.evidence, step.evidence, step.kind);
  say({ t: 'doubt', key: doubt.key, step: step.evidence, verdict });
  try {
    await system.settle(doubt.key, { kind: verdict }, 'harness');
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.code !== 'NOT_FOUND') throw error; // withdrawn meanwhile
  }
}

/** As a person would, and from the previous checkpoint where there is one; the second answer to a question is refused. */
async function approve(revival: RevivalView): Promise<void> {
  const { cell_id: cellId, agent_id: agentId, revival_id: revivalId, story } = revival;
  const rollBack = !story.some((line) => line.includes('was not put back'));
  const event = { type: 'revival.approve', by: 'harness', revivalId, rollBack };
  try {
    await system.send(lazarusAddress(cellId, agentId), event);
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.code !== 'CONFLICT') throw error; // it came back by itself
  }
}

async function isShown({ cell, task }: StepOfMission, key: string): Promise<boolean> {
  for (let left = 5000; left > 0; left -= 10) {
    const status = node.status();
    if (!status.in_doubt.some((doubt) => doubt.key === key)) return false;
    const view = status.cells
      .find((c) => c.cell_id === cell)
      ?.tasks.find((t) => t.task_id === task);
    if (view?.blocked_reason?.startsWith('in doubt')) return true;
    await sleep(10);
  }
  complain('doubt', `${key} is in doubt, and its task does not say so`);
  return false;
}

// ---- the disk ---------------------------------------------------------------------------------------------------------

async function compact(): Promise<void> {
  if (phase.isStopping || system.failure) return;
  await node.kernel.compact().catch((error: unknown) => {
    if (!system.failure && !isFull(error)) complain('other', `upkeep failed: ${String(error)}`);
  });
}

async function checkReplay(when: 'early' | 'end'): Promise<void> {
  for (const actor of system.actors.values()) if (!actor.stopped && !actor.hold) system.wake(actor); // which may journal something of its own
  for (;;) {
    if (system.failure === undefined) await system.settled();
    if (system.pendingRecords === 0) break;
    await sleep(1);
  }
  const { compared, problems } = compareWithDisk(system, disk);
  for (const problem of problems) complain('replay', `${when}: ${problem}`);
  say({ t: 'replayed', when, compared });
}

/** Every acknowledged event stands in the history once. */
function checkOnce(): void {
  for (const address of sources) {
    const ids = historyOf(disk, address).flatMap((line) => {
      const record = decodeRecord(line);
      return record.k === undefined && record.i !== undefined ? [record.i] : [];
    });
    if (new Set(ids).size !== ids.length)
      complain('repeated', `${address} has an event twice in its history`);
    const missing = args.load.upTo - ids.length;
    if (missing !== 0) complain('lost', `${address} has ${missing} events too few in its history`);
  }
}
