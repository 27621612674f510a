/**
 * Which event files are there that were not read: `events/<day>/<host>/*.json`, and older `events.jsonl`. Files come in any
 * order, from other machines, some of them late and under a name that sorts before what was read.
 *
 * F1 A folder is listed when its time of change is another than at the last listing of which every file was read; what is
 *    new in it is told by name, and after a restart by the file's own time of change. Both are ctimes: the others can be
 *    set, and a copy (rsync -t) brings along those of its source.
 * F2 At the start all days in their order; from then on the days around now in every round, all others a few at a time, in
 *    turn (P8).
 * F3 Only real folders and names that cannot lead elsewhere; what cannot be listed is no empty folder: it is said, and looked
 *    at again.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '../../cells/inside.ts';
import { toPlainError } from '../../machines/errors.ts';
import type { LinesPlace } from './event-lines.ts';
import { isOpen } from './event-turns.ts';

export const LINES_FILE = 'events.jsonl';

/** Of one day and host. */
export interface EventFolder {
  /** `<day>/<host>` */
  key: string;
  host: string;
  /** Names that are known to be read; undefined: only the time says so. */
  seen: Set<string> | undefined;
  /** In the order of their names. */
  unread: string[];
  /** Files that could not be read yet, and when that was tried first (monotonic, ms). */
  again: Map<string, number>;
  /** How far the `events.jsonl` was read, whether there is one, and whether it has more. */
  lines: LinesPlace | undefined;
  isLined: boolean;
  hasLines: boolean;
  /** Its time of change at the listing under way, and at the last one of which everything was read, ns. */
  listedAt: bigint;
  readAt: bigint | undefined;
  /** It had been left alone for long enough: while that time is the same, nothing is new in it. */
  isQuiet: boolean;
}

/** By key, as a restart needs it: `readAt`, and how far the lines were read. */
export type FolderMarks = Record<string, FolderMark>;
export interface FolderMark {
  read: string | null;
  quiet?: true;
  lines?: LinesPlace;
}

const DAY = /^\d{4}-\d\d-\d\d$/;
const DAY_MS = 86_400_000;
/** Folders of other days in one round, and of all days at the start. */
const IN_TURN = 64;
const AT_START = 512;
/** Names that wait to be read, above which no other day is looked at. */
const MOST_WAITING = 20_000;
/** A folder that changed so short a time ago may change again within one tick of its file system's clock, ns. */
const TICK_NS = 2_000_000_000n;
const MAX_PROBLEMS = 20;

export class EventFolders {
  readonly #root: string;
  readonly #folders = new Map<string, EventFolder>();
  #marks: FolderMarks;
  #round: string[] = [];
  /** How long the last look took. */
  lookMs = 0;
  /** Every folder was looked at since the start. */
  isComplete = false;
  /** What cannot be listed, by path. */
  readonly problems = new Map<string, string>();

  constructor(root: string, marks: FolderMarks) {
    this.#root = root;
    this.#marks = marks;
  }

  /** Those in which something is to be read, the oldest day first. `now`: epoch ms. */
  look(now: number): EventFolder[] {
    const began = performance.now();
    const found = this.#look(now);
    this.lookMs = performance.now() - began;
    return found;
  }

