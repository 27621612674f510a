/**
 * What a watcher may see of contexts, events, inputs and definitions: nothing that looks like a secret, and no more of the
 * rest than a person can read. Pure: values in, plain JSON out.
 *
 * R1 A value under a key that names a secret is not shown, whatever it is. Counts (`tokens: 500`), truths and the places of
 *    files (`token_file`) are none.
 * R2 In texts go: user and password of URLs, secret parameters, `Authorization` and cookies, `NAME=value` and `--name value`
 *    with such a name, keys that can be told by their form, and every secret this process knows (`known`).
 * R3 The result is bounded: length of texts, members, depth, and characters in all. What is left out is said.
 * R4 A text is searched before it is cut, so that a cut makes no secret unrecognisable.
 */
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';

export const HIDDEN = '[redacted]';

export interface Redactor {
  /** `maxChars`: for the whole of it, roughly. */
  value(value: unknown, maxChars: number): JsonValue;
  /** As `value`; in a cell's, ids of agents and tasks are shown, whatever they are called. */
  context(context: unknown, maxChars: number): JsonValue;
  text(text: string): string;
  /** A machine's configuration. Its keys are code, but for what stands under `context`, `input` and the like. */
  definition(config: unknown): JsonValue;
}

/** `known`: secrets as they are; those shorter than 8 characters would be found everywhere, and are left out. */
export function createRedactor(known: readonly string[] = []): Redactor {
  const own = anyOf(known.filter((secret) => secret.length >= 8));
  const searched = (text: string): string => shownText(text, own);
  const walk: Walk = { text: searched, names: new Map() };
  return {
    value: (value, maxChars) => shown(walk, value, { room: { left: maxChars }, depth: 0 }),
    context: (value, maxChars) =>
      shown(walk, value, { room: { left: maxChars }, depth: 0, isContext: true }),
    text: searched,
    definition: (config) => shownDefinition(walk, config, 0),
  };
}

// ---- values ----------------------------------------------------------------------------------------------------------

const MAX_TEXT = 1000;
const MAX_MEMBERS = 300;
const MAX_DEPTH = 24;
/** A member gets at most half of what is left, so that the first one does not take it all, but never less than this. */
const MIN_SHARE = 200;
const MAX_NAMES = 5000;

interface Walk {
  text(text: string): string;
  /** Judged keys. */
  names: Map<string, Name>;
}
interface Name {
  shown: string;
  isSecret: boolean;
}
interface Place {
  room: { left: number };
  depth: number;
  isContext?: boolean;
  /** The keys of this object are ids, where their values have this member. */
  mark?: string | undefined;
}

function shown(walk: Walk, value: unknown, place: Place): JsonValue {
  const { room, depth } = place;
  room.left -= 4;
  switch (typeof value) {
    case 'string': {
      const text = walk.text(value);
      room.left -= text.length;
      return text;
    }
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
      return value;
    case 'bigint':
      return String(value);
    case 'function':
      return { type: value.name };
    default:
  }
  if (typeof value !== 'object' || value === null) return null;
  if (depth >= MAX_DEPTH) return '[deeper]';
  return Array.isArray(value)
    ? shownArray(walk, value, place)
    : shownObject(walk, value as Record<string, unknown>, place);
}

function shownArray(walk: Walk, items: readonly unknown[], { room, depth }: Place): JsonValue[] {
  const result: JsonValue[] = [];
  for (const [i, item] of items.entries()) {
    if (room.left <= 0 || i >= MAX_MEMBERS) {
      result.push(`[${items.length - i} more]`);
      break;
    }
    const isArgument = i > 0 && typeof item === 'string' && isSecretArgument(items[i - 1], item);
    result.push(isArgument ? HIDDEN : withShare(walk, item, { room, depth }));
  }
  return result;
}

