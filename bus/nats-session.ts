/**
 * The connection to the server: had for ever (C3 of nats.ts), up when its streams are there (C5), and what is asked on it
 * ends with it (C6).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { withoutUser } from '../machines/nats-url.ts';
import type { BusState } from './bus.ts';
import { connect, errorCode, Events, messageOf, NO_RESPONDERS } from './nats-client.ts';
import type { JetStreamManager, NatsConnection, Status } from './nats-client.ts';
import { connectionOptions, INTERVALS } from './nats-options.ts';
import type { BusIntervals, NatsOptions } from './nats-options.ts';
import { ensure } from './nats-stream.ts';
import { troubleOf } from './nats-trouble.ts';
import type { Attempt } from './nats-trouble.ts';

/** What is under way when it closes is waited for so long. */
const DRAIN_MS = 2000;

export class NatsSession {
  readonly options: NatsOptions;
  readonly intervals: BusIntervals;
  readonly #listeners: (() => void)[] = [];
  readonly #resets: (() => void)[] = [];
  readonly #names: Map<string, string> = new Map();
  readonly #servers: ((connection: NatsConnection) => void)[] = [];
  #servedOn: NatsConnection | undefined;
  #connection: NatsConnection | undefined;
  #manager: JetStreamManager | undefined;
  #since = new Date();
  #reason: string | null = 'not connected yet';
  #isUp = false;
  #reconnects = 0;
  #beginnings = 0;
  #closed = false;
  #connecting: Promise<void> = Promise.resolve();
  /** Reads under way; they do not end by themselves when their connection does. */
  readonly #reads = new Set<{ stop(): void }>();
  /** C6: ends what the server was asked. */
  readonly #asked = new Set<() => void>();
  /** Ends every pause: the connection is there, or the bus is closed. */
  #wake = new AbortController();

  constructor(options: NatsOptions) {
    this.options = options;
    this.intervals = { ...INTERVALS, ...options.intervals };
  }

  /** Returns at once. */
  start(): void {
    this.#connecting = this.#connect();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get maxPayload(): number {
    return this.#connection?.info?.max_payload ?? 1024 * 1024;
  }

  view(): BusState {
    return {
      state: this.#isUp ? 'up' : 'down',
      url: withoutUser(this.options.url),
      since: this.#since.toISOString(),
      reason: this.#reason,
      server_version: this.#connection?.info?.version ?? null,
      reconnects: this.#reconnects,
    };
  }

