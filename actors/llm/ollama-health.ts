/**
 * Whether the Ollama server is there and which models it has, asked at most every ten seconds: a server that is down costs
 * one short question now and then, and not a timeout for each call. While it was up a moment ago nobody waits for the
 * answer.
 */
import { withSignal } from '../with-signal.ts';
import { connectionReason } from './provider.ts';
import type { Readiness } from './provider.ts';
import { ollamaFetch } from './ollama-wire.ts';

const FRESH_MS = 10_000;
/** A server that was up so long ago is believed to be while it is asked again. */
const BELIEVED_MS = 300_000;
const ASK_MS = 1500;

interface Known {
  at: number;
  since: number;
  /** null: down. `unsaid`: the server does not say which models it has; `late`: it said nothing in time. */
  models: ReadonlySet<string> | 'unsaid' | 'late' | null;
  reason: string;
}

export class OllamaHealth {
  readonly #url: string;
  readonly #now: () => number;
  #known: Known | undefined;
  #asking: Promise<Known> | undefined;

  constructor(url: string, now: () => number) {
    this.#url = url;
    this.#now = now;
  }

  async ready(model: string, signal: AbortSignal): Promise<Readiness> {
    const age = this.#known === undefined ? Infinity : this.#now() - this.#known.at;
    const isUp = this.#known?.models !== null;
    if (this.#known && age < FRESH_MS) return readinessOf(this.#known, model);
    const asked = this.#ask();
    if (this.#known && isUp && age < BELIEVED_MS && has(this.#known, model))
      return readinessOf(this.#known, model);
    return readinessOf(await withSignal(signal, asked), model);
  }

  known(model: string): Readiness & { since: number | null } {
    if (this.#known === undefined || this.#now() - this.#known.at > FRESH_MS) void this.#ask();
    if (this.#known === undefined) return { state: 'unknown', since: null };
    return { ...readinessOf(this.#known, model), since: this.#known.since };
  }

  /** What was known is not believed any more: a request just failed. */
  doubt(): void {
    if (this.#known) this.#known = { ...this.#known, at: -Infinity };
    if (this.#known?.models !== null) void this.#ask();
  }

  #ask(): Promise<Known> {
    this.#asking ??= this.#look().then((found) => {
      const isSame = this.#known && (this.#known.models === null) === (found.models === null);
      this.#known = isSame && this.#known ? { ...found, since: this.#known.since } : found;
      this.#asking = undefined;
      return this.#known;
    });
    return this.#asking;
  }

  async #look(): Promise<Known> {
    const at = this.#now();
    let signal: AbortSignal | undefined;
    try {
      const { Ollama } = await import('ollama'); // most nodes need none of it
      signal = AbortSignal.timeout(ASK_MS);
      const client = new Ollama({ host: this.#url, fetch: ollamaFetch({ signal }) });
      const [, list] = await Promise.all([client.version(), client.list().catch(() => null)]);
      const names = list?.models?.map(({ name }) => name);
      return { at, since: at, models: names === undefined ? 'unsaid' : new Set(names), reason: '' };
    } catch (error) {
      if (signal?.aborted) return { at, since: at, models: 'late', reason: '' };
      const reason = `${this.#url}: ${connectionReason(error)}`;
      return { at, since: at, models: null, reason };
    }
  }
}

function has({ models }: Known, model: string): boolean {
  if (models === null || models === 'late') return false;
  return models === 'unsaid' || models.has(model) || models.has(`${model}:latest`);
}

function readinessOf(known: Known, model: string): Readiness {
  if (known.models === null)
    return { state: 'down', reason: known.reason, hint: 'Start it: ollama serve' };
  if (known.models === 'late') return { state: 'unknown' };
  if (has(known, model)) return { state: 'up' };
  const hint = `ollama pull ${model}`;
  return { state: 'down', reason: `the server has no model ${model}: ${hint}`, hint };
}
