/**
 * Messages for Redis channels, for whoever listens there now: pub/sub keeps nothing, so neither do we for long.
 *
 * P1 Nobody waits for it: what is published while Redis is away waits up to a bound, and then the oldest is dropped and counted.
 * P2 A connection of its own: one that subscribes may not publish, and one that waits for a stream is busy.
 */
import { reconnecting } from './reconnect.ts';
import type { Backoff } from './reconnect.ts';
import { connectRedis } from './redis.ts';
import type { RedisConnection, RedisOptions } from './redis.ts';

export interface RedisPublisherOptions extends RedisOptions {
  backoff?: Backoff;
}

export interface PublisherView {
  published: number;
  dropped: number;
  waiting: number;
}

const MAX_WAITING = 1000;
const FAREWELL_MS = 500;

export class RedisPublisher {
  readonly #options: RedisPublisherOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #waiting: { channel: string; text: string }[] = [];
  #wake: () => void = () => {};
  #published = 0;
  #dropped = 0;

  constructor(options: RedisPublisherOptions) {
    this.#options = options;
    const { backoff } = options;
    const how = { signal: this.#stop.signal, ...(backoff && { backoff }) };
    this.#running = reconnecting(() => this.#session(), how);
  }

  publish(channel: string, text: string): void {
    if (this.#stop.signal.aborted) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#waiting.shift(); // P1
      this.#dropped += 1;
    }
    this.#waiting.push({ channel, text });
    this.#wake();
  }

  view(): PublisherView {
    const [published, dropped, waiting] = [this.#published, this.#dropped, this.#waiting.length];
    return { published, dropped, waiting };
  }

  /** What waits goes out if that takes no time. */
  async close(): Promise<void> {
    const deadline = performance.now() + FAREWELL_MS;
    while (this.#waiting.length > 0 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    this.#stop.abort();
    this.#wake();
    await this.#running;
  }

  /** Until the connection is no more; the bridge's status says why (it has the same server). */
  async #session(): Promise<void> {
    let connection: RedisConnection;
    try {
      connection = await connectRedis(this.#options);
    } catch {
      return; // tried again; what waits is counted
    }
    const { signal } = this.#stop;
    const over = new AbortController();
    void connection.ended.then(() => {
      over.abort();
      this.#wake();
    });
    while (!over.signal.aborted && !signal.aborted) {
      const next = this.#waiting[0];
      if (next === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if (!(await this.#send(connection, next))) break;
    }
    connection.close();
  }

  async #send(connection: RedisConnection, message: { channel: string; text: string }) {
    try {
      await connection.send(['PUBLISH', message.channel, message.text]);
    } catch {
      return false; // it waits for the next connection
    }
    if (this.#waiting[0] === message) this.#waiting.shift();
    this.#published += 1;
    return true;
  }
}