function shownObject(walk: Walk, object: Record<string, unknown>, place: Place): JsonObject {
  const { room, depth, isContext, mark } = place;
  const members: [string, JsonValue][] = [];
  const all = Object.keys(object);
  for (const [i, key] of all.entries()) {
    if (room.left <= 0 || i >= MAX_MEMBERS) {
      members.push(['…', `${all.length - i} more`]);
      break;
    }
    const member = object[key];
    if (member === undefined) continue;
    const name = nameOf(walk, key);
    room.left -= name.shown.length;
    const isId = mark !== undefined && isJsonObject(member) && Object.hasOwn(member, mark);
    const below = { room, depth, ...(isContext && { mark: RECORDS[key] }) };
    const isHidden = name.isSecret && !isId && hides(key, member);
    members.push([name.shown, isHidden ? HIDDEN : withShare(walk, member, below)]);
  }
  return Object.fromEntries(members); // unlike an assignment, it makes `__proto__` a member like any other
}

function withShare(walk: Walk, value: unknown, { room, ...place }: Place): JsonValue {
  const given = Math.max(room.left / 2, MIN_SHARE);
  const share = { left: given };
  const result = shown(walk, value, { ...place, depth: place.depth + 1, room: share });
  room.left -= given - share.left;
  return result;
}

/** Records by id, in the context of a cell, and what each of them has: an agent may be called `token-rotator`. */
const RECORDS: Readonly<Record<string, string>> = {
  files: 'people',
  agents: 'reported',
  tasks: 'attempt',
};

const SECRET_NAME =
  /token|passw|passphrase|passcode|pwd|secret|credential|authoriz|authentic|(?:api|access|private|signing|encryption|master|ssh|session|client|account|storage|shared|service)key|cookie|bearer|jwt|oauth|connectionstring|sessionid|webhook|dsn$|^(?:auth|pass|pin|otp|pat|creds?|env|environ|environment|envvars?|variables)$/;

function nameOf(walk: Walk, key: string): Name {
  const known = walk.names.get(key);
  if (known) return known;
  const text = walk.text(key.slice(0, 4 * MAX_KEY));
  const isSecret = SECRET_NAME.test(key.toLowerCase().replaceAll(/[^a-z0-9]/g, ''));
  const name = { shown: text.length > MAX_KEY ? `${text.slice(0, MAX_KEY)}…` : text, isSecret };
  if (walk.names.size >= MAX_NAMES) walk.names.clear();
  if (key.length <= MAX_KEY) walk.names.set(key, name);
  return name;
}
const MAX_KEY = 120;

/** R1, for a key that names a secret. */
function hides(key: string, value: unknown): boolean {
  if (value === null || typeof value === 'boolean' || value === '') return false;
  if (typeof value === 'number') return !/tokens$|fencing/i.test(key);
  if (typeof value === 'string') return !/(?:file|path|dir)$/i.test(key);
  return !(isJsonObject(value) && Object.keys(value).length === 0);
}

// ---- texts -----------------------------------------------------------------------------------------------------------

/** Of a text that is longer only so much is searched and shown. */
const MAX_SEARCHED = 4 * MAX_TEXT;
const WORD =
  '(?:token|passw(?:or)?d|passphrase|passcode|pwd|secret|credential|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|session[-_ ]?(?:key|id)|client[-_ ]?key|account[-_ ]?key|shared[-_ ]?key|jwt|oauth)';
const QUOTE = `[\\\\"']{0,4}`;
const VALUE = `(?:\\\\?"[^"]*"?|\\\\?'[^']*'?|[^\\s"',;&]+)`;

