/**
 * What should be, as the inventory says it at this moment. What cannot be read or understood leaves in force what held
 * before (P6), and stands in the status and, once, in the log.
 *
 * D1 A folder that cannot be read changes nothing. An inventory that was never read says nothing: no look is made with it.
 * D2 A host whose file was never understood is `unread`: nobody knows what should run there, and what stands there goes on standing.
 *    A topology that was never understood may say who is not to be looked after: no look is made before it is mended.
 * D3 An inventory that suddenly names no host at all is believed only when three looks in a row, a second apart, find it so: a
 *    volume that is not mounted is an empty folder.
 */
import { join } from 'node:path';
import type { FileProblem } from '../../cells/inventory-files.ts';
import { Fleet } from '../../machines/desired-fleet.ts';
import type { InventoryProblem } from '../../machines/desired.ts';
import { toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { targetKey } from '../../machines/supervision.ts';
import type { Desired, Target } from '../../machines/supervision.ts';
import { isoOrNull } from '../../machines/time.ts';
import { watchFolders } from './folder-watch.ts';
import type { InventoryReader } from './inventory-reader.ts';
import { TellOnce } from './source-log.ts';
import type { SourceLog } from './source-log.ts';

export interface DesiredSourceOptions {
  log: SourceLog;
  /** What else hosts are called (`NODE_ALIAS_MAP`), to their names. */
  aliases?: ReadonlyMap<string, string>;
  /** Something was desired when the last node stopped: D3 holds from the first look on. */
  hadHosts?: boolean;
  /** A file is taken when it rested for so long, ms. Default 500. */
  settleMs?: number;
  /** Between two questions whether a file changed, ms. Default 5000. */
  pollMs?: number;
}

export type DesiredLook =
  | {
      ok: true;
      value: Desired;
      /** Those of which something else is desired than at the last look that was ok. Sorted. */
      changedHosts: readonly string[];
      /** D2. Sorted. */
      unread: readonly string[];
    }
  | { ok: false; reason: string };

const EMPTY_LOOKS = 3;
const EMPTY_PAUSE_MS = 1000;
const MAX_SHOWN = 20;

export class DesiredSource {
  readonly #folder: string;
  readonly #options: DesiredSourceOptions;
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #fleet = new Fleet();
  readonly #told: TellOnce;
  #reader: InventoryReader | undefined;
  #value: Desired | null = null;
  /** Hosts of which something else is desired than in `#value`. */
  readonly #changed = new Set<string>();
  #problems: readonly FileProblem[] = [];
  /** D1. */
  #folderProblem: string | null = null;
  /** D3. */
  #empty: { looks: number; countedAt: number } | null = null;
  #hasHadHosts: boolean;
  #lookedAt: number | null = null;
  #looking: Promise<DesiredLook> | undefined;

  constructor(folder: string, options: DesiredSourceOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#aliases = options.aliases ?? new Map();
    this.#hasHadHosts = options.hadHosts ?? false;
    this.#told = new TellOnce(options.log, {
      bad: 'inventory: not taken; what it said last holds',
      mended: 'inventory: mended',
    });
  }

  /** `now`: epoch ms. Waits for files that are being written, for a second at most. One at a time. */
  look(now: number): Promise<DesiredLook> {
    this.#looking ??= this.#look(now).finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  /** Calls when a look would find something new. */
  watch(onChange: () => Promise<void> | void, signal: AbortSignal): void {
    const { pollMs = 5000, log } = this.#options;
    const folders = [this.#folder, join(this.#folder, 'hosts')];
    watchFolders({ folders, pollMs, isNews: () => this.#isNews(), onChange, log }, signal);
  }

  /** Keys of those that depend on it, by whichever of its names; undefined: nobody knows. */
  dependantsOf({ host, service }: Target): readonly string[] | undefined {
    const value = this.#value;
    if (value === null) return undefined;
    const name = value.aliases.get(host) ?? host;
    return value.dependants.get(targetKey({ host: name, service })) ?? [];
  }

  view(): JsonObject {
    const { hosts } = this.#value ?? { hosts: new Map() };
    const services = [...hosts.values()].reduce((sum, host) => sum + host.services.size, 0);
    return {
      path: this.#folder,
      looked_at: isoOrNull(this.#lookedAt),
      hosts: hosts.size,
      services,
      problem: this.#folderProblem ?? this.#emptyProblem(),
      problems: this.#problems.slice(0, MAX_SHOWN).map(shown),
      problem_count: this.#problems.length,
      unread: (this.#reader?.unread() ?? []).slice(0, MAX_SHOWN),
    };
  }

  async #look(now: number): Promise<DesiredLook> {
    this.#lookedAt = now;
    await this.#read();
    const reader = this.#reader;
    if (reader === undefined) return { ok: false, reason: this.#folderProblem ?? 'not read' };
    const changedHosts = this.#folderProblem === null ? this.#assemble(reader, now) : [];
    this.#tell();
    if (this.#value === null) return { ok: false, reason: this.#why() };
    return { ok: true, value: this.#value, changedHosts, unread: reader.unread() };
  }

  async #read(): Promise<void> {
    try {
      this.#reader ??= await newReader(this.#folder, this.#options.settleMs ?? 500);
      await this.#reader.look();
      this.#folderProblem = null;
    } catch (error) {
      this.#folderProblem = `${this.#folder}: ${toPlainError(error).message}`; // D1
    }
  }

  /** Returns the hosts of which something else is desired now. Sorted. */
  #assemble(reader: InventoryReader, now: number): string[] {
    const { topology, hosts } = reader;
    const parts = { topology, hosts, aliases: this.#aliases };
    const { desired, problems, changed } = this.#fleet.update(parts);
    for (const host of changed) this.#changed.add(host);
    this.#problems = [...reader.problems(), ...problems.map(placed(reader))].sort(byPlace);
    if (reader.isTopologyUnread || !this.#isBelieved(desired, now)) return []; // D2, D3
    this.#value = desired;
    this.#hasHadHosts = desired.hosts.size > 0;
    const changedHosts = [...this.#changed].sort();
    this.#changed.clear();
    return changedHosts;
  }

  /** D3. */
  #isBelieved(desired: Desired, now: number): boolean {
    if (desired.hosts.size > 0 || !this.#hasHadHosts) {
      this.#empty = null;
      return true;
    }
    this.#empty ??= { looks: 0, countedAt: -Infinity };
    if (Math.abs(now - this.#empty.countedAt) >= EMPTY_PAUSE_MS)
      this.#empty = { looks: this.#empty.looks + 1, countedAt: now };
    if (this.#empty.looks < EMPTY_LOOKS) return false;
    this.#empty = null;
    this.#options.log.warn({ path: this.#folder }, 'inventory: it names no host any more');
    return true;
  }

  #emptyProblem(): string | null {
    if (this.#empty === null) return null;
    return `it names no host any more; seen so by ${this.#empty.looks} of ${EMPTY_LOOKS} looks, until then what it said last holds`;
  }

  #why(): string {
    const [first] = this.#problems;
    return (
      this.#folderProblem ??
      this.#emptyProblem() ??
      (first === undefined ? 'the inventory was not read' : problemText(first))
    );
  }

  #tell(): void {
    const whole =
      this.#folderProblem ?? (this.#empty === null ? null : 'it names no host any more');
    this.#told.update([
      ...(whole === null ? [] : [{ id: whole, fields: { path: this.#folder, problem: whole } }]),
      ...this.#problems.map((problem) => ({ id: problemText(problem), fields: shown(problem) })),
    ]);
  }

  #isNews(): boolean {
    if (this.#reader === undefined || this.#empty !== null) return true;
    try {
      return this.#reader.isNews() || this.#folderProblem !== null;
    } catch (error) {
      return this.#folderProblem !== `${this.#folder}: ${toPlainError(error).message}`;
    }
  }
}

/** The YAML parser comes with it; most programs that know of a source never look. */
async function newReader(folder: string, settleMs: number): Promise<InventoryReader> {
  const { InventoryReader: Reader } = await import('./inventory-reader.ts');
  return new Reader(folder, settleMs);
}

const placed =
  (reader: InventoryReader) =>
  (problem: InventoryProblem): FileProblem => ({
    ...problem,
    line: reader.lineOf(problem.file, problem.pointer),
  });

/** `hosts/vps/services.yaml:4 /services/web/monitor: monitor must be true or false, not the text 'no'` */
export const problemText = ({ file, line, pointer, message }: FileProblem): string =>
  `${file}:${line}${pointer === '' ? '' : ` ${pointer}`}: ${message}`;

const shown = ({ file, line, pointer, message, fix }: FileProblem): JsonObject => ({
  file,
  line,
  pointer,
  problem: message,
  fix,
});

const byPlace = (a: FileProblem, b: FileProblem): number =>
  a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1;
