/**
 * The router's memory on the actor system: each attempt is a record of `system/llm`, durable before its request leaves.
 *
 * L1 `started` throws when the record is not durable or the attempt may not be made: then nothing is sent.
 * L2 `ended` never fails an answer that is there: what cannot be written now is tried again for a while, and if it never can
 *    be, the attempt stays charged at its worst case.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LLM_ADDRESS } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { freshModels } from '../../machines/llm-models.ts';
import type {
  AttemptEnded,
  AttemptStarted,
  LlmEvent,
  LlmModels,
} from '../../machines/llm-models.ts';
import type { ActorSystem } from '../system.ts';

export interface Ledger {
  /** L1. Throws RuntimeError CONFLICT with `details.why` when breaker or budget forbid it. */
  started(attempt: AttemptStarted): Promise<void>;
  /** L2. */
  ended(attempt: AttemptEnded): Promise<void>;
  /** Breakers are closed; null: all. */
  reset(model: string | null, by: string): Promise<void>;
  /** As of the last commit. */
  state(): LlmModels;
}

export interface LedgerLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** Ends that wait to be written. */
const MAX_WAITING = 256;
const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 2000;
const TRIES = 30;

export class ActorLedger implements Ledger {
  readonly #system: ActorSystem;
  readonly #log: LedgerLog;
  readonly #stop = new AbortController();
  #waiting = 0;

  constructor(system: ActorSystem, log: LedgerLog) {
    this.#system = system;
    this.#log = log;
  }

  async started(attempt: AttemptStarted): Promise<void> {
    if (!this.#system.has(LLM_ADDRESS)) await this.#system.spawn(LLM_ADDRESS, 'llm', {});
    await this.#tell({ type: 'llm.attempt.started', ...attempt });
  }

  async ended(attempt: AttemptEnded): Promise<void> {
    try {
      await this.#tell({ type: 'llm.attempt.ended', ...attempt });
    } catch (error) {
      if (this.#waiting >= MAX_WAITING) return this.#givenUp(attempt, error);
      void this.#later(attempt);
    }
  }

  async reset(model: string | null, by: string): Promise<void> {
    if (!this.#system.has(LLM_ADDRESS)) return;
    await this.#tell({ type: 'llm.reset', model, by });
  }

  state(): LlmModels {
    try {
      return this.#system.read(LLM_ADDRESS).snapshot.context as LlmModels;
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'ACTOR_UNKNOWN')
        return freshModels(this.#system.clock.now().at);
      throw error;
    }
  }

  close(): void {
    this.#stop.abort();
  }

  async #later(attempt: AttemptEnded): Promise<void> {
    this.#waiting += 1;
    let last: unknown;
    let isWritten = false;
    for (let n = 0; n < TRIES && !isWritten && !this.#stop.signal.aborted; n += 1) {
      const ms = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** n);
      await sleep(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
      if (this.#stop.signal.aborted) break;
      try {
        await this.#tell({ type: 'llm.attempt.ended', ...attempt });
        isWritten = true;
      } catch (error) {
        last = error;
      }
    }
    this.#waiting -= 1;
    if (!isWritten) this.#givenUp(attempt, last);
  }

  #givenUp({ callId, attempt, model }: AttemptEnded, error: unknown): void {
    const fields = { callId, attempt, model, error: String(error) };
    this.#log.warn(fields, 'the end of an LLM attempt is not recorded: it stays charged in full');
  }

  async #tell(event: LlmEvent): Promise<void> {
    await this.#system.send(LLM_ADDRESS, event as unknown as { type: string } & JsonObject);
  }
}
