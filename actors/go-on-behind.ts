/**
 * A cell whose newest records are not to be had, and somebody accepted that: it goes on from its folder. What is there is of
 * different ages, and others may know what the lost records did.
 *
 * B1 All of it comes to life in one synchronous turn, together with what brings it to one mind (resync.ts): nothing starts
 *    by an old memory in between.
 * B2 No seq is given again that anything here, or a Lazarus of this node, has seen: it would be taken for a repetition.
 * B3 A step that was waited for and is not `safe` may have been begun in what is lost: the ledger counts it as begun, so its
 *    outcome file, its probe or a person says how it ended (P4).
 */
import { CellStore } from '../cells/checkpoint.ts';
import { listInside } from '../cells/inside.ts';
import { readCellCopy } from '../cells/journal-copy.ts';
import { cellPath, encodeName } from '../cells/layout.ts';
import { agentAddress, cellAddress, lazarusAddress } from '../machines/addresses.ts';
import type { AgentContext } from '../machines/agent-context.ts';
import type { RunStepInput } from '../machines/agent-effects.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { RuntimeError } from '../machines/errors.ts';
import { asJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Step } from '../machines/mission.ts';
import type { CellPlaces } from './cell-places.ts';
import type { ActorState } from './fold.ts';
import type { Kernel } from './kernel.ts';
import { decodeRecord } from './records.ts';
import type { Invokes } from './records.ts';
import { remedies } from './resync.ts';
import { hashArgv, newestOutcome } from './step-files.ts';
import type { LivingAgent, Memories, Remedy } from './resync.ts';
import type { ActorSystem, SystemLog } from './system.ts';

interface Host {
  kernel: Kernel;
  places: CellPlaces;
  log: SystemLog;
}

/** `isForeign`: the clock its timers count on is not this node's. False when the cell itself cannot be restored. */
export async function goOnBehind(
  { kernel, places, log }: Host,
  { cellId, dir, isForeign }: { cellId: string; dir: string; isForeign: boolean },
): Promise<boolean> {
  const { system } = kernel;
  const addresses = addressesIn(dir, cellId);
  const seen = whatWasSeen(system, new CellStore(places, log), { addresses, cellId, dir });
  const restored: string[] = [];
  const waits: Promise<unknown>[] = [];
  for (const address of addresses) {
    const actor = system.actors.get(address) ?? kernel.adopt(address);
    if (address === cellAddress(cellId) && (actor === undefined || actor.hold))
      return actor !== undefined; // held: the status says why
    if (actor === undefined || actor.hold) continue;
    Object.assign(actor, { stopped: true, seq: Math.max(actor.seq, seen.seqs.get(address) ?? 0) });
    waits.push(kernel.bringBack(address, 'folder', countAsBegun));
    if (actor.resident !== undefined) restored.push(address);
    else if (address === cellAddress(cellId)) {
      await Promise.all(waits);
      return false; // its agents would not fit one that begins anew
    }
  }
  const leftUp = Math.max(seen.up, ...restored.map((address) => upIn(system, address)));
  if (isForeign)
    for (const address of restored)
      waits.push(system.send(address, { type: 'node.changed', leftUp }));
  waits.push(resync(system, { cellId, dir })); // B1: its first turn is this one
  await Promise.all(waits);
  log.warn({ cellId }, 'cell goes on from its folder: records that are elsewhere were given up');
  return true;
}

/** Brings a cell's actors to one mind; a held one when it is released itself. Throws what the system throws for an event it cannot take. */
export async function resync(
  system: ActorSystem,
  { cellId, dir }: { cellId: string; dir: string },
): Promise<Remedy[]> {
  const memories = memoriesOf(system, cellId, dir);
  if (memories === undefined) return [];
  const isHeld = (agentId: string): boolean =>
    system.actors.get(agentAddress(cellId, agentId))?.hold !== undefined;
  const found = remedies(memories).filter(
    (remedy) => remedy.kind === 'cell' || !isHeld(remedy.agentId),
  );
  await Promise.all(found.map((remedy) => carryOut(system, cellId, remedy)));
  return found;
}

function carryOut(system: ActorSystem, cellId: string, remedy: Remedy): Promise<unknown> {
  switch (remedy.kind) {
    case 'spawn': {
      const { agentId, level } = remedy;
      const address = agentAddress(cellId, agentId);
      return system.spawn(address, 'agent', { cellId, agentId, level });
    }
    case 'agent':
      return send(system, agentAddress(cellId, remedy.agentId), remedy.event);
    case 'cell':
      return send(system, cellAddress(cellId), remedy.event);
    default:
      return remedy satisfies never;
  }
}

function send(system: ActorSystem, to: string, event: { type: string }): Promise<unknown> {
  return system.send(to, { ...asJsonObject(event), type: event.type });
}

