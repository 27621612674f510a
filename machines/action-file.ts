/**
 * The file of an action as it is written by whoever proposes one. Three programs have a schema each (docs/actions.md); all
 * of them are read into the same facts, and whatever else stands in a file is kept.
 *
 * F1 An approval names what is run: everything of the file but what programs append while it moves (`status`,
 *    `transition_history`, `*_at`, and `would_run`, which a dry run writes). A driver is handed exactly that and no more.
 * F2 A file is named for its id. One that names another id is none of its name's.
 * F3 Who does not say that no human is needed needs one.
 */
import { actionAddress } from './addresses.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';

/** A longer file is refused, in bytes. */
export const MAX_ACTION_BYTES = 256 * 1024;
/** No folder, no hidden file, nothing that a terminal would obey. */
const ACTION_ID = /^[^\s./\p{Cc}\p{Cf}](?:[^/\p{Cc}\p{Cf}]*[^\s/\p{Cc}\p{Cf}])?$/u;
/** In bytes: names of files of ours are made of it. */
const MAX_ID_BYTES = 180;
/** In characters: as the token of an address it is longer. */
const MAX_ADDRESS = 280;
const MAX_NAME = 200;
const MAX_TEXT = 2000;

export interface ActionFacts {
  id: string;
  /** As drivers know it: `container_restart`, `redeploy`, `notify`, `alert_only`, ... */
  type: string;
  host: string;
  service: string;
  /** `low`, `guarded`, `none`, ... as the proposer calls it. */
  risk: string;
  requiresHuman: boolean;
  /** Epoch ms; null: it does not say. */
  createdAt: number | null;
  description: string;
  payload: JsonObject;
}

export type ReadAction =
  { ok: true; facts: ActionFacts } | { ok: false; pointer: string; reason: string };

export const isActionId = (id: string): boolean =>
  id.isWellFormed() &&
  ACTION_ID.test(id) &&
  new TextEncoder().encode(id).length <= MAX_ID_BYTES &&
  actionAddress(id).length <= MAX_ADDRESS;

/** What other programs call the actions that our drivers know. */
const TYPES: Readonly<Record<string, string>> = {
  restart: 'container_restart',
  restart_service: 'container_restart',
  deploy_service: 'redeploy',
  redeploy_service: 'redeploy',
  collect_diagnostics: 'alert_only',
  diagnostics: 'alert_only',
  failover_review: 'alert_only',
};
/** Of these the proposers themselves say that a person always decides. */
const RISKY: readonly string[] = ['dangerous', 'critical'];

/** `id`: the file's name without `.json`. */
export function readAction(id: string, content: JsonObject): ReadAction {
  if (!isActionId(id)) return refused('', 'the name of the file cannot be an action_id');
  const [idField, named] = first(content, 'action_id', 'id');
  if (named !== undefined && named !== id)
    return refused(`/${idField}`, `the file is called ${id}.json, and names another action`); // F2
  const [typeField, given] = first(content, 'type', 'action_type');
  const type = nameOf(given);
  if (type === undefined || type === '')
    return refused(`/${typeField}`, 'an action needs a type: a short text');
  const inside = objectOf(content['payload']) ?? objectOf(content['details']) ?? {};
  const host = nameOf(first(content, 'node', 'host')[1] ?? inside['node'] ?? '');
  const service = nameOf(content['service'] ?? inside['service'] ?? '');
  if (host === undefined) return refused('/node', 'it must be a short text');
  if (service === undefined) return refused('/service', 'it must be a short text');
  const risk = nameOf(first(content, 'risk_level', 'risk')[1] ?? '') ?? '';
  return {
    ok: true,
    facts: {
      id,
      type: Object.hasOwn(TYPES, type) ? (TYPES[type] ?? type) : type,
      host,
      service,
      risk: risk === '' ? 'unknown' : risk,
      requiresHuman: needsHuman(content, risk),
      createdAt: timeOf(first(content, 'timestamp', 'created_at')[1]),
      description: describe(content, inside),
      payload: inside,
    },
  };
}

const refused = (pointer: string, reason: string): ReadAction => ({ ok: false, pointer, reason });

/** The first of these fields that is there, else the name of the first. */
function first(content: JsonObject, ...names: [string, string]): [string, JsonValue | undefined] {
  const name = names.find((known) => content[known] !== undefined && content[known] !== null);
  return [name ?? names[0], name === undefined ? undefined : content[name]];
}

const objectOf = (value: JsonValue | undefined): JsonObject | undefined =>
  isJsonObject(value) ? value : undefined;