  onUp(listener: () => void): void {
    this.#listeners.push(listener);
    if (this.#isUp) listener();
  }

  /** What was known of the streams is not sure any more: the connection is gone, or another one is there. */
  onReset(listener: () => void): void {
    this.#resets.push(listener);
  }

  /** Called once for each connection, before it counts as up. */
  serve(listen: (connection: NatsConnection) => void): void {
    this.#servers.push(listen);
    if (this.#isUp && this.#connection) listen(this.#connection);
  }

  /** Throws RuntimeError BUSY while it is not up (C1). */
  live(): NatsConnection {
    const connection = this.#connection;
    if (!this.#isUp || connection === undefined || connection.isClosed())
      throw unsure(this.#reason);
    return connection;
  }

  async jetStream(): Promise<JetStreamManager> {
    const options = { timeout: this.intervals.ackMs };
    return (this.#manager ??= await this.unlessLost(this.live().jetstreamManager(options)));
  }

  /** C6. */
  async unlessLost<T>(asking: Promise<T>): Promise<T> {
    const lost = Promise.withResolvers<never>();
    const fail = (): void => lost.reject(unsure(this.#reason));
    this.#asked.add(fail);
    try {
      return await Promise.race([asking, lost.promise]);
    } finally {
      this.#asked.delete(fail);
    }
  }

  /** By which the server knows it. */
  nameOf(stream: string): string {
    return this.#names.get(stream) ?? stream;
  }

  /** `work` ends when the read does, which is stopped when its connection ends. */
  async whileReading(read: { stop(): void }, work: () => Promise<void>): Promise<void> {
    this.#reads.add(read);
    try {
      await work();
    } finally {
      this.#reads.delete(read);
    }
  }

  /** Before something that failed is tried again; shorter when the connection is back. */
  async pause(): Promise<void> {
    if (this.#closed) return;
    const { signal } = this.#wake;
    const paused = sleep(this.intervals.retryMs, null, { ref: false, signal });
    await paused.catch(() => undefined); // woken
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake.abort();
    const connection = this.#connection;
    const patience = sleep(DRAIN_MS, null, { ref: false });
    if (connection !== undefined && !connection.isClosed())
      await Promise.race([connection.drain().catch(() => connection.close()), patience]);
    await connection?.close();
    this.#endReads();
    await this.#connecting;
  }

  /** C3. The first connection is tried for ever too: the server may come later than we. */
  async #connect(): Promise<void> {
    const { log } = this.options;
    for (let told = ''; !this.#closed;) {
      let attempt: Attempt | undefined;
      try {
        const [options, trying] = connectionOptions(this.options, this.intervals);
        attempt = trying;
        const connection = await connect(options);
        if (this.#closed) return await connection.close();
        if (this.#connection !== undefined) this.#connectedAgain();
        this.#connection = connection;
        void this.#follow(connection, attempt);
        void connection.closed().then(() => this.#ended());
        void this.#begin(connection);
        return;
      } catch (error) {
        const reason = attempt ? await troubleOf(error, attempt) : messageOf(error);
        this.#down(reason);
        if (reason !== told && !this.#closed)
          log.warn({ url: this.view().url, reason }, 'no connection to NATS; it is tried again');
        told = reason;
        await this.pause();
      }
    }
  }

  #connectedAgain(): void {
    this.#reconnects += 1;
    this.options.log.info({ url: this.view().url }, 'connected to NATS again');
  }

  async #follow(connection: NatsConnection, attempt: Attempt): Promise<void> {
    const { log } = this.options;
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect) {
        log.warn({ url: this.view().url }, 'connection to NATS lost; it is tried again');
        this.#beginnings += 1;
        this.#down('connection lost');
      } else if (status.type === Events.Reconnect) {
        this.#connectedAgain();
        void this.#begin(connection);
      } else if (status.type === Events.Error) {
        this.#reason = deniedIn(status) ?? (await troubleOf({ code: status.data }, attempt));
        log.warn({ reason: this.#reason }, 'NATS');
      }
    }
  }

  /** C3. The client has given it up. */
  #ended(): void {
    this.#beginnings += 1;
    this.#endReads();
    this.#down(this.#isUp ? 'connection lost' : (this.#reason ?? 'connection lost'));
    if (!this.#closed) this.#connecting = this.#connect();
  }

  /** C5. Tried until it works or the connection is lost. */
  async #begin(connection: NatsConnection): Promise<void> {
    const mine = (this.#beginnings += 1);
    for (let told = ''; !this.#closed && mine === this.#beginnings;) {
      try {
        const manager = await connection.jetstreamManager({ timeout: this.intervals.ackMs });
        for (const stream of this.options.streams)
          this.#names.set(stream.name, await ensure(manager, stream));
        if (mine !== this.#beginnings || this.#closed) return;
        if (this.#servedOn !== connection) for (const listen of this.#servers) listen(connection);
        this.#servedOn = connection;
        return this.#up();
      } catch (error) {
        const reason = `connected, but it cannot be used: ${uselessBecause(error)}`;
        if (mine !== this.#beginnings) return;
        this.#down(reason);
        if (reason !== told) this.options.log.warn({ url: this.view().url, reason }, 'NATS');
        told = reason;
        await this.pause();
      }
    }
  }

  #up(): void {
    this.#isUp = true;
    this.#since = new Date();
    this.#reason = null;
    this.#manager = undefined;
    for (const reset of this.#resets) reset();
    for (const listener of this.#listeners) listener();
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  #down(reason: string): void {
    if (this.#isUp) this.#since = new Date();
    this.#isUp = false;
    this.#reason = reason;
    for (const reset of this.#resets) reset();
    for (const fail of this.#asked) fail();
  }

  #endReads(): void {
    for (const messages of this.#reads) messages.stop();
  }
}

function uselessBecause(error: unknown): string {
  return errorCode(error) === NO_RESPONDERS ? 'it has no JetStream' : messageOf(error);
}

/** What the server does not let us do. */
export function deniedIn({ permissionContext: denied }: Status): string | undefined {
  if (denied === undefined) return undefined;
  const { operation, subject } = denied;
  const what = operation === 'publish' ? 'publish to' : 'listen to';
  return `the server does not let us ${what} ${subject}`;
}

/** Nothing counts as stored then (C1). */
export function unsure(reason: string | null): RuntimeError {
  return new RuntimeError(`the bus cannot be written: ${reason ?? 'not connected'}`, {
    code: 'BUSY',
    retryable: true,
  });
}
