/**
 * Three-way merge of a file that people and the runtime both write. The runtime writes `_rev` into each projection; an
 * edit that comes back names with it the projection it was made from.
 *
 * G1 People's fields: what differs from the base named by `_rev` is theirs and wins; what equals the base was not edited.
 *    Without a usable `_rev` the base is the present content, so that every difference is theirs.
 * G2 Runtime fields of an edit count only when `_rev` is current, and then as a request; in a file seen for the first time
 *    they are the initial values. Anything else about them is ignored and overwritten by the next projection.
 * G3 A projection of ours that comes back, the present one or one as old as the history reaches, merges to "no change".
 * G4 Nothing given is changed in place: contents are shared between states and remembered by identity.
 */
import { jsonEqual } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { FileChange, FileKind } from './mission.ts';

export interface FileState {
  kind: FileKind;
  id: string;
  /** People's fields, unknown ones included; neither runtime fields nor `_rev`. */
  people: JsonObject;
  /** Every key of the file in its order, so that a projection does not shuffle what people wrote. */
  keys: string[];
  /** Rises whenever what the file should say changes, by people or by the runtime. */
  rev: number;
  /** The first rev whose projection had this `people`. */
  since: number;
  /** Earlier contents, oldest first. */
  history: { since: number; people: JsonObject }[];
  /** The file is gone from disk but its content still matters (cell.json); it is not projected. */
  removed: boolean;
}

export interface FieldRequest {
  field: string;
  value: JsonValue;
}

export interface Merge {
  /** Null when the file was removed. */
  next: FileState | null;
  /** True when nothing was known of the file before. */
  first: boolean;
  /** Runtime fields that the file asks to set, in the order of the file. */
  requests: FieldRequest[];
  /** Runtime fields that differ from ours and do not count. */
  ignored: string[];
  /** Whether applying this would have any effect; if not, the edit need not be journaled. */
  changed: boolean;
}

/** How many earlier contents an edit may be based on. */
const HISTORY = 4;

const RUNTIME_FIELDS: Record<FileKind, ReadonlySet<string>> = {
  cell: new Set(['status', 'status_reason']),
  agent: new Set(['status', 'status_reason', 'current_task', 'checkpoint']),
  task: new Set([
    'status',
    'assigned_to',
    'completed_at',
    'artifacts',
    'blocked_reason',
    'attempts',
    'result',
  ]),
  isolation: new Set(),
  policies: new Set(),
  permissions: new Set(),
};

/** Files without runtime fields are only read, never projected, and have no `_rev`. */
export function isProjected(kind: FileKind): boolean {
  return RUNTIME_FIELDS[kind].size > 0;
}

/**
 * What `change` does to a file of which `file` is known (null: nothing).
 * `runtime`: the runtime fields as the present projection has them.
 */
export function mergeFile(
  state: { file: FileState | null; runtime: JsonObject },
  change: FileChange,
): Merge {
  const { file, runtime } = state;
  if (change.content === null) return mergeRemoval(file);
  const runtimeFields = RUNTIME_FIELDS[change.kind];
  const people = peopleOf(change.content, change.kind);
  const given = Object.entries(change.content).filter(([key]) => runtimeFields.has(key));
  const editRev = revOf(change);
  const keys = Object.keys(change.content);

  if (file === null) {
    const rev = (editRev ?? 0) + 1;
    const { kind, id } = change;
    const next = { kind, id, people, keys, rev, since: rev, history: [], removed: false };
    const requests = given.map(([field, value]) => ({ field, value }));
    return { next, first: true, requests, ignored: [], changed: true };
  }
  const merged = threeWay(baseFor(file, editRev), file.people, people);
  const edited = !jsonEqual(merged, file.people);
  const differing = given.filter(([key, value]) => !jsonEqual(value, runtime[key] ?? null));
  const current = editRev === file.rev;
  const requests = current ? differing.map(([field, value]) => ({ field, value })) : [];
  return {
    next: edited ? withPeople(file, merged, keys) : { ...file, removed: false },
    first: false,
    requests,
    ignored: current ? [] : differing.map(([key]) => key),
    changed: edited || requests.length > 0 || file.removed,
  };
}

function mergeRemoval(file: FileState | null): Merge {
  const changed = file !== null && !file.removed;
  return { next: null, first: false, requests: [], ignored: [], changed };
}

/** The people's content an edit was made from. */
function baseFor(file: FileState, editRev: number | null): JsonObject {
  if (editRev === null || editRev > file.rev || editRev >= file.since) return file.people;
  const base = file.history.findLast((past) => past.since <= editRev);
  return base?.people ?? file.people;
}

function threeWay(base: JsonObject, current: JsonObject, edit: JsonObject): JsonObject {
  if (base === current) return edit;
  const isEdited = (key: string): boolean => !jsonEqual(own(base, key), own(edit, key));
  const kept = Object.entries(current).filter(
    ([key]) => !isEdited(key) || Object.hasOwn(edit, key),
  );
  const updated = kept.map(([key, value]): [string, JsonValue] => [
    key,
    isEdited(key) ? (edit[key] ?? null) : value,
  ]);
  const added = Object.entries(edit).filter(
    ([key]) => !Object.hasOwn(current, key) && isEdited(key),
  );
  return Object.fromEntries([...updated, ...added]);
}

/** The rev itself is raised once an event is fully applied; the new content will first be projected with it. */
function withPeople(file: FileState, people: JsonObject, keys: string[]): FileState {
  const history = [...file.history, { since: file.since, people: file.people }].slice(-HISTORY);
  return { ...file, people, keys, since: file.rev + 1, history, removed: false };
}

function peopleOf(content: JsonObject, kind: FileKind): JsonObject {
  if (!isProjected(kind)) return content;
  const runtimeFields = RUNTIME_FIELDS[kind];
  return Object.fromEntries(
    Object.entries(content).filter(([key]) => key !== '_rev' && !runtimeFields.has(key)),
  );
}

function revOf(change: FileChange): number | null {
  if (!isProjected(change.kind)) return null;
  const rev = change.content?.['_rev'];
  return typeof rev === 'number' && Number.isSafeInteger(rev) && rev >= 0 ? rev : null;
}

function own(object: JsonObject, key: string): JsonValue | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
