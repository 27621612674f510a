/**
 * What the platform knows of time zones, as the table that the gate is told: its decisions are replayed, and a platform's
 * rules change.
 */
import type { Policy, Window, ZoneTable } from '../../machines/remediation.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** It is made anew at every start, and every day while a node runs. */
const AHEAD_DAYS = 400;
const BEHIND_DAYS = 3;

/**
 * Of the zones that the policy names; one that the platform does not know is left out, and then nothing runs by it. `until`: how
 * far it is good at least, for a look at the past.
 */
export function zonesOf(policy: Policy | null, now: number, until = now): ZoneTable {
  const windows = policy === null ? [] : windowsOf(policy);
  const names = new Set(windows.map(({ timezone = 'UTC' }) => timezone));
  return Object.fromEntries(
    [...names].flatMap((name) => {
      const offsets = offsetsOf(name, now, until);
      return offsets === undefined ? [] : [[name, offsets]];
    }),
  );
}

const windowsOf = ({ closed_windows, open_windows, supervisor }: Policy): Window[] => [
  ...closed_windows,
  ...open_windows,
  ...supervisor.rules.flatMap(({ windows = [] }) => windows),
];

function offsetsOf(timeZone: string, now: number, until: number): ZoneTable[string] | undefined {
  let offsetAt: (at: number) => number;
  try {
    offsetAt = offsetReader(timeZone);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  const start = Math.floor(now / DAY_MS) * DAY_MS - BEHIND_DAYS * DAY_MS;
  const offsets: ZoneTable[string] = [[start, offsetAt(start)]];
  const days = AHEAD_DAYS + Math.ceil((until - start) / DAY_MS);
  for (let day = 1; day <= days; day += 1) {
    const to = start + day * DAY_MS;
    const [, known = 0] = offsets.at(-1) ?? [];
    if (offsetAt(to) === known) continue;
    const from = change(offsetAt, to - DAY_MS, to);
    offsets.push([from, offsetAt(to)]);
  }
  return offsets;
}

/** The minute between the two at which the offset becomes another. */
function change(offsetAt: (at: number) => number, before: number, after: number): number {
  const old = offsetAt(before);
  let [low, high] = [before, after];
  while (high - low > MINUTE_MS) {
    const middle = low + Math.floor((high - low) / 2 / MINUTE_MS) * MINUTE_MS;
    if (offsetAt(middle) === old) low = middle;
    else high = middle;
  }
  return high;
}

/** Minutes by which the zone is ahead of UTC. Throws RangeError for a zone that is none. */
function offsetReader(timeZone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  return (at) => {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
    const part = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0;
    const [year, month, day] = [part('year'), part('month'), part('day')];
    const local = Date.UTC(year, month - 1, day, part('hour'), part('minute'));
    return Math.round((local - Math.floor(at / MINUTE_MS) * MINUTE_MS) / MINUTE_MS);
  };
}
