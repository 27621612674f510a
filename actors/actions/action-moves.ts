/**
 * An action's file on its way from folder to folder, beside programs that move the same files without asking us.
 *
 * V1 A file is taken by renaming it to a name that only this very step knows. Whoever loses the race finds nothing there;
 *    who is in the middle of it is killed and comes again finds what it took, and nobody else's (P4).
 * V2 It is rewritten while it is taken, whole and fsynced, and appears in its next folder by one rename: nobody reads half
 *    a file, and no file comes up again in a folder that another program has moved it from (P6).
 * V3 A step that has come about stands in the file's own history under the step's key: done once more, it is done already.
 * V4 What is not as it was approved goes back to where it was.
 * V5 What may not come about any more (a freeze, a window, a lapsed approval) is asked for in the very turn of the event loop
 *    in which the file appears in its next folder: whoever was told of a freeze sees no file appear there afterwards.
 */
import { renameSync } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { faultPoint, syncFolder, temporaryName, writeWhole } from '../../cells/durable.ts';
import { hasCode } from '../../cells/inside.ts';
import { removeLeftovers } from '../../cells/leftovers.ts';
import { sha256 } from '../../cells/sha256.ts';
import {
  hasTransition,
  isSameProposal,
  readAction,
  withoutTransition,
  withTransition,
} from '../../machines/action-file.ts';
import type { Moved, MoveInput } from '../../machines/action-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { escapeUnseen } from '../../machines/plain-text.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { approvalHash, OPEN } from './action-files.ts';
import type { ActionFiles, FoundAction } from './action-files.ts';

/** People decide by what they see of it. */
const textOf = (content: JsonObject): string =>
  `${escapeUnseen(JSON.stringify(content, null, 2))}\n`;

/** V1: of this node and this step; nodes on other missions folders may have steps of the same key. */
const takenName = (id: string, own: string, key: string): string =>
  `.${id}.json.${own}${mark(key)}.moving`;
const mark = (text: string): string => sha256(text).slice(0, 10);
const TAKEN = /^\.(.+)\.json\.([0-9a-f]{10})([0-9a-f]{10})\.moving$/;

/** V5. Why it may not come about; undefined: it may. Must not wait for anything. */
export type WhyNot = () => string | undefined;

/** Idempotent under its key (V3). Throws what the file system throws, and RuntimeError CONFLICT for a name that is taken. */
export async function moveFile(
  files: ActionFiles,
  { actionId: id, move, content }: MoveInput,
  step: string,
  whyNot: WhyNot = () => undefined,
): Promise<Moved> {
  const { from, to, sha256: wanted, entry, set } = move;
  const name = takenName(id, mark(files.nodeId), step);
  const key = `${files.nodeId}:${step}`;
  const taken = join(files.folders[from], name);
  if (!(await isThere(taken))) {
    const done = doneAlready(files, id, key);
    if (done) return { outcome: 'moved', place: done, reason: null };
    if (!(await take(files.path(from, id), taken)))
      return content === undefined
        ? lost(files, id)
        : recordAnew(files, { id, move, content, key });
    faultPoint('action.after-take');
  }
  const found = files.readAs(from, name, id);
  if (!found?.ok || (wanted !== null && found.sha256 !== wanted)) {
    await putBack(taken, files.path(from, id)); // V4
    if (found?.ok)
      return { outcome: 'changed', place: { ...found, status: from }, reason: CHANGED };
    throw new RuntimeError(`the file of action ${id} cannot be read: ${found?.reason ?? 'gone'}`, {
      code: 'FILE_INVALID',
    });
  }
  const isRewritten = hasTransition(found.content, key);
  const before = isRewritten ? withoutTransition(found.content, key, from) : found.content;
  const next = isRewritten ? found.content : withTransition(before, { ...entry, key }, set);
  let withheld: string | undefined;
  try {
    if (OPEN.includes(to)) await requireFree(files.path(to, id));
    if (!isRewritten) await rewrite(taken, next);
    faultPoint('action.rewritten');
    withheld = whyNot(); // V5
    if (withheld === undefined) renameSync(taken, files.path(to, id));
    else await rewrite(taken, before);
  } catch (error) {
    await putBack(taken, files.path(from, id));
    throw error;
  }
  if (withheld !== undefined) {
    await putBack(taken, files.path(from, id));
    return { outcome: 'withheld', place: placeOf(from, before), reason: withheld };
  }
  faultPoint('action.after-put');
  await syncFolder(files.folders[to]);
  if (from !== to) await syncFolder(files.folders[from]);
  faultPoint('action.synced');
  return { outcome: 'moved', place: placeOf(to, next), reason: null };
}

const CHANGED = 'it was changed meanwhile';

const placeOf = (status: ActionStatus, content: JsonObject): FoundAction => ({
  status,
  content,
  sha256: approvalHash(content),
});

/** V3. */
function doneAlready(files: ActionFiles, id: string, key: string): FoundAction | undefined {
  for (const status of files.places(id)) {
    const read = files.read(status, id);
    if (read?.ok && hasTransition(read.content, key)) return { ...placeOf(status, read.content) };
  }
  return undefined;
}

