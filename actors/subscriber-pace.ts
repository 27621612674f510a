/**
 * How fast events may be handed on to local subscribers. An actor that takes more events from within than its allowance is
 * held, as one in a loop would be (admission.ts); what comes over a bridge is slowed down before that, to half of it. It
 * then waits where it can be counted: in the stream at the server, or in the bounded feed.
 */
import type { Limits } from './admission.ts';

interface Bucket {
  tokens: number;
  /** On the active clock, ms. */
  at: number;
}

const MAX_BUCKETS = 256;

export class SubscriberPace {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor({ burst, ratePerSecond }: Pick<Limits, 'burst' | 'ratePerSecond'>) {
    this.#burst = Math.max(1, burst / 2);
    this.#perMs = ratePerSecond / 2 / 1000;
  }

  /** 0: now, and the event counts. Else how long to wait before asking again, ms. */
  waitMs(addresses: readonly string[], up: number): number {
    if (addresses.length === 0) return 0;
    if (this.#buckets.size > MAX_BUCKETS) this.#buckets.clear();
    const buckets = addresses.map((address) => this.#bucket(address, up));
    const least = Math.min(...buckets.map(({ tokens }) => tokens));
    if (least < 1) return Math.ceil((1 - least) / this.#perMs);
    for (const bucket of buckets) bucket.tokens -= 1;
    return 0;
  }

  #bucket(address: string, up: number): Bucket {
    const bucket = this.#buckets.get(address) ?? { tokens: this.#burst, at: up };
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (up - bucket.at) * this.#perMs);
    bucket.at = up;
    this.#buckets.set(address, bucket);
    return bucket;
  }
}