  #look(now: number): EventFolder[] {
    const days = this.#list('', (entry) => DAY.test(entry))?.toSorted();
    if (days === undefined) return [];
    if (this.isComplete) {
      const around = new Set([-1, 0, 1].map((count) => dayOf(now + count * DAY_MS)));
      for (const day of days.filter((name) => around.has(name))) this.#lookAtDay(day, now);
      const others = days.filter((name) => !around.has(name));
      this.#lookInTurn(others, now, IN_TURN);
    } else this.#lookInTurn(days, now, AT_START);
    this.#forget(new Set(days));
    return [...this.#folders.values()].filter(isOpen).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** It was read to the end of the last listing. */
  finish(folder: EventFolder, now: number): void {
    if (folder.again.size > 0) return;
    folder.readAt = folder.listedAt;
    folder.isQuiet = BigInt(now) * 1_000_000n - folder.listedAt > TICK_NS;
    if (folder.isQuiet && !this.#isRecent(folder, now)) folder.seen = undefined;
  }

  marks(): FolderMarks {
    const marks = { ...this.#marks };
    for (const [key, { readAt, isQuiet, lines }] of this.#folders)
      marks[key] = {
        read: readAt === undefined ? null : String(readAt),
        ...(isQuiet ? { quiet: true } : {}),
        ...(lines === undefined ? {} : { lines }),
      };
    return marks;
  }

  /** F2. */
  #lookInTurn(days: readonly string[], now: number, most: number): void {
    if (this.#round.length === 0) this.#round = [...days];
    for (let looked = 0; looked < most && this.#waiting() < MOST_WAITING;) {
      const day = this.#round.shift();
      if (day === undefined) break;
      looked += 1 + this.#lookAtDay(day, now);
    }
    if (this.#round.length === 0) this.isComplete = true;
  }

  #waiting(): number {
    let count = 0;
    for (const { unread } of this.#folders.values()) count += unread.length;
    return count;
  }

  /** How many folders it has. */
  #lookAtDay(day: string, now: number): number {
    const hosts = this.#list(day, isPlainName) ?? [];
    for (const host of hosts) this.#lookAt(`${day}/${host}`, host, now);
    return hosts.length;
  }

  /** F1. */
  #lookAt(key: string, host: string, now: number): void {
    const stats = lstatSync(join(this.#root, key), { bigint: true, throwIfNoEntry: false });
    if (stats === undefined) return void this.problems.delete(key);
    const folder = this.#folders.get(key) ?? this.#known(key, host);
    this.#folders.set(key, folder);
    if (folder.isLined) folder.hasLines = this.#hasMoreLines(folder);
    if (folder.isQuiet && folder.readAt === stats.ctimeNs && folder.again.size === 0) return;
    const all = this.#list(key, (name) => /\.jsonl?$/.test(name), 'files');
    if (all === undefined) return;
    folder.isLined = all.includes(LINES_FILE);
    folder.hasLines = folder.isLined && this.#hasMoreLines(folder);
    const names = all.filter((name) => name.endsWith('.json'));
    folder.listedAt = stats.ctimeNs;
    folder.isQuiet = false;
    const seen = (folder.seen ??= this.#seenBefore(folder, names));
    folder.unread = names.filter((name) => !seen.has(name)).toSorted();
    if (folder.unread.length === 0) this.finish(folder, now);
  }

  #known(key: string, host: string): EventFolder {
    const mark = this.#marks[key];
    const read = mark?.read ?? null;
    return {
      key,
      host,
      seen: undefined,
      unread: [],
      again: new Map(),
      lines: mark?.lines,
      isLined: mark?.lines !== undefined,
      hasLines: false,
      listedAt: 0n,
      readAt: read === null ? undefined : BigInt(read),
      isQuiet: mark?.quiet === true,
    };
  }

  #seenBefore({ key, readAt }: EventFolder, names: readonly string[]): Set<string> {
    if (readAt === undefined) return new Set();
    const since = readAt - TICK_NS;
    return new Set(
      names.filter((name) => {
        const path = join(this.#root, key, name);
        const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
        return stats !== undefined && stats.ctimeNs < since;
      }),
    );
  }

  #hasMoreLines({ key, lines }: EventFolder): boolean {
    const path = join(this.#root, key, LINES_FILE);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isFile() !== true) return false;
    return lines === undefined || lines.inode !== String(stats.ino) || lines.offset !== stats.size;
  }

  /** F3. */
  #list(
    path: string,
    isWanted: (name: string) => boolean,
    what: 'folders' | 'files' = 'folders',
  ): string[] | undefined {
    try {
      const entries = readdirSync(join(this.#root, path), { withFileTypes: true });
      this.problems.delete(path);
      return entries
        .filter((entry) => (what === 'files' ? !entry.isDirectory() : entry.isDirectory()))
        .map(({ name }) => name)
        .filter((name) => !name.startsWith('.') && isWanted(name));
    } catch (error) {
      if (path === '' && hasCode(error, 'ENOENT')) {
        this.isComplete = true; // nobody has written an event yet
        return [];
      }
      if (this.problems.size < MAX_PROBLEMS) this.problems.set(path, toPlainError(error).message);
      return undefined;
    }
  }

  #isRecent({ key }: EventFolder, now: number): boolean {
    return key.slice(0, 10) >= dayOf(now - DAY_MS);
  }

  /** Whole days are cleared away. */
  #forget(days: ReadonlySet<string>): void {
    const isGone = (key: string): boolean => !days.has(key.slice(0, 10));
    for (const key of this.#folders.keys()) if (isGone(key)) this.#folders.delete(key);
    for (const path of this.problems.keys())
      if (path !== '' && isGone(path)) this.problems.delete(path);
    if (Object.keys(this.#marks).some(isGone))
      this.#marks = Object.fromEntries(Object.entries(this.#marks).filter(([key]) => !isGone(key)));
  }
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

const isPlainName = (name: string): boolean => name.length <= 200 && !/\p{Cc}/u.test(name);
