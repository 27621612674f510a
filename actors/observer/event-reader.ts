/**
 * Reads the homelab's event files into the observer's records, and goes on where it stood.
 *
 * R1 A file counts as read when what it says is durable. Read once more, after a kill, it changes nothing
 *    (machines/observed-timeline.ts, T1).
 * R2 Hosts take turns, a few files each; so many files a second in all (P8). What was there at the start is read day by day:
 *    what is told of a thing in one host's folder must not come too late to count because another's was read faster.
 * R3 A file that cannot be understood may be half written: it is tried again while it is young, then named once and passed
 *    over.
 * R4 Without its checkpoint everything is read anew, into new records.
 */
import { lstatSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, readInside } from '../../cells/inside.ts';
import { OBSERVER } from '../../machines/addresses.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { MAX_MESSAGE_BYTES } from '../../machines/homelab-events.ts';
import type { ActorSystem } from '../system.ts';
import { Batch, readEvent } from './event-batch.ts';
import { EventFolders, LINES_FILE } from './event-folders.ts';
import type { EventFolder } from './event-folders.ts';
import { readLines } from './event-lines.ts';
import { inOrder, inTurns, isOpen } from './event-turns.ts';
import { isRemoved, readCheckpoint, writeCheckpoint } from './observer-checkpoint.ts';
import type { ObserverLog } from './observer-door.ts';

export interface EventReaderOptions {
  system: ActorSystem;
  events: string;
  checkpoint: string;
  aliases: () => Readonly<Record<string, string>>;
  log: ObserverLog;
  /** Of the records that there are; undefined: the observer's actor cannot be read just now. */
  generation: () => string | undefined;
  /** R4. New records, under a new generation. */
  rebuild: (reason: string) => Promise<void>;
  /** The first checkpoint of a generation is durable. */
  checkpointed: (generation: string) => Promise<void>;
  /** Default 1000. */
  filesPerSecond?: number;
  /** Between two looks at the folders when nothing is to be read, ms. Default 1000. */
  idleMs?: number;
  /** R3. A file that was written so short a time ago may be half written, ms. Default 10,000. */
  youngMs?: number;
}

/** Files, or lines, of one host at a time. */
const AT_A_TIME = 50;
const ROUNDS_PER_SECOND = 4;
/** Looking for what is new takes a twentieth of the time, however many folders there are. */
const PAUSE = 20;
const YOUNG_MS = 10_000;
const MAX_REFUSED_NAMES = 20;

export class EventReader {
  readonly #options: EventReaderOptions;
  readonly #stopping = new AbortController();
  #folders: EventFolders;
  #nodes: Record<string, string> = {};
  #generation: string | undefined;
  #running: Promise<void> = Promise.resolve();
  #isDirty = false;
  /** A checkpoint of ours is on disk. */
  #isWritten = false;
  #nextWriteAt = 0;
  #waiting = 0;
  /** Everything that was there at the start, or at a rebuild, was read. */
  isCaughtUp = false;
  #read = 0;
  #refused = 0;
  readonly #refusedNames: string[] = [];
  #problem: string | null = null;

  constructor(options: EventReaderOptions) {
    this.#options = options;
    this.#folders = new EventFolders(options.events, {});
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#save(true);
  }

