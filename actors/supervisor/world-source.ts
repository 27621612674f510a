/**
 * What is, as other programs' world files say it at this moment. A look at files that cannot be read, or that say less than
 * anybody can believe, is no look: what was known holds, and the status says why and since when (P6).
 *
 * W1 What was emptied or removed is not believed at once: an observer that starts anew writes an empty file first. It is, when
 *    it stays so; an emptied services.json only after ten minutes, for it says that all services are missing.
 * W2 A world that did not change costs four stats, one that cannot be read as well.
 * W3 A file that was never there is no evidence: of hosts nobody knows then, of deployments and incidents there are none.
 */
import { NO_FILES, WORLD_FILES, readWorld, worldState } from '../../cells/world-files.ts';
import type { WorldFileName, WorldReading } from '../../cells/world-files.ts';
import { isTransient } from '../../cells/whole-file.ts';
import { toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Observed } from '../../machines/supervision.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import { changedHosts, observeWorld } from '../../machines/world.ts';
import type { WorldContents } from '../../machines/world.ts';
import { watchFolders } from './folder-watch.ts';
import { TellOnce } from './source-log.ts';
import type { SourceLog } from './source-log.ts';

export interface WorldSourceOptions {
  log: SourceLog;
  /** Between two questions whether a file changed, ms. Default 1000. */
  pollMs?: number;
}

export type WorldLook =
  | {
      ok: true;
      value: Observed;
      /** Those of which something else was observed than at the last look that was ok. Sorted. */
      changedHosts: readonly string[];
    }
  | {
      ok: false;
      reason: string;
      /** Of the first look that was skipped, epoch ms. */
      since: number;
    };

/** W1. */
const BELIEVED_LOOKS = 3;
const BELIEVED_AFTER_MS: Record<WorldFileName, number> = {
  nodes: 60_000,
  services: 600_000,
  deployments: 60_000,
  incidents: 60_000,
};

interface Doubt {
  what: 'is empty' | 'is gone';
  looks: number;
  since: number;
}

const NOBODY: ReadonlyMap<string, string> = new Map();

export class WorldSource {
  readonly #folder: string;
  readonly #options: WorldSourceOptions;
  readonly #told: TellOnce;
  /** Of the files as they were read last, believed or not. */
  #reading: WorldReading | undefined;
  #believed: WorldReading | undefined;
  /** What `#value` was made of. */
  #observed: WorldReading | undefined;
  #value: Observed | null = null;
  #aliases = NOBODY;
  #doubts: ReadonlyMap<WorldFileName, Doubt> = new Map();
  /** Of the files at the last look, when they can be told from any later state. */
  #seen: string | null = null;
  #skipped: { reason: string; since: number } | null = null;
  #lookedAt: number | null = null;

  constructor(folder: string, options: WorldSourceOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#told = new TellOnce(options.log, {
      bad: 'world: look skipped; what was known holds',
      mended: 'world: can be read again',
    });
  }

  /** `now`: epoch ms. `aliases`: as in `Desired`. */
  look(now: number, aliases: ReadonlyMap<string, string> = NOBODY): WorldLook {
    this.#lookedAt = now;
    const before = this.#value;
    const reason = this.#read(now);
    this.#skipped = reason === null ? null : { reason, since: this.#skipped?.since ?? now };
    this.#tell();
    if (this.#skipped !== null) return { ok: false, ...this.#skipped };
    const value = this.#observe(aliases);
    return {
      ok: true,
      value,
      changedHosts: before === value ? [] : changedHosts(before ?? NOTHING, value),
    };
  }

  /** Calls when a look would find something new. */
  watch(onChange: () => Promise<void> | void, signal: AbortSignal): void {
    const { pollMs = 1000, log } = this.#options;
    const isNews = (): boolean => this.#isNews();
    watchFolders({ folders: [this.#folder], pollMs, isNews, onChange, log }, signal);
  }

  view(): JsonObject {
    return {
      path: this.#folder,
      looked_at: isoOrNull(this.#lookedAt),
      written_at: isoOrNull(this.#value?.at ?? null),
      hosts: this.#value?.hosts.size ?? 0,
      problem: this.#skipped?.reason ?? null,
      problem_since: isoOrNull(this.#skipped?.since ?? null),
      entries: Object.fromEntries(
        WORLD_FILES.map((name) => [name, this.#believed?.[name]?.file.entries ?? null]),
      ),
    };
  }

  /** Null, or why the files cannot be gone by. */
  #read(now: number): string | null {
    try {
      const { key, isSettled } = worldState(this.#folder);
      if (key === this.#seen && this.#doubts.size === 0) return this.#skipped?.reason ?? null; // W2
      this.#seen = isSettled ? key : null;
      this.#reading = readWorld(this.#folder, this.#reading);
    } catch (error) {
      if (isTransient(error)) this.#seen = null;
      return toPlainError(error).message;
    }
    this.#doubts = this.#doubtsAbout(this.#reading, now);
    for (const [name, doubt] of this.#doubts) return doubtText(name, doubt);
    this.#believed = this.#reading;
    return null;
  }

  /** W1. */
  #doubtsAbout(reading: WorldReading, now: number): Map<WorldFileName, Doubt> {
    const doubts = new Map<WorldFileName, Doubt>();
    for (const name of WORLD_FILES) {
      if ((this.#believed?.[name]?.file.entries ?? 0) === 0) continue;
      const file = reading[name]?.file;
      if (file !== undefined && file.entries > 0) continue;
      const { looks, since } = this.#doubts.get(name) ?? { looks: 0, since: now };
      const what = file === undefined ? 'is gone' : 'is empty';
      if (looks + 1 < BELIEVED_LOOKS || now - since < BELIEVED_AFTER_MS[name])
        doubts.set(name, { what, looks: looks + 1, since });
      else this.#options.log.warn({ file: `${name}.json` }, `world: a file ${what}, and stays so`);
    }
    return doubts;
  }

  /** The very same value when nothing is other than before. */
  #observe(aliases: ReadonlyMap<string, string>): Observed {
    const files = this.#believed ?? NO_FILES;
    if (this.#value !== null && files === this.#observed && isSameMap(aliases, this.#aliases))
      return this.#value;
    this.#observed = files;
    this.#aliases = aliases;
    this.#value = observeWorld(contentsOf(files), aliases, this.#value ?? undefined);
    return this.#value;
  }

  #tell(): void {
    const { reason } = this.#skipped ?? {};
    const fields = { path: this.#folder, problem: reason ?? null };
    this.#told.update(reason === undefined ? [] : [{ id: reason, fields }]);
  }

  #isNews(): boolean {
    if (this.#seen === null || this.#doubts.size > 0) return true;
    try {
      return worldState(this.#folder).key !== this.#seen;
    } catch {
      return true; // the look says what is wrong
    }
  }
}

const NOTHING: Observed = { hosts: new Map(), at: null };

function contentsOf(reading: WorldReading): WorldContents {
  return Object.fromEntries(WORLD_FILES.map((name) => [name, reading[name]?.file ?? null]));
}

const doubtText = (name: WorldFileName, { what, since }: Doubt): string =>
  `${name}.json ${what}, and was not: believed when it stays so until ${isoFromEpoch(since + BELIEVED_AFTER_MS[name])}`;

const isSameMap = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a === b || (a.size === b.size && [...a].every(([name, host]) => b.get(name) === host));
