/**
 * The two connections of the Redis bridge: what is published on the channels, and what is added to the stream, on its way
 * to the bridge's actor.
 *
 * B1 The socket of the channels is drained at once, whatever the journal does; what waits is bounded (bus/channel-feed.ts).
 * B2 Redis away, refusing or silent is no fault of the node (P10): the status says so, and it is tried again for ever.
 * B3 Every subscription but the very first says what was missed since somebody last listened, in this life or before.
 * B4 The channels and the stream have a connection each, and each its own troubles.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ChannelFeed } from '../bus/channel-feed.ts';
import type { FeedLimits } from '../bus/channel-feed.ts';
import { reconnecting } from '../bus/reconnect.ts';
import type { Backoff } from '../bus/reconnect.ts';
import { connectRedis } from '../bus/redis.ts';
import type { RedisConnection, RedisOptions } from '../bus/redis.ts';
import { readStream } from '../bus/redis-stream.ts';
import type { StreamOptions } from '../bus/redis-stream.ts';
import type { JsonObject } from '../machines/json.ts';
import { isoFromEpoch } from '../machines/time.ts';
import type { BridgeActor } from './bridge-actor.ts';
import { ChannelIntake } from './bridge-channels.ts';
import { keptOf } from './bridge-messages.ts';
import { StreamIntake } from './bridge-stream.ts';
import { OrderedSender } from './ordered-sender.ts';
import type { Source } from './ordered-sender.ts';

export interface RedisBridgeOptions {
  url: string;
  /** The URL as it may be shown. */
  where: string;
  nodeId: string;
  channels: readonly string[];
  stream: Pick<StreamOptions, 'stream' | 'group' | 'pollMs' | 'idleMs'>;
  limits?: FeedLimits;
  backoff?: Backoff;
  connection?: Omit<RedisOptions, 'url' | 'name'>;
}

/** Nobody listened since then; epoch ms. */
export interface Missed {
  since: number;
  reason: string;
}

/** Together they stay below the soft bound of an actor's door, so that neither source meets it because of the other. */
export const WINDOWS = { channels: 256, stream: 640 };
/** What is under way at a stop may take so long, ms. */
const STOP_MS = 2000;

class Part {
  state: 'up' | 'down' | 'absent' = 'down';
  since = Date.now();
  reason: string | null = null;
  /** Why the journal takes nothing of it at present. */
  trouble: string | null = null;

  view(): JsonObject {
    const { state, since, reason, trouble } = this;
    const why = trouble === null ? reason : `${reason === null ? '' : `${reason}; `}${trouble}`;
    return { state, since: isoFromEpoch(since), ...(why === null ? {} : { reason: why }) };
  }
}

export class RedisBridge {
  readonly #actor: BridgeActor;
  readonly #options: RedisBridgeOptions;
  readonly #stop = new AbortController();
  readonly #feed: ChannelFeed;
  readonly #channelSender: OrderedSender;
  readonly #streamSender: OrderedSender;
  readonly #streamIntake: StreamIntake;
  readonly #channels = new Part();
  readonly #stream = new Part();
  #missed: Missed | null;
  #isWaking = false;
  #running: Promise<unknown> = Promise.resolve();