/** Of those that live and can be restored; undefined when the cell cannot. */
function memoriesOf(system: ActorSystem, cellId: string, dir: string): Memories | undefined {
  const cell = stateAt(system, cellAddress(cellId));
  if (cell === undefined) return undefined;
  const agents = new Map<string, LivingAgent>();
  const prefix = agentAddress(cellId, '');
  for (const address of system.actors.keys()) {
    const state = address.startsWith(prefix) ? stateAt(system, address) : undefined;
    if (state === undefined) continue;
    const context = state.snapshot.context as AgentContext;
    agents.set(address.slice(prefix.length), { context, isStepping: isStepping(state.invokes) });
  }
  const begun = new Map<string, ReadonlySet<string>>();
  const wasBegun = (taskId: string, step: string): boolean => {
    const steps = begun.get(taskId) ?? stepsBegun(dir, taskId);
    begun.set(taskId, steps);
    return steps.has(encodeName(step));
  };
  const provenDone = (taskId: string, steps: readonly Step[]): number =>
    stepsProven(dir, taskId, steps);
  return { cell: cell.snapshot.context as CellContext, agents, wasBegun, provenDone };
}

function stateAt(system: ActorSystem, address: string): ActorState | undefined {
  const actor = system.actors.get(address);
  if (actor === undefined || actor.stopped || actor.hold) return undefined;
  try {
    return system.wake(actor).state;
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'ACTOR_HELD') return undefined; // on record, with the reason
    throw error;
  }
}

const isStepping = (invokes: Invokes): boolean =>
  Object.values(invokes).some(({ src }) => src === 'runStep');

/** Encoded names: each run of a step leaves `artifacts/logs/<task>/<step>.<attempt>.out`. */
function stepsBegun(dir: string, taskId: string): ReadonlySet<string> {
  const names = (listInside(dir, cellPath.stepLogs(taskId)) ?? []).map(({ name }) => name);
  return new Set(names.flatMap((name) => /^([^.]+)\.[0-9]+\.out$/.exec(name)?.[1] ?? []));
}

/** Leading steps whose newest run ended well, by the outcome that its worker wrote down. */
function stepsProven(dir: string, taskId: string, steps: readonly Step[]): number {
  const open = steps.findIndex(({ name, run }) => {
    const outcome = newestOutcome({ cellDir: dir, taskId, name, kind: 'step' });
    const isWell = outcome?.exit_code === 0 && !outcome.timed_out;
    return !isWell || outcome.argv_sha256 !== hashArgv(run);
  });
  return open < 0 ? steps.length : open;
}

/** The cell first. */
function addressesIn(dir: string, cellId: string): string[] {
  const names = (listInside(dir, 'checkpoints') ?? []).map(({ name }) => name);
  const agents = names.filter((name) => name !== '_cell').map((name) => agentAddress(cellId, name));
  return [cellAddress(cellId), ...agents];
}

/** B3. */
function countAsBegun(state: ActorState): void {
  const begun = Object.entries(state.invokes).filter(
    ([, { src, input }]) =>
      src === 'runStep' && (input as unknown as RunStepInput).step.retry !== 'safe',
  );
  if (begun.length === 0) return;
  const marked = begun.map(([id, invoke]) => [id, { ...invoke, started: true as const }]);
  state.invokes = { ...state.invokes, ...(Object.fromEntries(marked) as Invokes) };
}

interface Seen {
  /** By address: the highest seq that anything here knows of it (B2). */
  seqs: Map<string, number>;
  /** The latest that the clock of running time showed in any record. */
  up: number;
}

function whatWasSeen(
  system: ActorSystem,
  store: CellStore,
  { addresses, cellId, dir }: { addresses: readonly string[]; cellId: string; dir: string },
): Seen {
  const seqs = new Map<string, number>();
  const note = (address: string, seq: number): void =>
    void seqs.set(address, Math.max(seq, seqs.get(address) ?? 0));
  const noteSenders = (senders: Record<string, [seq: number, n: number]>): void => {
    for (const [sender, [seq]] of Object.entries(senders)) note(sender, seq);
  };
  let up = 0;
  for (const { address, line } of readCellCopy(dir)) {
    const record = decodeRecord(line);
    note(address, record.n);
    if ('s' in record && record.s) note(record.s[0], record.s[1]);
    up = Math.max(up, record.u);
  }
  for (const address of addresses) {
    for (const { seq, dedupe } of store.checkpoints(address)) {
      note(address, seq);
      noteSenders(dedupe.senders);
    }
    const agentId = address.split('/')[3];
    const lazarus = agentId && stateAt(system, lazarusAddress(cellId, agentId));
    if (lazarus) noteSenders(lazarus.dedupe.toJSON().senders);
  }
  return { seqs, up };
}

/** Where no record tells: times of the clock that the actor itself remembers. */
function upIn(system: ActorSystem, address: string): number {
  const context = system.actors.get(address)?.resident?.state.snapshot.context as
    JsonObject | undefined;
  const times = [context?.['activeSince'], context?.['savedAt']];
  return Math.max(0, ...times.filter((time) => typeof time === 'number'));
}