  view(): JsonObject {
    return {
      caught_up: this.isCaughtUp,
      read: this.#read,
      waiting: this.#waiting,
      refused: { count: this.#refused, first: [...this.#refusedNames] },
      problem: this.#problem ?? [...this.#folders.problems.values()][0] ?? null,
    };
  }

  async #run(): Promise<void> {
    const { idleMs = 1000 } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let isBehind = false;
      try {
        isBehind = (await this.#isReady()) && (await this.#round());
        this.#told(null);
      } catch (error) {
        this.#told(toPlainError(error).message);
      }
      const quietMs = Math.max(idleMs, PAUSE * this.#folders.lookMs);
      const pauseMs = isBehind ? 1000 / ROUNDS_PER_SECOND : quietMs;
      await sleep(pauseMs, null, { signal, ref: false }).catch(() => undefined);
    }
  }

  #told(problem: string | null): void {
    if (problem !== null && problem !== this.#problem)
      this.#options.log.warn({ problem }, 'event files are not read');
    this.#problem = problem;
  }

  /** R4. False: nobody can say into which records it would be read. */
  async #isReady(): Promise<boolean> {
    const { checkpoint, generation } = this.#options;
    const isKnown = this.#generation !== undefined && generation() === this.#generation;
    if (isKnown && !(this.#isWritten && isRemoved(checkpoint))) return true;
    this.isCaughtUp = false;
    return this.#begin();
  }

  async #begin(): Promise<boolean> {
    const { checkpoint: file, events, generation, rebuild, log } = this.#options;
    const reading = readCheckpoint(file);
    if (reading.kind === 'absent') await rebuild(`there is no ${file}`);
    const own = generation();
    if (own === undefined) return false;
    const known = reading.kind === 'ours' && reading.checkpoint.generation === own;
    if (!known && reading.kind !== 'absent')
      log.info({ file }, 'what was read before is not known here: event files are read anew');
    this.#folders = new EventFolders(events, known ? reading.checkpoint.folders : {});
    this.#nodes = known ? reading.checkpoint.nodes : {};
    this.#generation = own;
    this.#isWritten = known;
    this.#isDirty = !known;
    return true;
  }

  /** True: there is more to be read. */
  async #round(): Promise<boolean> {
    const { filesPerSecond = 1000 } = this.#options;
    const now = Date.now();
    const folders = this.#folders.look(now);
    let budget = Math.max(AT_A_TIME, filesPerSecond / ROUNDS_PER_SECOND);
    for (const queue = this.isCaughtUp ? inTurns(folders) : inOrder(folders); budget > 0;) {
      const folder = queue();
      if (folder === undefined) break;
      budget -= await this.#readSome(folder);
      if (folder.unread.length === 0) this.#folders.finish(folder, now);
    }
    this.#waiting = folders.reduce((sum, { unread }) => sum + unread.length, 0);
    const isBehind = folders.some(isOpen);
    if (!isBehind && this.#folders.isComplete) this.#caughtUp();
    await this.#save(false);
    return isBehind || !this.#folders.isComplete;
  }

  #caughtUp(): void {
    if (!this.isCaughtUp) this.#options.log.info({ files: this.#read }, 'event files are read');
    this.isCaughtUp = true;
  }

  /** R1, R2. How many. */
  async #readSome(folder: EventFolder): Promise<number> {
    const batch = new Batch();
    const lines = folder.hasLines ? this.#linesOf(folder, batch) : undefined;
    const names = folder.unread.slice(0, AT_A_TIME);
    const read = names.filter((name) => this.#readFile(folder, name, batch));
    await this.#tell(batch);
    folder.unread = folder.unread.slice(names.length);
    for (const name of read) {
      folder.seen?.add(name);
      folder.again.delete(name);
    }
    for (const name of names.filter((one) => !read.includes(one)))
      if (!folder.again.has(name)) folder.again.set(name, performance.now());
    if (lines !== undefined) {
      Object.assign(folder, { lines: lines.place, hasLines: lines.hasMore });
      if (lines.lines.length > 0) this.#isDirty = true;
    }
    if (read.length > 0) this.#noteRead(folder, read);
    return Math.max(1, names.length + (lines?.lines.length ?? 0));
  }

