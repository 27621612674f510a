/**
 * `<missions>/.lazarus/revivals/ledger.jsonl`: one line for each outcome of a revival request, for people and their tools.
 *
 * G1 A line is durable when `append` resolves. Lines that come together share one write and one fdatasync, so that ten
 *    thousand failures at once do not mean ten thousand syncs.
 * G2 A line carries the key of the effect that wrote it. One that may have been written before is looked for first.
 * G3 Beyond 16 MiB the ledger becomes `ledger.jsonl.1`, in place of the one before.
 */
import { mkdir, open, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { faultPoint } from '../cells/durable.ts';
import type { JsonObject } from '../machines/json.ts';
import { Histogram } from '../machines/metrics.ts';

/** How far back a line of ours is looked for: it is among the newest, or was never written. */
const LOOK_BACK_BYTES = 1 << 20;
const MAX_LEDGER_BYTES = 16 << 20;

/** Seconds. */
const REVIVAL_BOUNDS = [1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300];

interface Waiting {
  key: string;
  entry: JsonObject;
  line: string;
  mayStand: boolean;
  resolve: () => void;
  reject: (error: unknown) => void;
}

export class RevivalLedger {
  readonly #file: string;
  /** Lines written in this life, by outcome, and how long those took that came back, in seconds. */
  readonly outcomes = new Map<string, number>();
  readonly durations = new Histogram(REVIVAL_BOUNDS);
  #waiting: Waiting[] = [];
  #writing = false;

  constructor(file: string) {
    this.#file = file;
  }

  /** G1. `mayStand`: an earlier life may have written it. */
  append(key: string, entry: JsonObject, mayStand: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const line = `${JSON.stringify({ ...entry, key })}\n`;
      this.#waiting.push({ key, entry, line, mayStand, resolve, reject });
      if (!this.#writing) void this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = false;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true });
    const handle = await open(this.#file, 'a+', 0o644);
    try {
      const { size } = await handle.stat();
      const before = await tailOf(
        handle,
        size,
        batch.some(({ mayStand }) => mayStand),
      );
      const missing = batch.filter(
        ({ key, mayStand }) => !(mayStand && before.includes(`"key":${JSON.stringify(key)}}\n`)), // G2
      );
      if (missing.length === 0) return;
      const torn = before !== '' && !before.endsWith('\n') ? '\n' : ''; // a line cut off by a crash stays a line of its own
      faultPoint('ledger.before-write');
      await handle.appendFile(torn + missing.map(({ line }) => line).join(''));
      faultPoint('ledger.after-write');
      await handle.datasync();
      faultPoint('ledger.after-sync');
      for (const { entry } of missing) this.#count(entry);
      if (size > MAX_LEDGER_BYTES) await rename(this.#file, `${this.#file}.1`); // G3
    } finally {
      await handle.close();
    }
  }

  #count({ outcome, took_ms: tookMs }: JsonObject): void {
    if (typeof outcome !== 'string') return;
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    if (typeof tookMs === 'number') this.durations.observe(tookMs / 1000);
  }
}

/** The last byte, or as much as a line of ours may stand in. */
async function tailOf(handle: FileHandle, size: number, isWanted: boolean): Promise<string> {
  const length = Math.min(size, isWanted ? LOOK_BACK_BYTES : 1);
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, size - length);
  return bytes.toString('utf8', 0, bytesRead);
}
