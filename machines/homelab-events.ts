/**
 * What homelab agents publish, in the runtime's own shape. Two shapes come in: `{type, node, service?, severity?, payload?,
 * timestamp?}` and `{event_type, node, details?, ...}`, as one JSON text or as the fields of a stream's entry. Pure: the
 * time of receipt and an id for those without one are handed in.
 *
 * H1 Total: any text gives an event or the reason why it is refused. Nothing here throws.
 * H2 Names (type, host, service) are short, well-formed and without control characters: they become subjects, addresses
 *    and log lines.
 * H3 An event survives its way through JSON unchanged: no number beyond range, no nesting that a writer would choke on.
 * H4 Normalising is lossless: the text as it came goes with the event.
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { isoFromEpoch } from './time.ts';

/** A longer message is refused, in bytes. */
export const MAX_MESSAGE_BYTES = 1 << 20;
const MAX_NAME_CHARS = 200;
const MAX_DEPTH = 64;

export type Severity = 'info' | 'warning' | 'error' | 'critical';

export interface HomelabEvent {
  id: string;
  /** `service_unhealthy`, as the producer calls it. */
  type: string;
  /** ISO-8601 UTC: when the producer says it happened, else when it was received. */
  at: string;
  source: string;
  data: HomelabData;
}
export interface HomelabData {
  host: string;
  /** The host's name when the event is about the host itself. */
  service: string;
  severity: Severity;
  payload: JsonObject;
  channel: string;
  /** What the producer calls the undertaking it belongs to, such as a deployment. */
  correlation_id?: string;
}

export type Reading =
  | { kind: 'event'; event: HomelabEvent; hasOwnId: boolean; original: string }
  | { kind: 'refused'; reason: string };

export interface About {
  /** Redis channel or stream. */
  channel: string;
  /** For an event that has none of its own. */
  id: string;
  /** Time of receipt, epoch ms. */
  at: number;
}

/** One line for people. */
export function describeHomelabEvent({ type, data }: HomelabEvent): string {
  return `[${type}] ${data.host}/${data.service} (${data.severity})`;
}

export function readMessage(text: string, about: About): Reading {
  const parsed = parse(text);
  if ('reason' in parsed) return { kind: 'refused', reason: parsed.reason };
  return normalise(parsed.value, text, about);
}

/** An entry of a stream: either one field that holds the whole event as JSON, or a field for each of its members. */
export function readEntry(fields: readonly (readonly [string, string])[], about: About): Reading {
  const values = new Map(fields);
  const isFlat = values.has('type') || values.has('event_type');
  const names = fields.length === 1 ? [...values.keys()] : WHOLE_EVENT_FIELDS;
  const whole = isFlat ? undefined : names.find((name) => values.has(name));
  if (whole !== undefined) return readMessage(values.get(whole) ?? '', about);
  const raw: JsonObject = Object.fromEntries(values);
  for (const name of OBJECT_FIELDS) {
    const text = values.get(name);
    if (!text?.trimStart().startsWith('{')) continue;
    const parsed = parse(text);
    if ('reason' in parsed) return { kind: 'refused', reason: `${name}: ${parsed.reason}` };
    raw[name] = parsed.value;
  }
  return normalise(raw, JSON.stringify(fields), about);
}

const WHOLE_EVENT_FIELDS = ['data', 'event', 'message', 'json', 'payload'];
const OBJECT_FIELDS = ['payload', 'details'];

/** H3. */
function parse(text: string): { value: JsonValue } | { reason: string } {
  let value: JsonValue;
  try {
    value = JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text) as JsonValue;
  } catch {
    return { reason: 'it is no JSON' };
  }
  const reason = flawOf(value, 0);
  return reason === undefined ? { value } : { reason };
}

