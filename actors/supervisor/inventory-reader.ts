/**
 * Reads the inventory's files as they change, and keeps of each what it said last when it could be understood.
 *
 * R1 A file that cannot be read or understood says nothing: its last good content holds, and why is a problem (P6).
 * R2 Only a file that rested for `settleMs` is read, and only one that was absent for as long is gone: half of a YAML file is
 *    often a YAML file with fewer services, and editors, checkouts and copies write in place or remove first.
 * R3 What did not change is not read again, but for a file that the file system could not give.
 * R4 Long reads are done in turns of the event loop (P8).
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { scanInventory } from '../../cells/inventory-files.ts';
import type { FileProblem, InventoryScan } from '../../cells/inventory-files.ts';
import { isTransient, readWhole } from '../../cells/whole-file.ts';
import type { FileStamp } from '../../cells/whole-file.ts';
import { MAX_HOSTS, TOPOLOGY_FILE, hostFilePath } from '../../machines/desired.ts';
import type { HostFile, TopologyFile } from '../../machines/desired.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import { TOPOLOGY_KIND, hostKind, readInventoryFile } from './inventory-kinds.ts';
import type { InventoryKind } from './inventory-kinds.ts';

const SLICE_MS = 10;
/** Of one look, for what does not rest. */
const MAX_WAITS = 2;

/** One file, of whatever kind. */
interface Entry<T> {
  path: string;
  /** Key of the stamp that was last taken, good or not. */
  taken: string;
  /** What it said last, when it could be understood. */
  good: T | null;
  /** Why what it says now is not taken. */
  problems: FileProblem[];
  /** Of the content that was last read: the same content has the same problems. */
  content: { sha256: string; problems: FileProblem[] } | null;
  /** Lines of what other files may make wrong, by pointer. */
  lines: ReadonlyMap<string, number>;
  /** What it looks like while it does not rest (R2). */
  seen: { key: string; sinceMs: number } | null;
}

type Took = 'same' | 'changed' | 'gone';

export interface InventoryNews {
  /** Whether anything that is understood is other than before. */
  hasChanged: boolean;
  /** Files that do not rest: they are read at a later look. */
  restless: number;
}

export class InventoryReader {
  readonly #root: string;
  readonly #settleMs: number;
  readonly #hosts = new Map<string, Entry<HostFile>>();
  readonly #topology: Entry<TopologyFile> = newEntry(TOPOLOGY_FILE);
  readonly #good = new Map<string, HostFile>();
  #scanProblems: readonly FileProblem[] = [];

  constructor(root: string, settleMs: number) {
    this.#root = root;
    this.#settleMs = settleMs;
  }

  get topology(): TopologyFile | null {
    return this.#topology.good;
  }

  get hosts(): ReadonlyMap<string, HostFile> {
    return this.#good;
  }