/** V1. False: it is not there. */
async function take(path: string, taken: string): Promise<boolean> {
  try {
    await rename(path, taken);
    return true;
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    await lstat(dirname(path)); // a folder that is gone says nothing of its files
    return false;
  }
}

async function rewrite(taken: string, content: JsonObject): Promise<void> {
  const { mode } = await lstat(taken);
  await writeWhole(taken, textOf(content), { sync: true, mode: mode & 0o777, what: 'action' });
}

async function requireFree(path: string): Promise<void> {
  if (await isThere(path))
    throw new RuntimeError(`another file stands at ${path}`, {
      code: 'CONFLICT',
      hint: 'Remove one of them: an action has one file.',
    });
}

async function putBack(taken: string, path: string): Promise<void> {
  if (!(await isThere(taken))) return;
  await requireFree(path);
  await rename(taken, path);
  await syncFolder(dirname(path));
}

function lost(files: ActionFiles, id: string): Moved {
  const place = files.find(id);
  const reason =
    place === null ? 'its file is gone' : `somebody was quicker: its file is in ${place.status}/`;
  return { outcome: 'elsewhere', place, reason };
}

/** What came of a run is told, also when its file was removed. One that stands elsewhere is left to who put it there. */
async function recordAnew(
  files: ActionFiles,
  {
    id,
    move,
    content,
    key,
  }: { id: string; content: JsonObject; key: string } & Pick<MoveInput, 'move'>,
): Promise<Moved> {
  const elsewhere = files.places(id).filter((status) => status !== move.to);
  if (elsewhere.length > 0) return lost(files, id);
  const next = withTransition(content, { ...move.entry, key }, move.set);
  await writeWhole(files.path(move.to, id), textOf(next), { sync: true, what: 'action' });
  return { outcome: 'elsewhere', place: placeOf(move.to, next), reason: 'its file was gone' };
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

/**
 * Writes a proposal to pending/, durable when it resolves, unless an action of this id is there already: the same one is
 * ours, written by an earlier try of this step; another one keeps its name.
 */
export async function writePending(
  files: ActionFiles,
  { actionId: id, content }: { actionId: string; content: JsonObject },
): Promise<Moved> {
  const read = readAction(id, content);
  if (!read.ok)
    throw new RuntimeError(`action ${id} is no action: ${read.reason}`, {
      code: 'INVALID_ARGUMENT',
    });
  const written = approvalHash(content);
  const known = standing(files, id, content) ?? (await create(files, id, content));
  return known === undefined
    ? { outcome: 'moved', place: placeOf('pending', content), reason: null, written }
    : { ...known, written };
}

/** What is there under this id; undefined: nothing. */
function standing(files: ActionFiles, id: string, content: JsonObject): Moved | undefined {
  const places = files.places(id);
  for (const status of places) {
    const read = files.read(status, id);
    if (read?.ok && isSameProposal(content, read.content))
      return { outcome: 'moved', place: placeOf(status, read.content), reason: null };
  }
  if (places.length === 0) return undefined;
  return { outcome: 'elsewhere', place: files.find(id), reason: 'another action has this id' };
}

/** Undefined: it is written. */
async function create(
  files: ActionFiles,
  id: string,
  content: JsonObject,
): Promise<Moved | undefined> {
  const path = files.path('pending', id);
  const temporary = temporaryName(path);
  faultPoint('proposal.before-write');
  const handle = await open(temporary, 'wx', 0o644);
  try {
    try {
      await handle.writeFile(textOf(content));
      await handle.datasync();
    } finally {
      await handle.close();
    }
    faultPoint('proposal.before-link');
    await linkTo(temporary, path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    return standing(files, id, content);
  } finally {
    if (await isThere(temporary)) await unlink(temporary);
  }
  await syncFolder(files.folders.pending);
  faultPoint('proposal.after-sync');
  return undefined;
}

/** Throws EEXIST when something stands there. Some file systems have no links: there two may still meet in one moment. */
async function linkTo(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error;
    if (await isThere(path)) throw Object.assign(new Error(`${path} exists`), { code: 'EEXIST' });
    await rename(temporary, path);
  }
}

/** The folders, and nothing in them that an earlier life took and will not come back for. `awaited`: keys of its steps. */
export async function prepareFolders(
  files: ActionFiles,
  awaited: readonly string[],
  warn: (fields: Record<string, unknown>, message: string) => void,
): Promise<void> {
  for (const folder of Object.values(files.folders)) await mkdir(folder, { recursive: true });
  const own = mark(files.nodeId);
  const marks = new Set(awaited.map(mark));
  for (const status of OPEN) {
    removeLeftovers(files.folders[status]);
    for (const name of await readdir(files.folders[status])) {
      const [, id = '', node, step = ''] = TAKEN.exec(name) ?? [];
      if (node !== own || marks.has(step)) continue;
      const path = files.path(status, id);
      try {
        await putBack(join(files.folders[status], name), path);
        warn({ path }, 'an action that nobody comes back for is where it was taken from');
      } catch (error) {
        warn({ path, name, error: String(error) }, 'an action cannot be put back');
      }
    }
  }
}