/** R2, in this order. Repetitions are bounded: no text makes them slow. */
const RULES: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}-----|$)/g, HIDDEN],
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/?#"']{1,500}@/gi, `$1${HIDDEN}@`],
  [
    /((?:proxy-)?authorization|(?:set-)?cookie)([\\"']{0,4}\s{0,4}[:=]\s{0,4}[\\"']{0,4})[^\r\n"'\\]+/gi,
    `$1$2${HIDDEN}`,
  ],
  [/\b(bearer|basic)\s{1,4}[A-Za-z0-9+/=._~-]{8,}/gi, `$1 ${HIDDEN}`],
  [
    /(hooks\.slack\.com\/services\/|discord(?:app)?\.com\/api\/webhooks\/|api\.telegram\.org\/bot)[^\s"'?]+/gi,
    `$1${HIDDEN}`,
  ],
  [/([?&#;](?:key|sig|signature|code|auth|pass|pw|x-amz-[\w-]{1,40})=)[^\s&#"']+/gi, `$1${HIDDEN}`],
  [
    new RegExp(
      `([\\w.-]{0,60}${WORD}[\\w.-]{0,60}${QUOTE}\\s{0,4}(?:=|:(?!\\/\\/))\\s{0,4})${VALUE}`,
      'gi',
    ),
    `$1${HIDDEN}`,
  ],
  [new RegExp(`(--?[\\w-]{0,60}${WORD}[\\w-]{0,60}\\s{1,4})(?!-)${VALUE}`, 'gi'), `$1${HIDDEN}`],
  [/((?:^|\s)(?:-u|--user)[\s=]{1,4}[^\s:]{1,100}:)\S+/g, `$1${HIDDEN}`],
  [
    /\b(?:sk-[\w-]{12,}|sk_(?:live|test)_\w{10,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{12,}|xox[a-z]-[\w-]{8,}|A(?:KI|SI)A[0-9A-Z]{12,}|AIza[\w-]{20,}|npm_\w{16,}|hf_\w{16,}|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?)/g,
    HIDDEN,
  ],
];
/** Nothing of `RULES` fits a text without one of these. */
const WORTH_A_LOOK = /[=:@]|bearer|basic|--|-u |_|sk-|xox|AKIA|ASIA|AIza|eyJ|glpat/i;

function shownText(text: string, own: RegExp | undefined): string {
  const isLong = text.length > MAX_SEARCHED;
  let result = isLong ? text.slice(0, MAX_SEARCHED) : text; // R4
  if (own) result = result.replaceAll(own, HIDDEN);
  if (result.length >= 6 && WORTH_A_LOOK.test(result))
    for (const [pattern, replacement] of RULES) result = result.replace(pattern, replacement);
  // What the end of the searched part begins may be a secret that goes on behind it.
  if (isLong) result = result.slice(0, -MAX_SECRET);
  if (result.length <= MAX_TEXT && !isLong) return result;
  return `${result.slice(0, MAX_TEXT)}… (${text.length} characters)`;
}
const MAX_SECRET = 1000;

/** Of a command: the word after `--password`. */
function isSecretArgument(before: unknown, argument: string): boolean {
  if (typeof before !== 'string' || before.length > MAX_KEY) return false;
  if (/^(?:-u|--user)$/.test(before)) return argument.includes(':');
  if (!/^--?[\w-]+$/.test(before)) return false;
  return SECRET_NAME.test(before.toLowerCase().replaceAll(/[^a-z0-9]/g, '')) && !isFlag(argument);
}

/** `--token --verbose`: what follows is no value. */
const isFlag = (argument: string): boolean => /^--[a-z][a-z-]*$/.test(argument);

function anyOf(secrets: readonly string[]): RegExp | undefined {
  if (secrets.length === 0) return undefined;
  const longestFirst = [...new Set(secrets)].toSorted((a, b) => b.length - a.length);
  return new RegExp(longestFirst.map(escaped).join('|'), 'g');
}

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

// ---- definitions -----------------------------------------------------------------------------------------------------

/** Members of a machine's configuration that hold data. */
const DATA: ReadonlySet<string> = new Set(['context', 'input', 'params', 'meta', 'output', 'data']);
const MAX_DATA = 4000;

/** Whole, whatever its depth: half a definition cannot be drawn. */
function shownDefinition(walk: Walk, value: unknown, depth: number): JsonValue {
  if (Array.isArray(value)) return value.map((item) => shownDefinition(walk, item, depth + 1));
  if (!isJsonObject(value) || depth > 200)
    return shown(walk, value, { room: { left: MAX_DATA }, depth: 0 });
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(
    members.map(([key, member]) => [
      key,
      DATA.has(key)
        ? shown(walk, member, { room: { left: MAX_DATA }, depth: 0 })
        : shownDefinition(walk, member, depth + 1),
    ]),
  );
}
