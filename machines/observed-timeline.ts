/**
 * What was heard of one thing (a service, a host's presence, its disk), in the order in which it happened, whatever the order
 * in which it was heard. Events come over Redis, over NATS and as files, late, twice and mixed up; so the newest are kept as
 * a set, and what they amount to (well or ill, incidents, how often it changed) is computed from the set when asked for. The
 * oldest are settled: their sum is kept, and nothing that is older than they are counts any more.
 *
 * T1 A set: the same marks in any order, each told any number of times, give the same answer, as long as none is older than
 *    what was settled.
 * T2 One event that came by several ways counts once: the same id; or the same type and time where one of the two has no
 *    id. A time without a fraction of a second is the same as any within that second.
 * T3 Of what happened at the same time, the worst counts last.
 * T4 An incident begins with the first that is ill and ends when each cause is over. Two that would begin in the same second
 *    are one: they would have the same name.
 */
import type { Sign } from './observed-event.ts';
import type { Severity } from './homelab-events.ts';

/** An event, as far as it counts here. */
export interface Mark {
  /** Epoch ms. */
  at: number;
  type: string;
  id: string | null;
  severity: Severity;
}

export interface Timeline {
  marks: readonly Mark[];
  /** Seconds up to which everything is settled. */
  until: number;
  settled: Course;
}

/** How it went. Times are epoch ms. */
export interface Course {
  /** Null: nobody said. */
  condition: 'well' | 'ill' | null;
  since: number | null;
  open: Incident | null;
  /** Over; the newest last. */
  closed: readonly Incident[];
  /** When it became ill after it was well, or the other way round. */
  changes: readonly number[];
}

export interface Incident {
  openedAt: number;
  /** What it began with, and the last that was ill. */
  type: string;
  lastType: string;
  lastAt: number;
  severity: Severity;
  occurrences: number;
  /** Of each cause that is not over, the type that spoke of it last; the newest last. */
  causes: readonly string[];
  resolvedAt: number | null;
  resolvedBy: string | null;
}

export type Verdict = 'counted' | 'known' | 'late';
export type SignOf = (type: string) => Sign | undefined;

/** Marks that are kept; of one second more, as nothing else would say which of them came last. */
export const MAX_MARKS = 32;
const MAX_OF_A_SECOND = 256;
const MAX_CLOSED = 20;
const MAX_CHANGES = 100;
const MAX_CAUSES = 8;
const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;

const FRESH_COURSE: Course = { condition: null, since: null, open: null, closed: [], changes: [] };
export const FRESH_TIMELINE: Timeline = { marks: [], until: -1, settled: FRESH_COURSE };

const SEVERITIES: readonly Severity[] = ['info', 'warning', 'error', 'critical'];
export const worse = (a: Severity, b: Severity): Severity =>
  SEVERITIES.indexOf(a) >= SEVERITIES.indexOf(b) ? a : b;

const secondOf = (at: number): number => Math.floor(at / 1000);

/** T1. `late`: it is older than what was settled, and changes nothing. */
export function withMark(
  timeline: Timeline,
  mark: Mark,
  signOf: SignOf,
): { timeline: Timeline; verdict: Verdict } {
  const { marks, until } = timeline;
  if (secondOf(mark.at) <= until) return { timeline, verdict: 'late' };
  const same = marks.findIndex((other) => isSame(other, mark));
  const known = marks[same];
  if (known !== undefined) {
    const severity = worse(known.severity, mark.severity);
    if (severity === known.severity) return { timeline, verdict: 'known' };
    return {
      timeline: { ...timeline, marks: marks.with(same, { ...known, severity }) },
      verdict: 'known',
    };
  }
  const next = { ...timeline, marks: inserted(marks, mark) };
  return {
    timeline: next.marks.length > MAX_MARKS ? settle(next, signOf) : next,
    verdict: 'counted',
  };
}

/** In place of another one. */
export function withoutMark(timeline: Timeline, mark: Mark): Timeline {
  return { ...timeline, marks: timeline.marks.filter((other) => other !== mark) };
}

const isSame = (a: Mark, b: Mark): boolean => a.at === b.at && a.type === b.type && a.id === b.id;

function inserted(marks: readonly Mark[], mark: Mark): Mark[] {
  const place = marks.findLastIndex((other) => compareMarks(other, mark) < 0) + 1;
  return marks.toSpliced(place, 0, mark);
}

/** Total, and the same for everybody; what it says of the health does not count here. */
function compareMarks(a: Mark, b: Mark): number {
  return a.at - b.at || compareText(a.type, b.type) || compareText(a.id ?? '', b.id ?? '');
}

export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The oldest second at a time. */
function settle(timeline: Timeline, signOf: SignOf): Timeline {
  let { marks, until, settled } = timeline;
  while (marks.length > MAX_MARKS) {
    const second = secondOf(marks[0]?.at ?? 0);
    const count = marks.findIndex(({ at }) => secondOf(at) !== second);
    if (count < 0 && marks.length <= MAX_OF_A_SECOND) break;
    const end = count < 0 ? marks.length : count;
    settled = bounded(followed(settled, marks.slice(0, end), signOf));
    until = second;
    marks = marks.slice(end);
  }
  return { marks, until, settled };
}

