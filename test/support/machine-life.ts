/**
 * Carries out the commands of life-commands.ts. Each does one thing to a world; the same commands done to two worlds do the
 * same to both. And the ways in which every life can come to a good end.
 */
import { agentAddress, lazarusAddress } from '../../machines/addresses.ts';
import type { AgentContext } from '../../machines/agent-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { RESTART, tell } from './life-commands.ts';
import type { Command } from './life-commands.ts';
import { CELL, cellFile, EXIT_0, EXIT_2, KILLED, SAVED, taskFile } from './machine-world.ts';
import { VERIFIED } from './machine-world.ts';
import type { MachineWorld } from './machine-world.ts';

/** A refused request is a fine outcome; any other error is not. */
export function carryOut(world: MachineWorld, what: Command): void {
  try {
    perform(world, what);
  } catch (err) {
    if (!(err instanceof RuntimeError)) throw err;
  }
}

function perform(world: MachineWorld, what: Command): void {
  switch (what.kind) {
    case 'tell':
      return world.tell(what.event);
    case 'pass':
      return world.pass(what.ms);
    case 'answer':
      return give(world, what);
    case 'fault':
      return meet(world, what);
    case 'edit': {
      const known = world.cell.files[what.path];
      if (!known || known.removed) return undefined;
      const content = { ...world.file(what.path), [what.field]: what.value };
      return world.files({ path: what.path, kind: known.kind, id: known.id, content });
    }
    case 'effect':
      return endEffect(world, what);
    default:
      return what satisfies never;
  }
}

const EVENTS = {
  retry: { type: 'revival.approve' },
  roll_back: { type: 'revival.approve', rollBack: true },
  substitute: { type: 'revival.substitute' },
  give_up: { type: 'revival.reject' },
};

function give(world: MachineWorld, what: Extract<Command, { kind: 'answer' }>): void {
  const address = lazarusAddress(CELL, what.agentId);
  if (!world.actors.has(address)) return;
  const old = { revivalId: `${CELL}.${what.agentId}.0` };
  const event = { ...EVENTS[what.answer], by: 'ann', agentId: what.substitute };
  world.send(address, what.stale ? { ...event, ...old } : event);
}

function meet(
  world: MachineWorld,
  { agentId: id, fault: what }: Extract<Command, { kind: 'fault' }>,
): void {
  const address = agentAddress(CELL, id);
  if (!world.actors.has(address)) return undefined;
  switch (what) {
    case 'silent':
      return world.send(address, Object.assign({ type: 'agent.silent' }, { message: 'silence' }));
    case 'heard':
      return world.send(address, { type: 'agent.heard' });
    case 'held':
      world.hold(address);
      return world.report(id, 'agent.failed', 'its actor is held');
    case 'faulted':
      return world.report(id, 'agent.faulted', 'its machine rejected x');
    case 'strayed':
      return world.tell({ type: 'agent.strayed', agentId: id });
    default:
      return what satisfies never;
  }
}

interface Pending {
  address: string;
  id: string;
  src: string;
}

/** What runs and can end: a held actor's mail waits, and so does the end of its effects. */
export function pendingEffects(world: MachineWorld): Pending[] {
  return [...world.actors]
    .filter(([address]) => !world.isHeld(address))
    .flatMap(([address, { running }]) =>
      [...running.values()].map(({ id, src }) => ({ address, id, src })),
    );
}

function endEffect(world: MachineWorld, { pick, how }: { pick: number; how: number }): void {
  const effects = pendingEffects(world);
  // Timers are due less often than other effects end, and workers answer mostly once, or nothing would ever get done.
  const busy = effects.filter(({ src, address }) =>
    src === 'runWorker' ? how > 0 || isStarting(world, address) : src !== 'waitUntil',
  );
  const all = pick % 8 === 0 || busy.length === 0 ? effects : busy;
  const chosen = all[pick % Math.max(1, all.length)];
  if (chosen) endOne(world, chosen, how);
}

const ENDS = [
  { code: 1, signal: null },
  KILLED,
  { ...KILLED, cause: 'hung' },
  { ...KILLED, cause: 'stuck' },
];

