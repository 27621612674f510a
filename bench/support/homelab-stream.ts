/** A Redis stream of homelab events as the bridge's rows read it, and the way a bare loop reads and acknowledges it. */
import { closeSync, fdatasync, openSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { connectRedis } from '../../bus/redis.ts';
import { flood } from '../../test/support/redis-process.ts';
import type { RedisServer } from '../../test/support/redis-process.ts';
import type { Count } from '../harness.ts';

export const GROUP = 'lazarus';
const AT_ONCE = 512;
const sync = promisify(fdatasync);

export const eventText = (n: number): string =>
  JSON.stringify({
    type: 'service_unhealthy',
    node: `host${n % 5}`,
    service: `service${n % 40}`,
    severity: 'error',
    timestamp: 1_764_000_000 + n,
    payload: { status: 'exited', restarts: n, detail: 'x'.repeat(40) },
  });

/** Streams of some 200 bytes an entry with the whole event in one field, each with a group that has read none. */
export function filledStreams(redis: RedisServer, count: number): () => Promise<string> {
  let turn = 0;
  return async () => {
    const stream = `events:${(turn += 1)}`;
    await flood(redis, [
      ['XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM'],
      ...Array.from({ length: count }, (_, n) => ['XADD', stream, '*', 'data', eventText(n)]),
    ]);
    return stream;
  };
}

/** One line an entry, with its id, appended and synced; then `handOn`, then XACK. */
export class BareLoop {
  readonly #redis: RedisServer;
  readonly #fd: number;
  readonly #handOn: (entries: { id: string; text: string }[], stream: string) => Promise<void>;

  constructor(
    redis: RedisServer,
    file: string,
    handOn: (entries: { id: string; text: string }[], stream: string) => Promise<void>,
  ) {
    this.#redis = redis;
    this.#fd = openSync(file, 'a');
    this.#handOn = handOn;
  }

  async run(stream: string, count: number): Promise<Count> {
    const startedAt = performance.now();
    const connection = await connectRedis({ url: this.#redis.url, name: 'bare' });
    const read = ['XREADGROUP', 'GROUP', GROUP, 'bare', 'COUNT', String(AT_ONCE)];
    for (let done = 0; done < count;) {
      const reply = await connection.send([...read, 'STREAMS', stream, '>']);
      const [[, found]] = reply as [[string, [Buffer, Buffer[]][]]];
      const entries = found.map(([key, [, data]]) => {
        const id = key.toString('latin1');
        return { id, text: `{"id":"${id}","e":${String(data)}}` };
      });
      writeSync(this.#fd, entries.map(({ text }) => `${text}\n`).join(''));
      await sync(this.#fd);
      await this.#handOn(entries, stream);
      await connection.send(['XACK', stream, GROUP, ...entries.map(({ id }) => id)]);
      done += entries.length;
    }
    const ms = performance.now() - startedAt;
    connection.close();
    return { count, ms };
  }

  close(): void {
    closeSync(this.#fd);
  }
}