  /** Hosts that have a file, and none that was ever understood. Sorted. */
  unread(): string[] {
    const unread = [...this.#hosts].filter(([, { good }]) => good === null);
    return unread.map(([host]) => host).sort();
  }

  /** There is a topology, and nobody knows what it says. */
  get isTopologyUnread(): boolean {
    return this.#topology.good === null && this.#topology.problems.length > 0;
  }

  problems(): FileProblem[] {
    const entries = [this.#topology, ...this.#hosts.values()];
    return [...this.#scanProblems, ...entries.flatMap(({ problems }) => problems)];
  }

  /** Of a pointer into what was last understood of a file, 1-based. */
  lineOf(file: string, pointer: string): number {
    const host = /^hosts\/([^/]+)\//.exec(file)?.[1];
    const entry = host === undefined ? this.#topology : this.#hosts.get(host);
    return (file === entry?.path ? entry.lines.get(pointer) : undefined) ?? 1;
  }

  /** Whether a look would find something to do. Throws when a folder cannot be read. */
  isNews(): boolean {
    const { topology, hosts } = scanInventory(this.#root);
    return (
      isOther(this.#topology, topology) ||
      hosts.size !== this.#hosts.size ||
      [...hosts].some(([host, stamp]) => isOther(this.#hosts.get(host), stamp))
    );
  }

  /** Throws when a folder cannot be read: then nothing is other than before. */
  async look(): Promise<InventoryNews> {
    let hasChanged = false;
    for (let waits = 0; ; waits += 1) {
      const { topology, hosts, problems } = scanInventory(this.#root);
      this.#scanProblems = problems;
      const waitsMs: number[] = [];
      const took = this.#take(this.#topology, topology, TOPOLOGY_KIND, waitsMs);
      if (took !== 'same') hasChanged = true;
      if (await this.#takeHosts(hosts, waitsMs)) hasChanged = true;
      if (waitsMs.length === 0 || waits === MAX_WAITS)
        return { hasChanged, restless: waitsMs.length };
      await sleep(Math.max(...waitsMs.slice(0, MAX_HOSTS)));
    }
  }

  async #takeHosts(found: InventoryScan['hosts'], waitsMs: number[]): Promise<boolean> {
    for (const host of found.keys())
      if (!this.#hosts.has(host)) this.#hosts.set(host, newEntry(hostFilePath(host)));
    let hasChanged = false;
    let sliceEnd = performance.now() + SLICE_MS;
    for (const [host, entry] of this.#hosts) {
      const took = this.#take(entry, found.get(host) ?? null, hostKind(host), waitsMs);
      if (took !== 'same') hasChanged = true;
      if (took === 'gone') this.#hosts.delete(host);
      if (entry.good === null) this.#good.delete(host);
      else this.#good.set(host, entry.good);
      if (performance.now() < sliceEnd) continue;
      await nextTurn(); // R4
      sliceEnd = performance.now() + SLICE_MS;
    }
    return hasChanged;
  }

  /** `waitsMs` gets how long this file has still to be waited for. */
  #take<T>(
    entry: Entry<T>,
    stamp: FileStamp | null,
    kind: InventoryKind<T>,
    waitsMs: number[],
  ): Took {
    if (!isOther(entry, stamp)) {
      entry.seen = null;
      return 'same';
    }
    const waitMs = this.#waitMs(entry, stamp);
    if (waitMs > 0) {
      waitsMs.push(waitMs);
      return 'same'; // R2
    }
    entry.seen = null;
    if (stamp === null) return forget(entry);
    try {
      return this.#read(entry, kind);
    } catch (error) {
      entry.taken = isTransient(error) ? AGAIN : stamp.key; // R3
      entry.problems = [unreadable(entry.path, error)]; // R1
      return 'same';
    }
  }

  #waitMs<T>(entry: Entry<T>, stamp: FileStamp | null): number {
    const key = keyOf(stamp);
    const now = performance.now();
    if (entry.seen?.key !== key) entry.seen = { key, sinceMs: now };
    const seenForMs = now - entry.seen.sinceMs;
    // Another clock's date, or one in the future, says nothing: then it counts for how long we saw it so.
    const restedMs = stamp === null ? 0 : Date.now() - stamp.changedMs;
    return this.#settleMs - Math.max(seenForMs, restedMs);
  }

  #read<T>(entry: Entry<T>, { maxBytes, understand }: InventoryKind<T>): Took {
    const { bytes, stamp, sha256, isSettled } = readWhole(this.#root, entry.path, { maxBytes });
    entry.taken = isSettled ? stamp.key : AGAIN;
    const isKnown = entry.content?.sha256 === sha256;
    const read = isKnown ? null : readInventoryFile(bytes, entry.path, { maxBytes, understand });
    if (read !== null) entry.content = { sha256, problems: read.ok ? [] : read.problems };
    entry.problems = entry.content?.problems ?? []; // R1
    if (read?.ok !== true) return 'same';
    entry.good = read.said;
    entry.lines = read.lines;
    return 'changed';
  }
}

/** Of a file that is to be read again, whatever it looks like. */
const AGAIN = 'again';
const ABSENT = 'absent';

const keyOf = (stamp: FileStamp | null): string => stamp?.key ?? ABSENT;

const isOther = <T>(entry: Entry<T> | undefined, stamp: FileStamp | null): boolean =>
  entry?.taken !== keyOf(stamp);

const newEntry = <T>(path: string): Entry<T> => ({
  path,
  taken: ABSENT,
  good: null,
  problems: [],
  content: null,
  lines: new Map(),
  seen: null,
});

function forget<T>(entry: Entry<T>): Took {
  Object.assign(entry, newEntry<T>(entry.path));
  return 'gone';
}

function unreadable(file: string, error: unknown): FileProblem {
  const hint = error instanceof RuntimeError ? error.hint : undefined;
  const fix = hint ?? 'Make the file readable.';
  return { file, pointer: '', line: 1, message: toPlainError(error).message, fix };
}
