/**
 * Which incidents there are and which had its last event when: the planner's means to keep their number within bounds. Ten
 * thousand of them must not be copied for every event, so they stand in shards. Time is counted in events of the planner
 * (its seq), which never stand still together, and only coarsely.
 */
export interface Roll {
  size: number;
  /** By shard, address to the planner's seq at the last event, or somewhat earlier. */
  shards: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export const EMPTY_ROLL: Roll = { size: 0, shards: {} };

const SHARDS = 64;
/** So many events later at most changes nothing. */
const COARSE = 500;

export function isEnrolled({ shards }: Roll, address: string): boolean {
  return Object.hasOwn(shards[shardOf(address)] ?? {}, address);
}

/** The same roll when there is nothing to note. */
export function enrol(roll: Roll, address: string, seq: number): Roll {
  const known = isEnrolled(roll, address) ? roll.shards[shardOf(address)]?.[address] : undefined;
  if (known !== undefined && seq - known < COARSE) return roll;
  return put(known === undefined ? { ...roll, size: roll.size + 1 } : roll, address, seq);
}

/** It is not asked again before all others. */
export function postpone(roll: Roll, address: string, seq: number): Roll {
  return isEnrolled(roll, address) ? put(roll, address, seq) : roll;
}

function put({ size, shards }: Roll, address: string, seq: number): Roll {
  const key = shardOf(address);
  return { size, shards: { ...shards, [key]: { ...shards[key], [address]: seq } } };
}

export function strikeOff(roll: Roll, address: string): Roll {
  const key = shardOf(address);
  const { [address]: known, ...rest } = roll.shards[key] ?? {};
  if (known === undefined) return roll;
  return { size: roll.size - 1, shards: { ...roll.shards, [key]: rest } };
}

/** The one without an event for longest; undefined: there is none. */
export function longestQuiet({ shards }: Roll): string | undefined {
  let found: [address: string, seq: number] | undefined;
  for (const shard of Object.values(shards))
    for (const [address, seq] of Object.entries(shard))
      if (found === undefined || seq < found[1]) found = [address, seq];
  return found?.[0];
}

export function enrolled({ shards }: Roll): string[] {
  return Object.values(shards).flatMap((shard) => Object.keys(shard));
}

/** Any spread will do. */
function shardOf(address: string): string {
  let sum = 0;
  for (let i = 0; i < address.length; i += 1) sum = (sum * 31 + address.charCodeAt(i)) | 0;
  return String((sum >>> 0) % SHARDS);
}