/** Undefined: no name. */
function nameOf(value: JsonValue | undefined): string | undefined {
  if (typeof value !== 'string') return undefined;
  const name = value.trim();
  return name.length <= MAX_NAME && name.isWellFormed() && !/\p{Cc}/u.test(name) ? name : undefined;
}

/** F3. */
function needsHuman(content: JsonObject, risk: string): boolean {
  if (RISKY.includes(risk)) return true;
  const {
    requires_human: needs,
    approval_required: wants,
    autonomous_eligible: eligible,
  } = content;
  if (needs !== undefined) return needs !== false;
  return !(wants === false || (wants === undefined && eligible === true));
}

function describe({ description }: JsonObject, { reason }: JsonObject): string {
  const isSaid = typeof description === 'string' && description.trim() !== '';
  const text = isSaid ? description : reason;
  return typeof text === 'string' ? text.slice(0, MAX_TEXT) : '';
}

/** From here on a number of seconds would be a year beyond 5000: it is taken for milliseconds. */
const MILLISECONDS_FROM = 1e11;

function timeOf(value: JsonValue | undefined): number | null {
  const time = typeof value === 'string' ? Date.parse(value) : value;
  if (typeof time !== 'number' || !Number.isFinite(time) || time < 0) return null;
  const ms = typeof value === 'number' && time < MILLISECONDS_FROM ? time * 1000 : time;
  return ms < 8.64e15 ? Math.round(ms) : null;
}

/** F1: what an approval is about, and what a driver is handed. */
export function approvedPart(content: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(content).filter(([name]) => !isAppended(name)));
}

const isAppended = (name: string): boolean =>
  name === 'status' ||
  name === 'transition_history' ||
  name === 'would_run' ||
  name.endsWith('_at');

/** The text whose sha256 an approval names: canonical JSON, keys in the order of their code units. */
export const approvalText = (content: JsonObject): string => canonical(approvedPart(content));

function canonical(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name] ?? null)}`);
  return `{${members.join(',')}}`;
}

/** Whether `found` is what was written as `written`, and nothing of it was changed; others may have added to it. */
export function isSameProposal(written: JsonObject, found: JsonObject): boolean {
  const kept = Object.keys(approvedPart(written)).map((name) => [name, found[name] ?? null]);
  return approvalText(Object.fromEntries(kept) as JsonObject) === approvalText(written);
}

/** One line of `transition_history`. */
export interface Transition extends JsonObject {
  from: string;
  to: string;
  /** Float epoch seconds. */
  timestamp: number;
  by: string;
}

/** Longest history kept in a file, in lines. */
const MAX_HISTORY = 200;

/** The content as it stands in its next folder. Every field that is not named here stays (F1). */
export function withTransition(
  content: JsonObject,
  entry: Transition,
  set: JsonObject,
): JsonObject {
  const { transition_history: before } = content;
  const history = [...(Array.isArray(before) ? before : []), entry].slice(-MAX_HISTORY);
  return { ...content, ...set, status: entry.to, transition_history: history };
}

/** As it was before this step, which did not come about: its line is gone, and it is of `status` again. */
export function withoutTransition(content: JsonObject, key: string, status: string): JsonObject {
  const { transition_history: history } = content;
  if (!Array.isArray(history)) return content;
  const kept = history.filter((entry) => !isJsonObject(entry) || entry['key'] !== key);
  return { ...content, status, transition_history: kept };
}

/** Whether this very step stands in the file's history. */
export function hasTransition({ transition_history: history }: JsonObject, key: string): boolean {
  return (
    Array.isArray(history) && history.some((entry) => isJsonObject(entry) && entry['key'] === key)
  );
}

/** A line of history is about this move when it is not older than that, nor newer, ms. */
const SAME_MOVE_MS = 300_000;
const MAX_MOVER = 100;

/**
 * Who says in the file's history that they moved it there, at about that time (epoch ms): programs for people add such a line.
 * Nobody checks it. Null: nobody does, or the line is one of ours.
 */
export function moverIn(
  { transition_history: history }: JsonObject,
  { to, at }: { to: string; at: number },
): string | null {
  const entry = Array.isArray(history) ? history.at(-1) : undefined;
  if (!isJsonObject(entry) || entry['to'] !== to || entry['key'] !== undefined) return null;
  const { by, timestamp } = entry;
  const time = timeOf(timestamp);
  if (typeof by !== 'string' || time === null || Math.abs(time - at) > SAME_MOVE_MS) return null;
  return plainText(by, MAX_MOVER) || null;
}
