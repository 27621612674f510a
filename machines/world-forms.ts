/** The forms that a world file may have: entries by key or in a list, which name what they are about in one way or another. */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

export const MAX_NAME = 200;

export interface WorldContent {
  content: JsonValue;
  /** When it was written, epoch ms; null: nobody knows. */
  mtimeMs: number | null;
}
/** Entries of an object by key, or of a list; the file may hold either under its own name. */
export function eachEntry(
  file: WorldContent | null,
  name: string,
  tell: (key: string | null, entry: JsonValue) => void,
): void {
  const entries = file === null ? null : entriesIn(file.content, name);
  if (Array.isArray(entries)) for (const entry of entries) tell(null, entry);
  else if (isJsonObject(entries))
    for (const key of Object.keys(entries)) tell(key, entries[key] ?? null);
}

function entriesIn(content: JsonValue, name: string): JsonValue {
  if (!isJsonObject(content) || !Object.hasOwn(content, name)) return content;
  const inner = content[name] ?? null;
  if (Array.isArray(inner)) return inner;
  // A host may be called `nodes`: then it is an entry, and its fields are words and numbers.
  const isWrapped =
    isJsonObject(inner) && Object.values(inner).every((value) => isJsonObject(value));
  return isWrapped ? inner : content;
}

interface Place {
  host: string;
  service: string;
}

/** Of an entry by `host/service`, or of one that names both. */
export function placeOf(key: string | null, entry: JsonValue): Place | undefined {
  const slash = key?.indexOf('/') ?? -1;
  if (key === null || slash <= 0) return isJsonObject(entry) ? placeIn(entry) : undefined;
  const [host, service] = [key.slice(0, slash), key.slice(slash + 1)];
  return isName(host) && isName(service) ? { host, service } : undefined;
}

export function placeIn(entry: JsonObject): Place | undefined {
  const host = nameIn(entry, 'node', 'host');
  const service = nameIn(entry, 'service', 'name');
  const isPlace = host !== undefined && service !== undefined && isName(host) && isName(service);
  return isPlace ? { host, service } : undefined;
}

export function nameIn(entry: JsonValue, ...fields: string[]): string | undefined {
  if (!isJsonObject(entry)) return undefined;
  const field = fields.find((known) => typeof entry[known] === 'string');
  const name = field === undefined ? undefined : entry[field];
  return typeof name === 'string' ? name : undefined;
}

export const isName = (name: string): boolean => name !== '' && name.length <= MAX_NAME;