function endOne(world: MachineWorld, { address, id, src }: Pending, how: number): void {
  const well = how === 0;
  switch (src) {
    case 'waitUntil':
      return world.done(address, id);
    case 'runWorker':
      if (well) return startWorker(world, address);
      if (how === 1) return world.fails(address, id, 'spawn failed');
      if (how === 2 && isStarting(world, address)) return takeTurn(world, address);
      return world.done(address, id, ENDS[how]);
    case 'runStep':
      return world.done(address, id, how < 3 ? EXIT_0 : EXIT_2); // failing steps are not what this is about
    case 'finishTask':
      return world.done(address, id, { artifacts: [], missing: well ? [] : ['x'] });
    case 'releaseActor':
      if (!well) return world.fails(address, id, 'still damaged');
      world.release(agentOf(address));
      if (!world.actors.get(address)?.running.has(id)) return undefined; // what was kept has settled it
      return world.done(address, id);
    case 'rollBackActor':
      return putBack(world, address, how);
    default:
      if (!well) return world.fails(address, id, 'disk full');
      return world.done(address, id, OUTPUTS[src] ?? null);
  }
}
/** The start of its worker waits its turn, or does so no more. */
function takeTurn(world: MachineWorld, address: string): void {
  const { queued } = world.actor(address).snapshot.context as AgentContext;
  world.send(address, { type: queued ? 'worker.starting' : 'worker.queued' });
}

const OUTPUTS: Record<string, unknown> = { writeContext: SAVED, verifyRevival: VERIFIED };

const agentOf = (lazarus: string): string => agentAddress(CELL, lazarus.split('/').at(-1) ?? '');

/** To what it knew `how` events ago. Its effects are gone then, and so is its worker. */
function putBack(world: MachineWorld, lazarus: string, how: number): void {
  const address = agentOf(lazarus);
  const earlier = world.earlier(address, how);
  if (how === 0 || earlier === null || world.isHeld(address))
    return world.fails(lazarus, 'rollBack', 'there is no earlier checkpoint');
  world.rollBack(address.split('/').at(-1) ?? '', earlier);
  return world.done(lazarus, 'rollBack', { toSeq: 1 });
}

export function startWorker(world: MachineWorld, address: string): void {
  world.send(address, Object.assign({ type: 'worker.started' }, { pid: 7 }));
}

/** Faults end, workers start, people approve, until nothing moves any more. */
export function makeAllWell(world: MachineWorld): void {
  world.files(cellFile({ restart: RESTART, policies: { auto_revive: 'ask' } }));
  carryOut(world, tell({ type: 'cell.release', reason: 'x' }));
  carryOut(world, tell({ type: 'cell.resume' }));
  if (world.cell.phase !== 'working')
    carryOut(world, tell({ type: 'files.changed', changes: [taskFile('new')] }));
  for (let round = 0; round < 30; round += 1) {
    for (const id of Object.keys(world.cell.agents)) {
      const address = agentAddress(CELL, id);
      world.release(address);
      carryOut(world, { kind: 'fault', agentId: id, fault: 'heard' });
      carryOut(world, tell({ type: 'agent.resume', agentId: id }));
      const command = { kind: 'answer', answer: 'retry', substitute: null, stale: false } as const;
      carryOut(world, { ...command, agentId: id });
    }
    endAllWell(world);
  }
}

/** What is no timer ends well, again and again; of the timers, those that only space things out. */
export function endAllWell(world: MachineWorld): void {
  for (let i = 0; i < 1000; i += 1) {
    const next = pendingEffects(world).find(
      ({ src, id, address }) =>
        (src !== 'waitUntil' && (src !== 'runWorker' || awaitsWorker(world, address))) ||
        ['backoff', 'ledgerRetry', 'patience'].includes(id),
    );
    if (!next) return;
    const isDying = next.src === 'runWorker' && !isStarting(world, next.address);
    if (isDying) world.done(next.address, next.id, KILLED);
    else endOne(world, next, 0);
  }
  throw new Error('effects come up for ever');
}

interface WorkerState {
  alive?: { worker?: { running?: unknown } };
}
const workerOf = (world: MachineWorld, address: string): unknown =>
  (world.actor(address).value as WorkerState).alive?.worker?.running;
const isStarting = (world: MachineWorld, address: string): boolean =>
  workerOf(world, address) === 'starting';
/** It is starting or being ended: what comes next is the worker's own. */
function awaitsWorker(world: MachineWorld, address: string): boolean {
  const state = workerOf(world, address);
  return state === 'starting' || state === 'condemned' || state === 'dying';
}
