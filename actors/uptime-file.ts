/**
 * What a killed node leaves of its last moments: how long it was up, for timers that count running time, and how far its
 * journal had come, so that a start notices when the journal's end is missing. Rewritten every few seconds, at each new
 * segment and at a clean stop; not synced, for a process that is killed loses nothing of it.
 */
import { readFileSync } from 'node:fs';
import { writeWhole } from '../cells/durable.ts';
import type { Journal } from '../cells/journal.ts';
import type { JournalKnown } from '../cells/journal-reader.ts';
import type { Instant, NodeClock } from './clock.ts';
import type { SystemLog } from './system.ts';

interface Content extends Instant {
  /** Of the journal when this was written: the last committed record, the segment it was in, and whether that was all. */
  lsn?: number;
  segment?: number;
  closed?: boolean;
  /** It begins at this lsn or before: what was older may have been dropped. */
  begin?: number;
}

/** undefined: absent before the first life's first write, or damaged; then the journal's own times are good enough. */
export function readUptime(
  path: string,
): (Instant & { journal: JournalKnown; begin: number }) | undefined {
  try {
    const { at, up, lsn, segment, closed, begin } = JSON.parse(
      readFileSync(path, 'utf8'),
    ) as Content;
    const journal = { lsn: count(lsn), segment: count(segment), isAll: closed === true };
    return { at: count(at), up: count(up), begin: count(begin), journal };
  } catch {
    return undefined;
  }
}

const count = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;

export class UptimeFile {
  readonly #path: string;
  readonly #clock: NodeClock;
  readonly #journal: Journal;
  readonly #log: SystemLog;
  #writing: Promise<void> = Promise.resolve();
  /** See Content. Written before anything is dropped. */
  begin: number;

  constructor(
    path: string,
    parts: { clock: NodeClock; journal: Journal; log: SystemLog; begin: number },
  ) {
    this.#path = path;
    this.begin = Math.max(1, parts.begin);
    this.#clock = parts.clock;
    this.#journal = parts.journal;
    this.#log = parts.log;
  }

  /** One after the other: what is there last is the newest. Never rejects. */
  write({ closed = false } = {}): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const { committedLsn: lsn, activeNumber: segment } = this.#journal;
      const { begin } = this;
      const content: Content = { ...this.#clock.now(), lsn, segment, closed, begin };
      const text = `${JSON.stringify(content)}\n`;
      try {
        await writeWhole(this.#path, text, { sync: false, what: 'uptime' });
      } catch (error) {
        this.#log.warn({ error: String(error) }, 'uptime not written');
      }
    });
    return this.#writing;
  }
}
