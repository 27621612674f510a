/**
 * The text of one journal record. Every record begins `{"a":"<address>","n":<seq>`, so that a reader can tell whose it is
 * without parsing it. All records of an actor, of whatever kind, share one seq without gaps: a missing one is a hole.
 *
 * Fields: a address, n seq, p epoch, t epoch ms, u active ms, k kind (absent: an event was applied), and by kind:
 *   (event)      e event, and by origin: i outside id, s [sender, its seq, n], x [stream, created, seq], d date given; b 1: it
 *                came while the actor was held, so what it makes the machine send may have no record yet
 *   init         m machine id, h definition hash, e input, s
 *   rejected     of seq, e error: the event with that seq changed nothing
 *   started      of seq of the effect's cause, v invoke id: a `verify` or `at_most_once` effect is about to run
 *   settled      of, v, e {outcome, by}: an effect in doubt was settled as not started
 *   snapshot     e {snapshot, invokes, dedupe}: state inlined so that a restart folds little
 *   migrated     m machine id, h, e {snapshot, invokes}
 *   rolled_back  to seq, e {snapshot, reason}
 *   released     the actor was held until here
 *   stopped      e reason
 * Any of them may end with j 1: it does not follow the actor's last record in this journal, and nothing is missing before
 * it; the actor comes from elsewhere, or a loss was accepted.
 */
import type { PlainError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { SnapshotBody } from '../machines/persisted.ts';
import type { Deadline } from './timers.ts';

export type { Invoke, Invokes, SnapshotBody } from '../machines/persisted.ts';

interface Common {
  a: string;
  n: number;
  p: number;
  t: number;
  u: number;
}
export type EventRecord = Common & {
  k?: undefined;
  e: { type: string } & JsonObject;
  i?: string;
  d?: number;
  b?: 1;
  s?: [sender: string, seq: number, n: number];
  x?: [stream: string, created: string, seq: number];
};
export type JournalRecord =
  | EventRecord
  | (Common & { k: 'init'; m: string; h: string; e: JsonObject; s?: [string, number, number] })
  | (Common & { k: 'rejected'; of: number; e: PlainError })
  | (Common & { k: 'started'; of: number; v: string })
  | (Common & { k: 'settled'; of: number; v: string; e: { outcome: 'not_started'; by: string } })
  | (Common & { k: 'snapshot'; m: string; h: string; e: SnapshotBody })
  | (Common & { k: 'migrated'; m: string; h: string; e: SnapshotBody })
  | (Common & {
      k: 'rolled_back';
      m: string;
      h: string;
      to: number;
      e: SnapshotBody;
      reason: string;
    })
  | (Common & { k: 'released' })
  | (Common & { k: 'stopped'; e: string });

/** The constant beginning of an actor's records. Addresses hold no character that JSON would escape. */
export const recordPrefix = (address: string): string => `{"a":"${address}","n":`;

/** The last member of a record that does not follow the one before. */
export const JUMP = ',"j":1';
export const isJumpLine = (line: string): boolean => line.endsWith(`${JUMP}}`);

/** Cheap looks at the text, where thousands of lines are only counted. */
export const seqOfLine = (line: string): number =>
  Number(/^\{"a":"[^"]*","n":(\d+)/.exec(line)?.[1]);
export const isInitLine = (line: string): boolean => INIT_LINE.test(line);
/** An event that came while its actor was held (b). */
export const isKeptLine = (line: string): boolean =>
  line.startsWith(',"b":1', line.indexOf(',"e":') - ',"b":1'.length);
const INIT_LINE = /^\{"a":"[^"]*","n":\d+,"p":\d+,"t":\d+,"u":\d+,"k":"init"/;

/** `rest` is the text of the remaining members, beginning with a comma, without the closing brace. */
export function encodeRecord(
  prefix: string,
  { n, p, t, u }: { n: number; p: number; t: number; u: number },
  rest: string,
): string {
  return `${prefix}${n},"p":${p},"t":${t},"u":${u}${rest}}`;
}

export function decodeRecord(line: string): JournalRecord {
  return JSON.parse(line) as JournalRecord; // guarded by its batch's checksum
}

/** A cheap test on the text, so that a start-up need not parse what a later snapshot record supersedes. */
const SNAPSHOT_LINE = /^\{"a":"[^"]*","n":\d+,"p":\d+,"t":\d+,"u":\d+,"k":"snapshot"/;
export const isSnapshotLine = (line: string): boolean => SNAPSHOT_LINE.test(line);

/** `waitUntil`'s input as a deadline. Throws TypeError for anything else. */
export function toDeadline(input: JsonValue): Deadline {
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) {
    if (typeof input['up'] === 'number') return { up: input['up'] };
    if (typeof input['at'] === 'number') return { at: input['at'] };
  }
  throw new TypeError(`waitUntil needs {at} or {up} in ms, not ${JSON.stringify(input)}`);
}

export const effectKey = (address: string, seq: number, invoke: string): string =>
  `${address}#${seq}#${invoke}`;

/** Whether it waits for more than timers. */
export const hasEffects = (
  invokes: Readonly<Record<string, { src: string; input: JsonValue }>>,
): boolean => Object.values(invokes).some(({ src }) => src !== 'waitUntil');