function flawOf(value: JsonValue, depth: number): string | undefined {
  if (typeof value === 'number')
    return Number.isFinite(value) ? undefined : 'a number is beyond what JSON readers can hold';
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth >= MAX_DEPTH) return `it is nested more than ${MAX_DEPTH} deep`;
  for (const item of Object.values(value)) {
    const flaw = flawOf(item, depth + 1);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

function normalise(raw: JsonValue, original: string, { channel, id, at }: About): Reading {
  if (!isJsonObject(raw)) return { kind: 'refused', reason: 'it is no JSON object' };
  const type = textOf(raw['type']) ?? textOf(raw['event_type']);
  const host = textOf(raw['node']);
  if (type === undefined) return { kind: 'refused', reason: 'it has no type' };
  if (host === undefined) return { kind: 'refused', reason: 'it names no node' };
  const service = textOf(raw['service']) ?? nestedService(raw) ?? host;
  const flaw = nameFlaw('type', type) ?? nameFlaw('node', host) ?? nameFlaw('service', service);
  if (flaw !== undefined) return { kind: 'refused', reason: flaw };
  const ownId = idOf(raw['id']);
  const given = textOf(raw['source']);
  const source = given !== undefined && isName(given) ? given : `redis:${channel}`;
  const when = timeOf(raw['timestamp'] ?? raw['at']) ?? at;
  const severity = severityOf(raw['severity']);
  const payload = payloadOf(raw);
  const correlation = idOf(raw['correlation_id']) ?? idOf(payload['correlation_id']);
  const about = correlation === undefined ? {} : { correlation_id: correlation };
  const data = { host, service, severity, payload, channel, ...about };
  const event = { id: ownId ?? id, type, at: isoFromEpoch(when), source, data };
  return { kind: 'event', event, hasOwnId: ownId !== undefined, original };
}

function textOf(value: JsonValue | undefined): string | undefined {
  if (typeof value !== 'string') return undefined;
  const text = value.trim();
  return text === '' ? undefined : text;
}

function nestedService({ details, payload }: JsonObject): string | undefined {
  for (const place of [details, payload]) {
    const name = isJsonObject(place) ? textOf(place['service']) : undefined;
    if (name !== undefined) return name;
  }
  return undefined;
}

/** H2. */
function isName(text: string): boolean {
  if (text.length > MAX_NAME_CHARS) return false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || (code > 0x7e && code < 0xa0)) return false;
    if (code >= 0xd800 && code < 0xe000) return text.isWellFormed() && !/\p{Cc}/u.test(text);
  }
  return true;
}

function nameFlaw(what: string, text: string): string | undefined {
  if (isName(text)) return undefined;
  return text.length > MAX_NAME_CHARS
    ? `its ${what} is longer than ${MAX_NAME_CHARS} characters`
    : `its ${what} holds characters that no name may hold`;
}

function idOf(value: JsonValue | undefined): string | undefined {
  const text = typeof value === 'number' ? String(value) : textOf(value);
  return text !== undefined && isName(text) ? text : undefined;
}

const SEVERITIES: Readonly<Record<string, Severity>> = {
  info: 'info',
  warn: 'warning',
  warning: 'warning',
  err: 'error',
  error: 'error',
  crit: 'critical',
  critical: 'critical',
  fatal: 'critical',
};

/** What is none of the four and no other name of one counts as `info`. */
function severityOf(value: JsonValue | undefined): Severity {
  const name = textOf(value)?.toLowerCase() ?? 'info';
  return Object.hasOwn(SEVERITIES, name) ? (SEVERITIES[name] ?? 'info') : 'info';
}

/** An empty `payload` gives way to `details`; what is no object says nothing. */
function payloadOf({ payload, details }: JsonObject): JsonObject {
  const isEmpty = !payload || (typeof payload === 'object' && Object.keys(payload).length === 0);
  const chosen = isEmpty ? details : payload;
  return isJsonObject(chosen) ? chosen : {};
}

/** From here on a number of seconds would be a year beyond 5000: it is taken for milliseconds. */
const MILLISECONDS_FROM = 1e11;
/** Year 10,000. */
const TIME_END = 253_402_300_800_000;
const ISO =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)? ?(Z|[+-]\d\d:?\d\d)?$/i;

/** Epoch ms; undefined: no time. A time without a zone is UTC. */
export function timeOf(value: JsonValue | undefined): number | undefined {
  if (typeof value === 'number') return fromNumber(value);
  const text = textOf(value);
  if (text === undefined || text.length > 40) return undefined;
  if (/^\d+(\.\d+)?$/.test(text)) return fromNumber(Number(text));
  const match = ISO.exec(text);
  return match === null ? undefined : fromParts(match);
}

function fromNumber(value: number): number | undefined {
  const ms = Math.round(value < MILLISECONDS_FROM ? value * 1000 : value);
  return ms >= 0 && ms < TIME_END ? ms : undefined;
}

function fromParts(match: RegExpExecArray): number | undefined {
  const part = (index: number): number => Number(match[index] ?? 0);
  const [year, month, day] = [part(1), part(2), part(3)];
  const [hour, minute, second] = [part(4), part(5), part(6)];
  const millisecond = Math.floor(Number(`0.${match[7] ?? 0}`) * 1000);
  const day0 = Date.UTC(year, month - 1, day);
  const isDate = new Date(day0).getUTCMonth() === month - 1 && year >= 1970; // 30 February is in March
  if (!isDate || hour > 23 || minute > 59 || second > 59) return undefined;
  const zone = /^([+-])(\d\d):?(\d\d)$/.exec(match[8] ?? '');
  const aheadMinutes = zone ? Number(`${zone[1]}1`) * (Number(zone[2]) * 60 + Number(zone[3])) : 0;
  const ms = day0 + ((hour * 60 + minute - aheadMinutes) * 60 + second) * 1000 + millisecond;
  return ms >= 0 && ms < TIME_END ? ms : undefined;
}