/** What is long over is forgotten. */
function bounded({ closed, changes, ...course }: Course): Course {
  const now = course.since ?? 0;
  return {
    ...course,
    closed: closed.filter(({ resolvedAt }) => (resolvedAt ?? 0) > now - WEEK_MS).slice(-MAX_CLOSED),
    changes: changes.filter((at) => at > now - HOUR_MS).slice(-MAX_CHANGES),
  };
}

/** How it went, as far as is known. */
export const courseOf = ({ settled, marks }: Timeline, signOf: SignOf): Course =>
  followed(settled, marks, signOf);

function followed(from: Course, marks: readonly Mark[], signOf: SignOf): Course {
  let course = from;
  for (const one of counting(marks, signOf)) course = step(course, one, signOf);
  return course;
}

interface Counting {
  mark: Mark;
  sign: Sign;
}

/** T2, T3. */
function counting(marks: readonly Mark[], signOf: SignOf): Counting[] {
  const signed = marks.flatMap((mark) => {
    const sign = signOf(mark.type);
    return sign === undefined ? [] : [{ mark, sign }];
  });
  const once = signed.filter(({ mark }) => !isToldBetter(mark, marks));
  return once.toSorted(
    (a, b) =>
      a.mark.at - b.mark.at ||
      rank(a.sign) - rank(b.sign) ||
      compareText(a.mark.type, b.mark.type) ||
      compareText(a.mark.id ?? '', b.mark.id ?? ''),
  );
}

const rank = ({ is }: Sign): number => (is === 'well' ? 0 : 1);

/** Another mark is of the same event, and says more exactly when it was. */
function isToldBetter(mark: Mark, marks: readonly Mark[]): boolean {
  return marks.some((other) => {
    if (other === mark || other.type !== mark.type) return false;
    if (secondOf(other.at) !== secondOf(mark.at)) return false;
    if (mark.id !== null) return other.id === mark.id && other.at > mark.at;
    const isRough = mark.at % 1000 === 0 || (other.id !== null && other.at % 1000 === 0);
    return isRough || other.at === mark.at; // without an id both would be one mark already
  });
}

function step(course: Course, { mark, sign }: Counting, signOf: SignOf): Course {
  if (sign.is === 'well' && sign.cause === null) return risen(course, mark);
  const { open } = course;
  const others = (open?.causes ?? []).filter((type) => causeOf(type, signOf) !== sign.cause);
  if (sign.is === 'ill') return fallen(course, mark, others);
  if (open === null || others.length === open.causes.length) return course;
  return others.length === 0
    ? risen(course, mark)
    : { ...course, open: { ...open, causes: others } };
}

const causeOf = (type: string, signOf: SignOf): string => signOf(type)?.cause ?? type;

/** T4. `others`: of the causes that stand, those that it does not speak of. */
function fallen(course: Course, mark: Mark, others: readonly string[]): Course {
  const { at, type, severity } = mark;
  const last = course.closed.at(-1);
  const isSameSecond = last !== undefined && secondOf(last.openedAt) === secondOf(at);
  const before = course.open ?? (isSameSecond ? last : null);
  const open: Incident = {
    openedAt: before?.openedAt ?? at,
    type: before?.type ?? type,
    lastType: type,
    lastAt: at,
    severity: before === null ? severity : worse(before.severity, severity),
    occurrences: (before?.occurrences ?? 0) + 1,
    causes: [...others.slice(0, MAX_CAUSES - 1), type],
    resolvedAt: null,
    resolvedBy: null,
  };
  const closed = course.open === null && isSameSecond ? course.closed.slice(0, -1) : course.closed;
  return { ...become(course, 'ill', at), open, closed };
}

function risen(course: Course, { at, type }: Mark): Course {
  const { open, closed } = course;
  const over = open === null ? [] : [{ ...open, causes: [], resolvedAt: at, resolvedBy: type }];
  return { ...become(course, 'well', at), open: null, closed: [...closed, ...over] };
}

function become(course: Course, condition: 'well' | 'ill', at: number): Course {
  if (course.condition === condition) return course;
  const changes = course.condition === null ? course.changes : [...course.changes, at];
  return { ...course, condition, since: at, changes };
}

/**
 * How often it changed between well and ill in the hour before `now`, epoch ms: each change counts 1 when it happens, and
 * less and less until it counts nothing an hour later. Two decimals.
 */
export function flapScore({ changes }: Course, now: number): number {
  const sum = changes.reduce(
    (total, at) => total + Math.max(0, 1 - Math.max(0, now - at) / HOUR_MS),
    0,
  );
  return Math.round(sum * 100) / 100;
}
