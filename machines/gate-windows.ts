/**
 * When a window of a policy is open: on which days, between which times of day, in which time zone. Pure: what a zone's
 * offset is at what time comes in a table (`ZoneTable`), so that a replay decides as it was decided then.
 *
 * W1 A window belongs to the day on which it begins; one whose end is not after its start goes over midnight.
 * W2 Of a zone that no table tells of nothing is known: who asks about it is told so.
 */
import { matchingGlob } from './globs.ts';
import type { Window, ZoneTable } from './remediation.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Epoch ms: `from` belongs to it, `to` does not. */
export interface Span {
  from: number;
  to: number;
}

export interface Target {
  host: string;
  service: string;
}

export function concerns({ hosts, services }: Window, { host, service }: Target): boolean {
  const isAny = (globs: string[] | undefined, name: string): boolean =>
    globs === undefined || matchingGlob(globs, name) !== undefined;
  return isAny(hosts, host) && isAny(services, service);
}

/** The span of the window in which `at` lies; null: in none. Undefined: its zone is not known (W2). */
export function spanAt(window: Window, zones: ZoneTable, at: number): Span | null | undefined {
  const spans = spansAround(window, zones, at);
  return spans && (spans.find(({ from, to }) => from <= at && at < to) ?? null);
}

/** When the window opens next after `at`; null: never. Undefined: its zone is not known (W2). */
export function nextOpening(
  window: Window,
  zones: ZoneTable,
  at: number,
): number | null | undefined {
  const spans = spansAround(window, zones, at);
  return spans && (spans.find(({ from }) => from > at)?.from ?? null);
}

/** Of yesterday and the eight days from now on, in their order. */
function spansAround(window: Window, zones: ZoneTable, at: number): Span[] | undefined {
  const offsets = offsetsOf(window, zones);
  if (offsets === undefined) return undefined;
  const start = minutesOf(window.from);
  const end = minutesOf(window.to);
  const length = end > start ? end - start : end - start + 24 * 60; // W1
  const today = Math.floor((at + offsetAt(offsets, at) * MINUTE_MS) / DAY_MS);
  const spans: Span[] = [];
  for (let day = today - 1; day <= today + 8; day += 1) {
    const name = DAYS[(day + 4) % 7] ?? ''; // the first day of the epoch was a Thursday
    if (window.days !== undefined && !window.days.includes(name)) continue;
    const local = day * DAY_MS + start * MINUTE_MS;
    const from = toEpoch(offsets, local);
    const to = toEpoch(offsets, local + length * MINUTE_MS);
    if (to > from) spans.push({ from, to });
  }
  return spans;
}

type Offsets = ZoneTable[string];

function offsetsOf({ timezone = 'UTC' }: Window, zones: ZoneTable): Offsets | undefined {
  if (Object.hasOwn(zones, timezone)) return zones[timezone];
  return timezone === 'UTC' ? [[0, 0]] : undefined;
}

const offsetAt = (offsets: Offsets, at: number): number =>
  (offsets.findLast(([from]) => from <= at) ?? offsets[0])?.[1] ?? 0;

/** Of a time of day that comes twice, the first; of one that is left out, as far after the gap as it lies in it. */
function toEpoch(offsets: Offsets, local: number): number {
  const guesses = offsets
    .map(([, offset]) => local - offset * MINUTE_MS)
    .filter((at) => at + offsetAt(offsets, at) * MINUTE_MS === local);
  if (guesses.length > 0) return Math.min(...guesses);
  return local - offsetAt(offsets, local - DAY_MS) * MINUTE_MS;
}

function minutesOf(time: string): number {
  const [hours = '0', minutes = '0'] = time.split(':');
  return Number(hours) * 60 + Number(minutes);
}
