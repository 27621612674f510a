/**
 * The folders of actions, seen: each file that is not where its actor knows it to be is told to the actor. Events of the file
 * system are hints; a rescan finds what they missed.
 *
 * W1 What is compared is where the file is with where its actor knows it to be: what was told and not taken is told again,
 *    what came of our own moves is told nobody.
 * W2 A file that is nowhere, or in two folders, may be on its way: it counts only when it stays so.
 * W3 A folder that cannot be read says nothing of its files (P6).
 * W4 Only files in pending/, approved/ and running/ are listed, and no more than `MAX_OPEN` get an actor; of what has ended
 *    only that is looked at whose actor waits to hear of it. A hundred thousand old files cost nothing.
 * W5 While a step of ours is under way, where the file is says nothing.
 */
import { statSync, watch } from 'node:fs';
import type { FSWatcher, Stats } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ErrorFiles } from '../../cells/error-file.ts';
import type { Problem } from '../../cells/parse-json.ts';
import type { ActionContext } from '../../machines/action-context.ts';
import { actionAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject, jsonEqual } from '../../machines/json.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionEvent, ActionStatus } from '../../machines/remediation.ts';
import type { ActorSystem, SystemLog } from '../system.ts';
import { OPEN } from './action-files.ts';
import type { ActionFiles, FoundAction } from './action-files.ts';
import type { ActionEntry, ActionIndex } from './action-index.ts';

/** W4. */
const MAX_OPEN = 5000;
/** W2, ms. */
const SETTLES_MS = { nowhere: 400, twice: 1500 };
const DEFAULT_RESCAN_MS = 5000;
/** The file system's times lag behind the clock by a tick or so. */
const CLOCK_GRAIN_MS = 20;
/** One look at many files lets others go on after so long, ms. */
const SLICE_MS = 10;

export interface ActionWatchOptions {
  files: ActionFiles;
  index: ActionIndex;
  system: ActorSystem;
  log: SystemLog;
  /** Seconds for which an approval holds. */
  approvalExpires: () => number;
  /** After each look at everything. */
  onLook?: () => void;
  rescanMs?: number;
}

interface Seen {
  status: ActionStatus;
  stats: Stats;
}

export class ActionWatch {
  readonly #options: ActionWatchOptions;
  readonly #errorFiles: ErrorFiles;
  readonly #watchers = new Map<ActionStatus, { watcher: FSWatcher; inode: number }>();
  /** By id: what was told last, and to an actor in which state. */
  readonly #told = new Map<string, string>();
  /** By id: since when it is nowhere, or in two folders. */
  readonly #odd = new Map<string, number>();
  readonly #bad = new Map<ActionStatus, Map<string, Problem[]>>();
  readonly #dirty = new Set<string>();
  /** Who waits for the end of a look at everything that has not begun yet. */
  readonly #awaiting: (() => void)[] = [];
  #isFull = true;
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #stopped = false;
  /** Why the folders say nothing at present. */
  trouble: string | null = null;
  /** Ids of files without an actor, for there are too many. */
  readonly beyond = new Set<string>();

  constructor(options: ActionWatchOptions) {
    this.#options = options;
    const { log } = options;
    this.#errorFiles = new ErrorFiles({ log: { ...log, warn: (f, m) => log.warn(f, m) } });
    options.index.onChange = (entry) => this.#changed(entry);
  }

  /** Files that are no actions, or stand in two folders: `pending/x.json`. Each has an error file beside it. */
  get refused(): string[] {
    return [...this.#bad].flatMap(([status, bad]) =>
      [...bad.keys()].map((id) => `${status}/${id}.json`),
    );
  }

  start(): void {
    this.#rescan();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#soon);
    for (const { watcher } of this.#watchers.values()) watcher.close();
    await this.#looking;
    for (const resolve of this.#awaiting.splice(0)) resolve();
    await this.#errorFiles.stop();
  }

  /** Everything that stands there now has been told when it resolves. */
  lookAtAll(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#awaiting.push(resolve);
      this.#rescan();
    });
  }