  #noteRead({ key, host }: EventFolder, names: readonly string[]): void {
    const last = names.toSorted().at(-1) ?? '';
    const path = join(resolve(this.#options.events), key, last);
    const before = this.#nodes[host];
    if (before === undefined || path > before) this.#nodes[host] = path;
    this.#isDirty = true;
  }

  #linesOf(folder: EventFolder, batch: Batch): ReturnType<typeof readLines> | undefined {
    const path = `${folder.key}/${LINES_FILE}`;
    try {
      const found = readLines(this.#options.events, path, folder.lines, AT_A_TIME);
      for (const line of found.lines)
        this.#take(line, { folder, path, at: found.writtenAt }, batch);
      for (let i = 0; i < found.tooLong; i += 1) this.#refuse(path, 'a line is too long');
      return found;
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) this.#refuse(path, toPlainError(error).message);
      folder.hasLines = false;
      return undefined;
    }
  }

  /** R3. False: it is to be tried again. */
  #readFile(folder: EventFolder, name: string, batch: Batch): boolean {
    const path = `${folder.key}/${name}`;
    const { events } = this.#options;
    const stats = lstatSync(join(events, path), { throwIfNoEntry: false });
    if (stats === undefined) return true; // it is gone again
    const isYoung = this.#isYoung(stats.mtimeMs, folder.again.get(name));
    try {
      const bytes = readInside(events, path, { maxBytes: MAX_MESSAGE_BYTES });
      return this.#take(bytes, { folder, path, at: stats.mtimeMs }, batch, isYoung);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return true;
      const isLink = error instanceof RuntimeError && error.code === 'PATH_ESCAPES_CELL';
      if (isYoung && !isLink) return false;
      this.#refuse(path, isLink ? 'it is a symbolic link' : toPlainError(error).message);
      return true;
    }
  }

  /** R3. A date in the future says nothing: then it goes by how long it has been tried. */
  #isYoung(mtimeMs: number, triedAt: number | undefined): boolean {
    const { youngMs = YOUNG_MS } = this.#options;
    const now = Date.now();
    if (mtimeMs <= now) return mtimeMs > now - youngMs;
    return triedAt === undefined || triedAt > performance.now() - youngMs;
  }

  #take(
    bytes: Buffer,
    { folder, path, at }: { folder: EventFolder; path: string; at: number },
    batch: Batch,
    isYoung = false,
  ): boolean {
    const { aliases, system } = this.#options;
    const context = { folderHost: folder.host, writtenAt: at, heardAt: system.clock.now().at };
    const read = readEvent(bytes, { ...context, aliases: aliases() });
    if (read.kind === 'refused') {
      if (isYoung) return false;
      this.#refuse(path, read.reason);
      return true;
    }
    this.#read += 1;
    if (read.kind === 'event') batch.add(read.host, read.event);
    return true;
  }

  #refuse(path: string, reason: string): void {
    this.#refused += 1;
    if (this.#refusedNames.length >= MAX_REFUSED_NAMES) return;
    this.#refusedNames.push(`${path}: ${reason}`);
    this.#options.log.warn({ path, reason }, 'an event file is passed over');
  }

  async #tell({ byHost }: Batch): Promise<void> {
    const { system } = this.#options;
    const told = [...byHost].map(([host, events]) =>
      system.send(OBSERVER, { ...asJsonObject({ host, events }), type: 'observer.read' }),
    );
    await Promise.all(told);
  }

  async #save(isLast: boolean): Promise<void> {
    const { checkpoint: file, checkpointed, log } = this.#options;
    const generation = this.#generation;
    const now = performance.now();
    if (!this.#isDirty || generation === undefined || (!isLast && now < this.#nextWriteAt)) return;
    if (this.#isWritten && isRemoved(file)) return; // R4: at the next round
    this.#isDirty = false;
    try {
      await writeCheckpoint(file, {
        generation,
        nodes: this.#nodes,
        folders: this.#folders.marks(),
      });
      this.#isWritten = true;
      await checkpointed(generation);
    } catch (error) {
      this.#isDirty = true;
      log.warn({ file, error: toPlainError(error).message }, 'the observer cannot write its place');
    }
    this.#nextWriteAt = performance.now() + Math.max(1000, 10 * (performance.now() - now));
  }
}
