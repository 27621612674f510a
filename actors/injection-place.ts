/**
 * How far this node has come in the stream of events from outside, and which of them wait for a node that has their mission.
 *
 * The server keeps our place too, but forgets it when we are away for long; then this file says where to go on. It may be
 * behind, for what is read twice is applied once. What waits is on disk before the server hears that it was dealt with.
 */
import { readFileSync } from 'node:fs';
import type { StreamPlace } from '../bus/bus.ts';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';

export interface Waiting {
  seq: number;
  cellId: string;
  /** It was waiting when an earlier life of this node ended, which may have had it in hand. */
  isOld: boolean;
}

interface Stored {
  /** When the stream was made. */
  created: string;
  /** Earlier messages are no concern of this node. */
  from: number;
  /** Everything up to here was dealt with, or waits. */
  seq: number;
  /** ISO-8601 UTC */
  at: string;
  waiting: [seq: number, cellId: string][];
  /** Other nodes that read it, or did. */
  others: string[];
}

/** P8. */
export const MAX_WAITING = 10_000;
const MAX_OTHERS = 256;
const SAVE_MS = 1000;

export class InjectionPlace {
  readonly #file: string;
  #created: string | null = null;
  #at = 0;
  from = 1;
  seq = 0;
  /** In the order of the stream. */
  waiting: Waiting[] = [];
  others: readonly string[] = [];
  /** The stream was found in this life: until then nothing is known of it. */
  isBegun = false;
  #savedAt = Number.NEGATIVE_INFINITY;
  #saving: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /** Throws RuntimeError FILE_INVALID: an unreadable place is no beginning (P6). */
  load(): void {
    const stored = read(this.#file);
    if (stored === undefined) return;
    const { created, from, seq, at, waiting, others } = stored;
    Object.assign(this, { from, seq, others });
    this.#created = created;
    this.#at = Date.parse(at);
    this.waiting = waiting.map(([n, cellId]) => ({ seq: n, cellId, isOld: true }));
  }

  /** Whether a stream was made since we last looked: of an earlier one we know something. */
  isAnew({ created }: Pick<StreamPlace, 'created'>): boolean {
    const isOther = this.#created !== null && this.#created !== created;
    return isOther && Date.parse(created) > this.#at;
  }

  /**
   * The stream is there; answers where to go on. One that was made since we last looked holds nothing that we know; one that
   * was there before is new to us, and what others of its readers have had is not for us to judge.
   */
  async begin(
    { created, lastSeq, readUpTo }: Pick<StreamPlace, 'created' | 'lastSeq' | 'readUpTo'>,
    others: readonly string[],
  ): Promise<number> {
    if (this.#created !== created) {
      const isOurs = readUpTo !== null || this.isAnew({ created }) || others.length === 0;
      this.from = isOurs ? 1 : lastSeq + 1;
      this.seq = this.from - 1;
      this.waiting = [];
      this.#created = created;
    }
    this.seq = Math.max(this.seq, readUpTo ?? 0);
    this.others = others;
    this.isBegun = true;
    await this.save();
    return this.seq + 1;
  }

  /** The list grows only: one that lost the stream finds an empty one. */
  note(others: readonly string[]): void {
    this.others = [...new Set([...this.others, ...others])].slice(0, MAX_OTHERS);
  }

  isWaited(cellId: string): boolean {
    return this.waiting.some((one) => one.cellId === cellId);
  }

  /** Durable when it resolves. False: too many wait already. */
  async wait(seq: number, cellId: string): Promise<boolean> {
    if (this.waiting.some((one) => one.seq === seq)) return true;
    if (this.waiting.length >= MAX_WAITING) return false;
    this.waiting.push({ seq, cellId, isOld: false });
    this.seq = Math.max(this.seq, seq);
    await this.save();
    return true;
  }

  settled(seq: number): Promise<void> {
    this.waiting = this.waiting.filter((one) => one.seq !== seq);
    return this.#saveInTime();
  }

  passed(seq: number): Promise<void> {
    this.seq = Math.max(this.seq, seq);
    return this.#saveInTime();
  }

  /** Up to where everything for a cell was dealt with here. */
  upTo(cellId: string): number {
    const first = this.waiting.find((one) => one.cellId === cellId);
    return first === undefined ? this.seq : first.seq - 1;
  }

  save(): Promise<void> {
    this.#savedAt = performance.now();
    this.#saving = this.#saving.catch(() => undefined).then(() => this.#write());
    return this.#saving;
  }

  async #saveInTime(): Promise<void> {
    if (performance.now() - this.#savedAt >= SAVE_MS) await this.save();
  }

  async #write(): Promise<void> {
    if (this.#created === null) return;
    const stored: Stored = {
      created: this.#created,
      from: this.from,
      seq: this.seq,
      at: new Date().toISOString(),
      waiting: this.waiting.map(({ seq, cellId }) => [seq, cellId]),
      others: [...this.others],
    };
    const options = { sync: true, mode: 0o600, what: 'injected' };
    await writeWhole(this.#file, JSON.stringify(stored), options);
  }
}

function read(file: string): Stored | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const content: unknown = JSON.parse(text);
    if (isStored(content)) return content;
  } catch {
    // said below
  }
  throw new RuntimeError(`${file} does not say how far events from the bus were taken in`, {
    code: 'FILE_INVALID',
    hint: 'Put back a copy, or remove it: then the server is asked, and events that waited for a mission elsewhere are read no more.',
  });
}

const isStored = (content: unknown): content is Stored =>
  isJsonObject(content) &&
  typeof content['created'] === 'string' &&
  typeof content['at'] === 'string' &&
  [content['from'], content['seq']].every((n) => Number.isSafeInteger(n)) &&
  Array.isArray(content['others']) &&
  content['others'].every((node) => typeof node === 'string') &&
  Array.isArray(content['waiting']) &&
  content['waiting'].every(
    (one) => Array.isArray(one) && Number.isSafeInteger(one[0]) && typeof one[1] === 'string',
  );
