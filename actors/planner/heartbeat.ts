/**
 * The sign of life that other programs watch: a file whose time of change is never older than a few seconds while the node
 * runs, whether there is work or not. A failure is told once and tried again; the node goes on meanwhile.
 */
import { close, constants, futimes, open } from 'node:fs';
import { promisify } from 'node:util';
import { toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { isoOrNull } from '../../machines/time.ts';
import type { PlannerLog } from './planner-log.ts';

/** Others may wait 5 s for it. */
export const BEAT_MS = 4000;

const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
const [openFd, setTimes, closeFd] = [promisify(open), promisify(futimes), promisify(close)];

export class Heartbeat {
  readonly #file: string;
  readonly #log: PlannerLog;
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> = Promise.resolve();
  #touchedAt: number | null = null;
  #problem: string | null = null;

  constructor(file: string, log: PlannerLog) {
    this.#file = file;
    this.#log = log;
  }

  /** Resolves after the first touch. */
  start(everyMs = BEAT_MS): Promise<void> {
    this.#timer = setInterval(() => this.#beat(), everyMs).unref();
    this.#beat();
    return this.#beating;
  }

  stop(): Promise<void> {
    clearInterval(this.#timer);
    return this.#beating;
  }

  view(): JsonObject {
    const at = isoOrNull(this.#touchedAt);
    return { file: this.#file, at, problem: this.#problem };
  }

  #beat(): void {
    this.#beating = this.#beating.then(() => this.#touch());
  }

  async #touch(): Promise<void> {
    try {
      const fd = await openFd(this.#file, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o644);
      try {
        const now = new Date();
        await setTimes(fd, now, now);
        this.#touchedAt = now.getTime();
      } finally {
        await closeFd(fd);
      }
      if (this.#problem !== null) this.#log.info({ path: this.#file }, 'heartbeat_again');
      this.#problem = null;
    } catch (error) {
      const { message } = toPlainError(error);
      if (this.#problem === null)
        this.#log.warn({ path: this.#file, error: message }, 'heartbeat_failed');
      this.#problem = message;
    }
  }
}