  /** `missed`: by earlier lives; null: nobody ever listened. */
  constructor(actor: BridgeActor, options: RedisBridgeOptions, missed: Missed | null) {
    this.#actor = actor;
    this.#options = options;
    this.#missed = missed;
    this.#feed = new ChannelFeed(options.limits);
    const { system, address } = actor;
    const { stream } = options.stream;
    this.#streamIntake = new StreamIntake(actor, stream, () => this.#streamSender.wake());
    const sender = (source: Source, part: Part, window: number): OrderedSender =>
      new OrderedSender({
        system,
        address,
        source,
        window,
        onTrouble: (trouble) => void (part.trouble = trouble ?? null),
      });
    const intake = new ChannelIntake(actor, this.#feed, options.where);
    this.#channelSender = sender(intake, this.#channels, WINDOWS.channels);
    this.#streamSender = sender(this.#streamIntake, this.#stream, WINDOWS.stream);
  }

  start(): void {
    const { backoff } = this.#options;
    const how = { signal: this.#stop.signal, ...(backoff && { backoff }) };
    this.#running = Promise.all([
      reconnecting(() => this.#listen(), how),
      reconnecting(() => this.#read(), how),
    ]);
  }

  /** What was heard is durable when it resolves, as far as that could be done in a moment. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.race([this.#running, sleep(STOP_MS, null, { ref: false })]);
    await Promise.all([this.#channelSender.close(STOP_MS), this.#streamSender.close(STOP_MS)]);
    const { messages } = this.#feed.waiting;
    if (messages > 0)
      this.#actor.log.warn({ messages }, 'messages of Redis were not taken before the stop');
  }

  status(): JsonObject {
    const { channels, stream } = this.#options;
    const { messages: waiting, bytes: waitingBytes } = this.#feed.waiting;
    const { state, since, ...why } = this.#channels.view();
    return {
      state: state ?? 'down',
      since: since ?? null,
      ...why,
      channels: { names: [...channels], waiting, waiting_bytes: waitingBytes },
      stream: { name: stream.stream, group: stream.group, ...this.#stream.view() },
      duplicates: this.#actor.duplicates,
    };
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop;
    let listening: RedisConnection | undefined;
    let leave = (): void => {};
    const reason = await this.#session('channels', this.#channels, async (connection) => {
      leave = (): void => void connection.caughtUp().then(() => connection.close());
      signal.addEventListener('abort', leave);
      await this.#subscribe(connection);
      listening = connection;
      return connection.ended;
    });
    signal.removeEventListener('abort', leave);
    if (listening === undefined) return;
    const since = signal.aborted ? Date.now() : listening.lastSignAt();
    this.#missed = { since, reason };
    this.#feed.down(since, reason);
    this.#wakeSoon();
  }

  /** B3. */
  async #subscribe(connection: RedisConnection): Promise<void> {
    const { channels } = this.#options;
    for (const channel of channels)
      await connection.subscribe(channel, (raw) => this.#hear(channel, raw));
    this.#feed.up(channels, this.#missed, Date.now());
    this.#wakeSoon();
    this.#becomes(this.#channels, 'up', null);
  }

  async #read(): Promise<void> {
    const { stream, nodeId } = this.#options;
    const { signal } = this.#stop;
    await this.#session('stream', this.#stream, async (connection) => {
      if (this.#actor.context() === undefined)
        throw new Error(`${this.#actor.address} cannot be read`); // so nobody knows what was read before
      await readStream(connection, this.#streamIntake, {
        ...stream,
        consumer: nodeId,
        signal,
        onState: (state) => {
          const reason = state === 'absent' ? `there is no stream ${stream.stream}` : null;
          this.#becomes(this.#stream, state, reason);
        },
      });
      return 'this node stops';
    });
  }

  /** B2. Why the session is over. */
  async #session(
    name: string,
    part: Part,
    use: (connection: RedisConnection) => Promise<string>,
  ): Promise<string> {
    const { url, nodeId, connection: how } = this.#options;
    let connection: RedisConnection | undefined;
    let reason: string;
    try {
      await this.#actor.ensure();
      connection = await connectRedis({ url, name: `lazarus-${name}-${nodeId}`, ...how });
      reason = this.#stop.signal.aborted ? 'this node stops' : await use(connection);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    connection?.close();
    if (this.#stop.signal.aborted) reason = 'this node stops';
    this.#becomes(part, 'down', reason);
    return reason;
  }

  /** B1. In a turn of its own: nothing that the journal does may end in the client's parser. */
  #hear(channel: string, raw: Buffer): void {
    this.#feed.hear({ channel, raw: keptOf(raw), bytes: raw.length, at: Date.now() });
    this.#wakeSoon();
  }

  #wakeSoon(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    setImmediate(() => {
      this.#isWaking = false;
      this.#channelSender.wake();
    });
  }

  #becomes(part: Part, state: Part['state'], reason: string | null): void {
    if (part.state === state && part.reason === reason) return;
    if (part.state !== state) part.since = Date.now();
    Object.assign(part, { state, reason });
    if (this.#stop.signal.aborted) return;
    const fields = {
      redis: this.#options.where,
      of: part === this.#stream ? 'stream' : 'channels',
    };
    const log = this.#actor.log;
    if (state === 'down') log.warn({ ...fields, reason }, 'Redis is away: it is tried again');
    else log.info({ ...fields, state }, 'Redis bridge');
  }
}
