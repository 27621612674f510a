/**
 * The folders of actions as we touch them: bounded reads, no symbolic links, ids that are file names and nothing more. The
 * folders themselves belong to the homelab and may be links, mounted, or gone for a while.
 *
 * F1 A folder that cannot be read is not an empty one (P6).
 * F2 Of one id only one file counts: the one in pending/, approved/ or running/. Old ones of the same id may lie in the
 *    folders of what has ended.
 */
import { lstatSync, opendirSync, readdirSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { hasCode, readInside } from '../../cells/inside.ts';
import { ERROR_SUFFIX } from '../../cells/layout.ts';
import { parseJsonObject } from '../../cells/parse-json.ts';
import type { Problem } from '../../cells/parse-json.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { sha256 } from '../../cells/sha256.ts';
import {
  approvalText,
  isActionId,
  MAX_ACTION_BYTES,
  readAction,
} from '../../machines/action-file.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionStatus } from '../../machines/remediation.ts';

/** Those whose files are still to become something else. */
export const OPEN: readonly ActionStatus[] = ['pending', 'approved', 'running'];
/** Entries of one folder that are looked at. */
export const MAX_LISTED = 20_000;

export interface FoundAction {
  status: ActionStatus;
  content: JsonObject;
  sha256: string;
}

export type ActionReading =
  ({ ok: true } & FoundAction) | { ok: false; problems: Problem[]; reason: string };

export const approvalHash = (content: JsonObject): string => sha256(approvalText(content));

export class ActionFiles {
  readonly folders: RuntimeLayout['actions'];
  /** Whose steps stand in the histories of files. */
  readonly nodeId: string;

  constructor({ actions }: Pick<RuntimeLayout, 'actions'>, nodeId: string) {
    this.folders = actions;
    this.nodeId = nodeId;
  }

  path(status: ActionStatus, id: string): string {
    return join(this.folders[status], `${id}.json`);
  }

  /** Ids of the files in a folder. Throws what the file system throws (F1). */
  list(status: ActionStatus): string[] {
    return readdirSync(this.folders[status])
      .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
      .slice(0, MAX_LISTED)
      .map((name) => name.slice(0, -'.json'.length));
  }

  /** Names of the error files in a folder. */
  errorFiles(status: ActionStatus): string[] {
    const suffix = `.json${ERROR_SUFFIX}`;
    return readdirSync(this.folders[status]).filter((name) => name.endsWith(suffix));
  }

  /** Null: it is not there. Throws for a folder that is gone. */
  stat(status: ActionStatus, id: string): Stats | null {
    try {
      return lstatSync(this.path(status, id));
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
      lstatSync(this.folders[status]); // F1
      return null;
    }
  }

  /** Where files of this id stand. */
  places(id: string): ActionStatus[] {
    return ACTION_STATUSES.filter((status) => this.stat(status, id) !== null);
  }

  /** Undefined: it is not there (any more). */
  read(status: ActionStatus, id: string): ActionReading | undefined {
    return this.readAs(status, `${id}.json`, id);
  }

  /** A file of the folder under whatever name. */
  readAs(status: ActionStatus, name: string, id: string): ActionReading | undefined {
    try {
      const bytes = readInside(this.folders[status], name, { maxBytes: MAX_ACTION_BYTES });
      const parsed = parseJsonObject(bytes, MAX_ACTION_BYTES);
      if (!parsed.ok) return unreadable(parsed.problems);
      const { value: content } = parsed;
      if (losesNumbers(parsed.text)) return unreadable([problem(INEXACT)]);
      const action = readAction(id, content);
      if (action.ok) return { ok: true, status, content, sha256: approvalHash(content) };
      return unreadable([problem(action.reason, action.pointer)]);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      if (hasCode(error, 'PATH_ESCAPES_CELL'))
        return unreadable([problem('it is a symbolic link, and none is followed here')]);
      if (error instanceof RuntimeError) return unreadable([problem(error.message)]);
      if (!hasCode(error, 'EACCES', 'EPERM', 'EIO')) throw error;
      opendirSync(this.folders[status]).closeSync(); // F1: else it is the folder's fault
      lstatSync(join(this.folders[status], name));
      const { code } = error as NodeJS.ErrnoException;
      return unreadable([problem(`the node's user cannot read it (${code})`)]);
    }
  }

  /** The file of this id that counts (F2), if it can be read. */
  find(id: string): FoundAction | null {
    const places = this.places(id);
    for (const status of [...OPEN, ...places]) {
      const read = places.includes(status) ? this.read(status, id) : undefined;
      if (read?.ok) return { status, content: read.content, sha256: read.sha256 };
    }
    return null;
  }
}

const INEXACT = 'it has a whole number that is too long to be kept as it is';

/** What is written again must be what was read: a number that would come out as another one is not taken. */
function losesNumbers(text: string): boolean {
  let isLossy = false;
  const look = (_name: string, value: unknown, { source }: { source?: string } = {}): unknown => {
    const isWhole = typeof value === 'number' && source !== undefined && /^-?\d+$/.test(source);
    if (isWhole && BigInt(source) !== BigInt(value)) isLossy = true;
    return value;
  };
  JSON.parse(text, look);
  return isLossy;
}

function unreadable(problems: Problem[]): ActionReading {
  const [{ message, pointer } = problem('it cannot be read')] = problems;
  return { ok: false, problems, reason: pointer === '' ? message : `${pointer}: ${message}` };
}

const problem = (message: string, pointer = ''): Problem => ({
  pointer,
  line: 1,
  message,
  fix: 'Write it anew, or remove it; docs/actions.md says what an action looks like.',
});

/** What the name of a file may be the name of. Throws RuntimeError INVALID_ARGUMENT. */
export function requireActionId(id: string): void {
  if (isActionId(id)) return;
  throw new RuntimeError(`${JSON.stringify(id.slice(0, 100))} cannot be the id of an action`, {
    code: 'INVALID_ARGUMENT',
    hint: 'It is the name of a file without .json; list them with `lazarus actions list`.',
  });
}
