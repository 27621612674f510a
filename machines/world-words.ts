/**
 * The words and times of world files. Their writers are not ours: each calls things as it likes, and what is none of the words
 * known here is unknown rather than bad or good (P9).
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';
import type { Condition } from './supervision.ts';
import { timeOf } from './homelab-events.ts';

const WORDS: Readonly<Record<Exclude<Condition, 'unknown'>, string>> = {
  well: `ok okay healthy running up online active alive available ready started serving nominal normal good well passing
    pass passed green connected reachable present recovered success`,
  ill: `unhealthy failed failing failure fail down offline exited dead error errored critical degraded unreachable inactive
    stopped crashed crashing crash_loop crashloop crashloopbackoff missing absent gone unavailable not_running not_ready
    not_responding no_response disconnected lost killed oom_killed oomkilled red bad ill sick broken fatal terminated
    containers_not_running mqtt_unreachable timeout timed_out`,
  changing: `starting restarting deploying redeploying updating upgrading stopping creating created initializing initialising
    pending provisioning progressing reconciling pulling building booting rebooting recovering activating deactivating
    reloading scaling migrating removing in_progress health_starting`,
};

/** A host that says so is there, however it feels; what is about its presence is in `WORDS`. */
const HOST_WORDS: Readonly<Record<Condition, string>> = {
  well: 'degraded warning warn under_pressure pressure',
  ill: 'powered_off power_off shutdown shut_down',
  changing: 'draining',
  unknown: 'unhealthy critical error errored failing fail bad ill sick broken red fatal missing',
};

const tableOf = (words: Readonly<Partial<Record<Condition, string>>>): [string, Condition][] =>
  (['well', 'ill', 'changing', 'unknown'] as const).flatMap((condition) =>
    (words[condition] ?? '').split(/\s+/).map((word): [string, Condition] => [word, condition]),
  );

export type StatusTable = ReadonlyMap<string, Condition>;
export const SERVICE_STATUS: StatusTable = new Map(tableOf(WORDS));
export const NODE_STATUS: StatusTable = new Map([...tableOf(WORDS), ...tableOf(HOST_WORDS)]);

const MAX_WORD = 60;

export interface Status {
  /** As it is called, short and on one line. */
  status: string;
  condition: Condition;
}

const UNSAID: Status = { status: 'unknown', condition: 'unknown' };
/** Of the fields of one entry, the worst thing that is known beats the rest. */
const RANK: Readonly<Record<Condition, number>> = { ill: 0, changing: 1, well: 2, unknown: 3 };
const STATUS_FIELDS = ['status', 'availability', 'state', 'health'];

/** Of an entry: a word, a truth value, or an object with some of the fields. */
export function statusIn(entry: JsonValue | undefined, table: StatusTable): Status {
  if (!isJsonObject(entry)) return statusOf(entry, table) ?? UNSAID;
  let found: Status | undefined;
  for (const field of STATUS_FIELDS) {
    const status = statusOf(entry[field], table);
    if (status === undefined) continue;
    if (found === undefined || RANK[status.condition] < RANK[found.condition]) found = status;
  }
  return found ?? UNSAID;
}

function statusOf(value: JsonValue | undefined, table: StatusTable): Status | undefined {
  if (typeof value === 'boolean')
    return value ? { status: 'up', condition: 'well' } : { status: 'down', condition: 'ill' };
  if (typeof value !== 'string') return undefined;
  const known = table.get(value);
  if (known !== undefined) return { status: value, condition: known };
  const status = plainText(value, MAX_WORD);
  return { status, condition: table.get(wordOf(status)) ?? 'unknown' };
}

/** `Not Running`, `not-running` and `not_running` are one word. */
const wordOf = (text: string): string => text.toLowerCase().replaceAll(/[\s-]+/g, '_');

export type Progress = 'went well' | 'failed' | 'neither';
const OUTCOMES = new Map<string, Progress>([
  ...'completed complete success succeeded successful ok done deployed finished healthy passed'
    .split(' ')
    .map((word): [string, Progress] => [word, 'went well']),
  ...'failed failure fail error errored crashed timeout timed_out rolled_back rollback aborted'
    .split(' ')
    .map((word): [string, Progress] => [word, 'failed']),
]);

/** How a deployment ended, if it did. */
export function outcomeIn(entry: JsonObject): Progress {
  for (const field of ['status', 'state', 'result', 'outcome']) {
    const value = entry[field];
    const found = typeof value === 'string' ? OUTCOMES.get(wordOf(value.trim())) : undefined;
    if (found !== undefined) return found;
  }
  return 'neither';
}

const ACTIVE = new Set(
  'active open opened ongoing unresolved firing new acknowledged investigating triggered'.split(
    ' ',
  ),
);

/** Without a status it is active until it was resolved; one of an unknown status is none. */
export function isActive({ status, resolved_at: resolvedAt = null }: JsonObject): boolean {
  if (typeof status === 'string') return ACTIVE.has(wordOf(status.trim()));
  return (status === undefined || status === null) && resolvedAt === null;
}

const HIGH = new Set('high critical severe full true yes'.split(' '));
export const isHigh = (value: JsonValue | undefined): boolean =>
  value === true || (typeof value === 'string' && HIGH.has(wordOf(value.trim())));

const TOKEN = /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/;
/** What made it so, as a word that stays the same while it stands; a sentence is none. */
export function triggerOf(value: JsonValue | undefined): string | null {
  const given = isJsonObject(value) ? (value['type'] ?? value['event_type']) : value;
  const text = typeof given === 'string' ? given.trim() : '';
  return TOKEN.test(text) ? text : null;
}

/** When somebody looked and found it so. */
const LOOKED = [
  'checked_at',
  'last_check',
  'last_checked',
  'updated_at',
  'last_updated',
  'timestamp',
];
/** When it was there: of something that is gone that is no time of the news. */
const SEEN = ['last_seen', 'last_seen_at', 'seen_at', 'last_heartbeat'];

/** How old the news is, epoch ms: what the entry says, never newer than its file; null: it does not say. */
export function toldAt(entry: JsonValue, isIll: boolean, mtimeMs: number | null): number | null {
  const said = isJsonObject(entry)
    ? newest(newest(null, entry, LOOKED), entry, isIll ? [] : SEEN)
    : null;
  return said === null || mtimeMs === null ? said : Math.min(said, mtimeMs);
}

function newest(known: number | null, entry: JsonObject, fields: readonly string[]): number | null {
  let found = known;
  for (const field of fields) {
    const value = entry[field];
    const at = value === undefined ? undefined : timeOf(value);
    if (at !== undefined && (found === null || at > found)) found = at;
  }
  return found;
}

/** The first of the fields that holds a time, epoch ms. */
export function timeIn(entry: JsonObject, fields: readonly string[]): number | null {
  for (const field of fields) {
    const at = timeOf(entry[field]);
    if (at !== undefined) return at;
  }
  return null;
}