  #rescan(): void {
    this.#isFull = true;
    this.#look();
  }

  #changed({ id, isMoving }: ActionEntry): void {
    if (isMoving || this.#stopped) return;
    this.#dirty.add(id);
    this.#look();
  }

  #look(): void {
    if (this.#looking || this.#stopped) return;
    this.#looking = this.#run()
      .catch((error: unknown) => {
        const { log } = this.#options;
        log.warn({ error: String(error) }, 'actions not looked at; the rescan tries again');
      })
      .finally(() => {
        this.#looking = undefined;
        if (this.#isFull || this.#dirty.size > 0) this.#look();
      });
  }

  async #run(): Promise<void> {
    await nextTurn(); // what happens at once is looked at once
    while (!this.#stopped && (this.#isFull || this.#dirty.size > 0)) {
      if (this.#isFull) await this.#lookAtEverything();
      const ids = [...this.#dirty];
      this.#dirty.clear();
      await this.#orNote(() => this.#lookAt(ids, (id) => this.#lookAtOne(id)));
    }
  }

  /** The next one begins so long after the end of this one: a slow disk does not keep us looking all the time. */
  async #lookAtEverything(): Promise<void> {
    const { rescanMs = DEFAULT_RESCAN_MS, onLook } = this.#options;
    this.#isFull = false;
    const awaiting = this.#awaiting.splice(0);
    clearTimeout(this.#timer);
    await this.#orNote(async () => {
      const listed = this.#everything();
      await this.#lookAt(listed.keys(), (id) => {
        const status = listed.get(id);
        return status && this.#isAsTold(id, status) ? undefined : this.#lookAtOne(id);
      });
      this.#tidy();
      this.trouble = null;
    });
    onLook?.();
    for (const resolve of awaiting) resolve();
    if (!this.#stopped) this.#timer = setTimeout(() => this.#rescan(), rescanMs).unref();
  }

  /** W3. */
  async #orNote(look: () => Promise<void>): Promise<void> {
    try {
      await look();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.trouble === null)
        this.#options.log.warn({ error: reason }, 'the folders of actions cannot be read');
      this.trouble = reason;
    }
  }

  async #lookAt(
    ids: Iterable<string>,
    look: (id: string) => Promise<void> | undefined,
  ): Promise<void> {
    let since = performance.now();
    let sent: Promise<void>[] = [];
    for (const id of ids) {
      const told = look(id);
      if (told) sent.push(told);
      if (performance.now() - since < SLICE_MS && sent.length < 200) continue;
      await Promise.all(sent);
      await nextTurn();
      sent = [];
      since = performance.now();
    }
    await Promise.all(sent);
  }

  /** W4. By id the one folder in which it is listed; null: in none, or in several. */
  #everything(): Map<string, ActionStatus | null> {
    const { files, index } = this.#options;
    const ids = new Map<string, ActionStatus | null>();
    for (const status of ACTION_STATUSES) this.#watch(status);
    for (const status of OPEN)
      for (const id of files.list(status)) ids.set(id, ids.has(id) ? null : status);
    const others = [...this.#bad.values()].flatMap((bad) => [...bad.keys()]);
    for (const { id, isOpen } of index.all()) if (isOpen) others.push(id);
    for (const id of [...others, ...this.#odd.keys()]) if (!ids.has(id)) ids.set(id, null);
    this.beyond.clear();
    return ids;
  }

  /** It stands where it stood when it was told last, unchanged: the common case, cheaply. */
  #isAsTold(id: string, status: ActionStatus): boolean {
    const { files, index } = this.#options;
    const stats = this.#odd.has(id) ? null : files.stat(status, id);
    const known = index.get(id);
    return stats !== null && this.#told.get(id) === signatureOf({ status, stats }, known);
  }

  /** A folder that was removed and made again is another one. */
  #watch(status: ActionStatus): void {
    const folder = this.#options.files.folders[status];
    const { ino: inode } = statSync(folder);
    const known = this.#watchers.get(status);
    if (known?.inode === inode) return;
    known?.watcher.close();
    const isOpen = OPEN.includes(status);
    try {
      const watcher = watch(folder, { persistent: false }, (_kind, name) =>
        this.#hint(name, isOpen),
      );
      watcher.on('error', () => this.#watchers.delete(status)); // made anew at the next rescan
      this.#watchers.set(status, { watcher, inode });
    } catch (error) {
      const { log } = this.#options;
      log.warn({ folder, error: String(error) }, 'folder not watched; the rescan goes on');
    }
  }

  #hint(name: string | null, isOpenFolder: boolean): void {
    if (name === null) return this.#rescan();
    if (!name.endsWith('.json') || name.startsWith('.')) return;
    const id = name.slice(0, -'.json'.length);
    if (!isOpenFolder && !this.#options.index.get(id)?.isOpen) return; // W4
    this.#dirty.add(id);
    this.#look();
  }

  /** Without a turn of the event loop between the look and the telling: so it comes before what happens next to it. */
  #lookAtOne(id: string): Promise<void> | undefined {
    const { index, files } = this.#options;
    const known = index.get(id);
    if (known?.isMoving) return undefined; // W5
    const places = files.places(id);
    const open = places.filter((status) => OPEN.includes(status));
    this.#clear(id, open);
    if (open.length > 1) return this.#twice(id, known, open);
    const seen = this.#seen(id, open[0] ?? this.#ended(id, known, places));
    if (seen === undefined) return this.#nowhere(id, known);
    this.#odd.delete(id);
    if (known === undefined && index.open >= MAX_OPEN) return void this.beyond.add(id);
    const signature = signatureOf(seen, known);
    if (this.#told.get(id) === signature) return undefined;
    this.#told.set(id, signature);
    return this.#tell(id, known, seen);
  }

  #seen(id: string, status: ActionStatus | undefined): Seen | undefined {
    const stats = status && this.#options.files.stat(status, id);
    return status && stats ? { status, stats } : undefined;
  }

  /** The newest of those that came since its actor knows of it. */
  #ended(
    id: string,
    known: ActionEntry | undefined,
    places: readonly ActionStatus[],
  ): ActionStatus | undefined {
    if (!known?.isOpen) return undefined;
    return places
      .map((status) => ({ status, at: this.#options.files.stat(status, id)?.ctimeMs ?? 0 }))
      .filter(({ at }) => at >= known.since - CLOCK_GRAIN_MS)
      .toSorted((a, b) => b.at - a.at)[0]?.status;
  }

  #tell(
    id: string,
    known: ActionEntry | undefined,
    { status, stats }: Seen,
  ): Promise<void> | undefined {
    const { files, approvalExpires } = this.#options;
    const read = files.read(status, id);
    if (read === undefined) return void this.#told.delete(id); // moved in this very moment
    if (!read.ok) {
      this.#complain(status, id, read.problems);
      const reason = `its file in ${status}/ cannot be read: ${read.reason}`;
      return known?.isOpen ? this.#send(id, { type: 'action.unreadable', reason }) : undefined;
    }
    if (known && this.#isKnown(known, read)) return undefined; // W1
    const { content, sha256 } = read;
    const movedAt = Math.floor(stats.ctimeMs);
    const expires = approvalExpires();
    return this.#send(id, { type: 'action.found', status, content, sha256, movedAt, expires });
  }

  #isKnown({ address }: ActionEntry, { status, sha256, content }: FoundAction): boolean {
    try {
      const context = this.#options.system.read(address).snapshot.context as ActionContext;
      const { place, trouble } = context;
      if (trouble !== null || place?.status !== status || place.sha256 !== sha256) return false;
      return jsonEqual(content, context.content ?? {});
    } catch (error) {
      if (error instanceof RuntimeError) return false; // held: telling it says so
      throw error;
    }
  }

  #twice(
    id: string,
    known: ActionEntry | undefined,
    open: readonly ActionStatus[],
  ): Promise<void> | undefined {
    if (!this.#isLasting(id, SETTLES_MS.twice)) return undefined;
    const reason = `its file stands in ${open.map((status) => `${status}/`).join(' and ')} at once`;
    const problem = { pointer: '', line: 1, message: reason, fix: 'Remove all but one of them.' };
    for (const status of open) this.#complain(status, id, [problem]);
    const signature = `twice:${open.join()}:${known?.state ?? ''}`;
    if (!known?.isOpen || this.#told.get(id) === signature) return undefined;
    this.#told.set(id, signature);
    return this.#send(id, { type: 'action.unreadable', reason });
  }

  #nowhere(id: string, known: ActionEntry | undefined): Promise<void> | undefined {
    if (!known?.isOpen) {
      this.#odd.delete(id);
      this.#told.delete(id);
      return undefined;
    }
    const signature = `nowhere:${known.state}`;
    if (this.#told.get(id) === signature || !this.#isLasting(id, SETTLES_MS.nowhere))
      return undefined;
    this.#told.set(id, signature);
    return this.#send(id, { type: 'action.missing' });
  }

  /** W2. */
  #isLasting(id: string, forMs: number): boolean {
    const now = performance.now();
    const since = this.#odd.get(id);
    if (since !== undefined && now - since >= forMs) return true;
    if (since === undefined) this.#odd.set(id, now);
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      for (const odd of this.#odd.keys()) this.#dirty.add(odd);
      this.#look();
    }, forMs).unref();
    return false;
  }

  async #send(id: string, event: ActionEvent): Promise<void> {
    const { system, log } = this.#options;
    const address = actionAddress(id);
    try {
      if (!system.has(address)) await system.spawn(address, 'action', { actionId: id });
      await system.send(address, { ...asJsonObject(event), type: event.type });
    } catch (error) {
      this.#told.delete(id); // W1: the rescan tells it again
      log.warn({ actionId: id, type: event.type, error: String(error) }, 'an action is not told');
    }
  }

  #complain(status: ActionStatus, id: string, problems: Problem[]): void {
    const bad = this.#bad.get(status) ?? new Map<string, Problem[]>();
    this.#bad.set(status, bad.set(id, problems));
    this.#errorFiles.report(this.#options.files.folders[status], { path: `${id}.json`, problems });
  }

  /** What was bad, and may not be any more, is looked at anew. */
  #clear(id: string, open: readonly ActionStatus[]): void {
    for (const [status, bad] of this.#bad) {
      const isStill = open.length > 1 ? open.includes(status) : this.#isBadStill(status, id);
      if (!bad.has(id) || isStill) continue;
      bad.delete(id);
      this.#errorFiles.clear(this.#options.files.folders[status], `${id}.json`);
    }
  }

  #isBadStill(status: ActionStatus, id: string): boolean {
    return (
      this.#bad.get(status)?.has(id) === true && this.#options.files.read(status, id)?.ok === false
    );
  }

  /** Error files of earlier lives, too. */
  #tidy(): void {
    const { files } = this.#options;
    for (const status of OPEN) {
      const bad = [...(this.#bad.get(status) ?? [])];
      const problems = bad.map(([id, found]) => ({ path: `${id}.json`, problems: found }));
      this.#errorFiles.update(files.folders[status], problems, files.errorFiles(status));
    }
  }
}

const signatureOf = ({ status, stats }: Seen, known: ActionEntry | undefined): string =>
  `${status}:${stats.ino}:${stats.ctimeMs}:${stats.size}:${known?.state ?? ''}`;
