/**
 * How a cell goes on that this node does not know as living: it comes from another node, its folder was away and is back, or
 * it is new.
 *
 * T1 It goes on from where it was: what was finished is not begun again.
 * T2 The cell and the agents it had come back all of them or none. Agents do not outlive the memory of their cell: where
 *    that begins anew, they are stopped, for one in mid-task would not fit it.
 * T3 Its timers count on a clock that stood still for it, or was another one: every actor hears what that showed at the end,
 *    in the turn in which it wakes.
 */
import { listInside } from '../cells/inside.ts';
import type { OwnerFound } from '../cells/owner.ts';
import { agentAddress, cellAddress, homeCell } from '../machines/addresses.ts';
import type { CellContext } from '../machines/cell-context.ts';
import type { CellPlaces } from './cell-places.ts';
import { goOnBehind } from './go-on-behind.ts';
import type { Kernel } from './kernel.ts';
import type { ActorSystem, SystemLog } from './system.ts';

interface Host {
  kernel: Kernel;
  places: CellPlaces;
  nodeId: string;
  log: SystemLog;
}

/** `begins anew`: somebody has to spawn it; `with a loss`: something of it ran before and is forgotten. */
export type Start = 'goes on' | 'begins anew' | 'begins anew, with a loss' | 'records gone';

const BEGINS_ANEW = 'its cell begins anew';

/** `owner`: as it was before this node took the cell. */
export async function goOn(
  host: Host,
  { cellId, dir, owner }: { cellId: string; dir: string; owner: OwnerFound },
): Promise<Start> {
  const { kernel, nodeId } = host;
  const record = owner.kind === 'owner' ? owner.owner : undefined;
  const wasStopped = kernel.system.actors.get(cellAddress(cellId))?.stopped === true;
  const isForeign = record === undefined ? !wasStopped : record.node !== nodeId;
  if (record === undefined || record.loss) {
    // Nobody vouches for what is here: it is all there is, or its loss was accepted.
    const names = checkpointNames(dir);
    const goesOn = names.includes('_cell') && (await goOnBehind(host, { cellId, dir, isForeign }));
    if (goesOn) return 'goes on';
    adoptAll(kernel, cellId, dir);
    await stopAll(kernel.system, cellId, BEGINS_ANEW); // T2
    return record?.loss ? 'begins anew, with a loss' : 'begins anew';
  }
  const back: string[] = [];
  if (wasStopped) {
    const from = record.clean ? 'folder' : 'journal';
    if (!(await bringBack(kernel, { cellId, from, back }))) return 'records gone';
  }
  back.push(...adoptAll(kernel, cellId, dir));
  if (!kernel.system.has(cellAddress(cellId))) {
    await stopAll(kernel.system, cellId, BEGINS_ANEW); // T2
    return 'begins anew';
  }
  const wasAway = isForeign || (wasStopped && record.clean);
  await wakeAll(kernel.system, back, wasAway ? record.up : undefined);
  return 'goes on';
}

/** Ends every actor of a cell. What they wait for is not begun: one that wakes only to be stopped starts nothing. */
export async function stopAll(system: ActorSystem, cellId: string, reason: string): Promise<void> {
  const living = [...system.actors.keys()].filter(
    (address) => homeCell(address) === cellId && system.has(address),
  );
  system.effects.withhold(cellId);
  try {
    await Promise.all(living.map((address) => system.stop(address, reason)));
  } finally {
    system.effects.unwithhold(cellId);
  }
}

const checkpointNames = (dir: string): string[] =>
  (listInside(dir, 'checkpoints') ?? []).map(({ name }) => name);

/** Makes known what has a checkpoint in the folder; returns the addresses that are new here. */
function adoptAll(kernel: Kernel, cellId: string, dir: string): string[] {
  return checkpointNames(dir)
    .map((name) => (name === '_cell' ? cellAddress(cellId) : agentAddress(cellId, name)))
    .filter((address) => kernel.adopt(address) !== undefined);
}

/** T2. Their addresses go to `back`. */
async function bringBack(
  kernel: Kernel,
  { cellId, from, back }: { cellId: string; from: 'journal' | 'folder'; back: string[] },
): Promise<boolean> {
  const { system } = kernel;
  if (!(await kernel.bringBack(cellAddress(cellId), from))) return false;
  back.push(cellAddress(cellId));
  const { agents } = system.read(cellAddress(cellId)).snapshot.context as CellContext;
  for (const [agentId, { spawned }] of Object.entries(agents)) {
    const address = agentAddress(cellId, agentId);
    if (!spawned || !system.actors.has(address)) continue;
    if (!(await kernel.bringBack(address, from))) {
      await stopAll(system, cellId, `records of agent ${agentId} are gone`);
      return false;
    }
    back.push(address);
  }
  return true;
}

/** T3. `leftUp`: what the clock showed when the cell was left. */
async function wakeAll(
  system: ActorSystem,
  addresses: readonly string[],
  leftUp: number | undefined,
): Promise<void> {
  const told: Promise<unknown>[] = [];
  for (const address of addresses) {
    const actor = system.actors.get(address);
    if (!actor || actor.stopped || actor.hold) continue;
    system.wake(actor);
    if (leftUp !== undefined) told.push(system.send(address, { type: 'node.changed', leftUp })); // in the same turn
  }
  await Promise.all(told);
}
