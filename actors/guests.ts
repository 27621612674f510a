/** Ids that no mission has and that registered themselves by a beat: a bounded number, kept over restarts. */
import { RuntimeError } from '../machines/errors.ts';
import type { GuestFile } from './guest-file.ts';
import { freshSigns } from './signs-of-life.ts';
import type { Signs } from './signs-of-life.ts';

export class Guests {
  readonly #file: GuestFile;
  readonly #max: number;
  readonly #guests = new Map<string, Signs>();

  constructor(file: GuestFile, max: number) {
    this.#file = file;
    this.#max = max;
  }

  get(agentId: string): Signs | undefined {
    return this.#guests.get(agentId);
  }

  all(): Iterable<[string, Signs]> {
    return this.#guests;
  }

  /** From the file. */
  restore(agentId: string, signs: Signs): void {
    if (this.#guests.size < this.#max) this.#guests.set(agentId, signs);
  }

  /** For an id that is not known yet; it counts once it is registered. Throws RuntimeError BUSY. */
  newcomer(since: number): Signs {
    if (this.#guests.size < this.#max) return freshSigns(since);
    throw new RuntimeError(`${this.#max} agents are registered already`, {
      code: 'BUSY',
      retryable: true,
      hint: 'Unregister those that are gone: POST /verbs/agent.unregister {"agent": "<id>"}.',
    });
  }

  register(agentId: string, signs: Signs): void {
    if (this.#guests.has(agentId)) return;
    this.#guests.set(agentId, signs);
    this.#save();
  }

  /** What was known of it; undefined when there was no such guest. */
  remove(agentId: string): Signs | undefined {
    const signs = this.#guests.get(agentId);
    if (this.#guests.delete(agentId)) this.#save();
    return signs;
  }

  #save(): void {
    this.#file.save(() =>
      Array.from(this.#guests, ([agentId, { metadata }]) => [agentId, metadata]),
    );
  }
}
