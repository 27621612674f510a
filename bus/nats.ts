/**
 * The bus on NATS with JetStream. The only file that imports the client, so that its successor is one file away.
 *
 * C1 The client throws away what is published while it is not connected, and says nothing: so nothing is published then, and
 *    nothing counts as published before the server has said that it stored it.
 * C2 A run of messages goes out at once and only its last is acknowledged: the stream has to have grown by as many as were
 *    sent. Where others write to the stream too each message is acknowledged by itself.
 * C3 It reconnects for ever, and finds a server that is half gone within seconds. What a try that takes longer fails for is
 *    what the state says; credentials and certificates are read anew for each, so that mending a file mends the connection.
 * C4 Every message of ours has an id, so that one that was sent twice is stored once.
 * C5 It is up when its streams are there: made, or brought up to date, after each connection.
 * C6 What the server was asked when the connection was lost has failed then: the client itself would wait for the answer.
 * C7 Messages of others are taken one by one: the next is not delivered before this one is done, however often it has to come.
 *    Actors tell what they had by how far they were in the stream, so one that overtakes another would be its end.
 */
import { connect, credsAuthenticator, Events, headers as newHeaders, nanos } from 'nats';
import type {
  ConnectionOptions,
  ConsumerMessages,
  JetStreamManager,
  JsMsg,
  Msg,
  MsgHdrs,
} from 'nats';
import type { NatsConnection, PubAck, Status, StoredMsg, StreamConfig } from 'nats';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { jsonEqual } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { natsServers, withoutUser } from '../machines/nats-url.ts';
import { BusAnswer, positionOf } from './bus.ts';
import type { Bus, BusLog, BusMessage, BusState, Incoming } from './bus.ts';
import type { Reading, ServiceDefinition, StreamDefinition } from './bus.ts';
import { ERROR_HEADER, MicroService, NODE_HEADER } from './micro-service.ts';
import type { Listening } from './micro-service.ts';
import { troubleOf } from './nats-trouble.ts';
import type { Attempt } from './nats-trouble.ts';
import { identityCheck, readTls } from './nats-tls.ts';
import type { TlsFiles, TlsMaterial } from './nats-tls.ts';

export type Credentials =
  | { kind: 'none' }
  | { kind: 'user'; user: string; password: string }
  | { kind: 'token'; token: string }
  /** Content of a `.creds` file. */
  | { kind: 'creds'; content: string };

export interface NatsOptions {
  /** `nats://host:port`, `tls://host:port`; several separated by commas. Credentials stand apart. */
  url: string;
  /** Asked at each try; throws RuntimeError when they cannot be read. */
  credentials: () => Credentials;
  /** Where they come from, for people: `/etc/lazarus/nats.creds`. Null: there are none. */
  credentialsFrom: string | null;
  tls?: TlsFiles;
  /** Of this node: the same over restarts, and nobody else's. */
  nodeId: string;
  /** It counts as up when these are there. */
  streams: readonly StreamDefinition[];
  log: BusLog;
  intervals?: Partial<BusIntervals>;
}

export interface BusIntervals {
  /** Of one try to connect, the handshake of TLS included. Default 5000. */
  connectMs: number;
  /** In which the server answers, or has not. Default 5000. */
  ackMs: number;
  /** Between two tries of what failed, unless the connection is back before. Default 1000. */
  retryMs: number;
  /** Between the client's own tries of a connection that was lost. Default 250. */
  reconnectMs: number;
  /** C7: what nobody acknowledged, because we were killed, comes again after so long. Default 5000. */
  redeliveryMs: number;
  /** Of one read, when nothing comes. Default 5000, at least 1000. */
  readMs: number;
}

const INTERVALS: BusIntervals = {
  connectMs: 5000,
  ackMs: 5000,
  retryMs: 1000,
  reconnectMs: 250,
  redeliveryMs: 5000,
  readMs: 5000,
};

const LSN = 'Lazarus-Lsn';
/** A connection that was lost is tried by the client itself, quickly and so often; then by us (C3). */
const RECONNECTS = 8;
const PING_MS = 5000;
/** Our last message in a stream that others write to is looked for one by one so far back, */
const LOOK_BACK = 200;
/** then in runs, the first of which is so long, */
const FAR_BACK = 10_000;
/** and given up behind so many (P8): then the cursor on disk is all there is. */
const MAX_LOOK_BACK = 1_000_000;
/** In which a message that is sent again is told by its id. */
const DUPLICATES_MS = 10 * 60_000;
/** Acknowledged one by one, so many are under way. */
const WINDOW = 256;
/** What is under way when it closes is waited for so long. */
const DRAIN_MS = 2000;
/** Messages of others that are read at once, how long that may take, and for how long the server keeps such a reader. */
const RUN = 5000;
const RUN_MS = 5000;
const READER_MS = 30_000;

/** "stream name already in use with a different configuration", "subjects overlap with an existing stream" */
const IN_USE = 10_058;
const OVERLAPS = 10_065;

export class NatsBus implements Bus {
  readonly #options: NatsOptions;
  readonly #intervals: BusIntervals;
  readonly #listeners: (() => void)[] = [];
  readonly #names: Map<string, string> = new Map();
  /** Last seq we know of a stream that only we write to. */
  readonly #ends = new Map<string, number>();
  readonly #shared = new Set<string>();
  readonly #services: MicroService[] = [];
  #servedOn: NatsConnection | undefined;
  #connection: NatsConnection | undefined;
  #manager: JetStreamManager | undefined;
  #since = new Date();
  #reason: string | null = 'not connected yet';
  #isUp = false;
  #reconnects = 0;
  #beginnings = 0;
  #closed = false;
  #connecting: Promise<void>;
  #consumers: Promise<void>[] = [];
  /** Reads under way; they do not end by themselves when their connection does. */
  readonly #reads = new Set<ConsumerMessages>();
  /** C6: ends what the server was asked. */
  readonly #asked = new Set<() => void>();
  /** Ends every pause: the connection is there, or the bus is closed. */
  #wake = new AbortController();

  private constructor(options: NatsOptions) {
    this.#options = options;
    this.#intervals = { ...INTERVALS, ...options.intervals };
    this.#connecting = Promise.resolve();
  }

  /** Returns at once; `onUp` tells when there is a connection. Throws INVALID_ARGUMENT for a url that is none. */
  static open(options: NatsOptions): NatsBus {
    serversOf(options.url);
    const bus = new NatsBus(options);
    bus.#connecting = bus.#connect();
    return bus;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get maxPayload(): number {
    return this.#connection?.info?.max_payload ?? 1024 * 1024;
  }

  view(): BusState {
    return {
      state: this.#isUp ? 'up' : 'down',
      url: withoutUser(this.#options.url),
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

  async lastPosition(stream: string): Promise<number> {
    const manager = await this.#jetStream();
    const name = this.#nameOf(stream);
    const { state } = await this.#unlessLost(manager.streams.info(name));
    const first = Math.max(state.first_seq, state.last_seq - LOOK_BACK + 1);
    for (let seq = state.last_seq; seq >= first && seq > 0; seq -= 1) {
      const position = this.#positionIn(await this.#unlessLost(storedAt(manager, name, seq)));
      if (position === undefined) continue;
      if (seq === state.last_seq) this.#ends.set(stream, seq);
      return position;
    }
    this.#ends.set(stream, state.last_seq);
    return this.#lastFarBack(manager, name, { first: state.first_seq, last: first - 1 });
  }

  /** Behind many messages of others: headers are read in runs, each ten times as long as the one behind it. */
  async #lastFarBack(
    manager: JetStreamManager,
    stream: string,
    { first, last }: { first: number; last: number },
  ): Promise<number> {
    let to = last;
    for (let length = FAR_BACK; to >= first && last - to < MAX_LOOK_BACK; length *= 10) {
      const from = Math.max(first, to - length + 1);
      let found: number | undefined;
      for await (const headers of headersIn(this.#live(), manager, { stream, from, to }))
        found = this.#positionIn(headers) ?? found;
      if (found !== undefined) return found;
      to = from - 1;
    }
    return 0;
  }

  /** Undefined: it is not of the journal of this node. */
  #positionIn(headers: MsgHdrs | undefined): number | undefined {
    if (headers?.get(NODE_HEADER) !== this.#options.nodeId || !headers.has(LSN)) return undefined;
    return positionIn(headers.get(LSN));
  }

  async publish(stream: string, messages: readonly BusMessage[]): Promise<void> {
    const connection = this.#live();
    if (messages.length === 0) return;
    const end = this.#ends.get(stream);
    if (this.#shared.has(stream) || end === undefined)
      return this.#publishEach(connection, stream, messages);
    this.#ends.delete(stream); // until it is sure
    const last = messages.length - 1;
    for (const message of messages.slice(0, last))
      connection.publish(message.subject, message.body, { headers: this.#headers(message) });
    const ack = await this.#publishAcked(connection, messages[last] as BusMessage);
    if (ack.seq - end !== messages.length) {
      if (ack.seq - end > messages.length) this.#shared.add(stream); // C2: somebody else writes to it
      throw unsure(`${stream} has grown by ${ack.seq - end}, not by ${messages.length}`);
    }
    this.#ends.set(stream, ack.seq);
  }

  async tell(subject: string, body: JsonObject, id: string): Promise<void> {
    const connection = this.#live();
    const headers = newHeaders();
    headers.set(NODE_HEADER, this.#options.nodeId);
    const options = { headers, msgID: id, timeout: this.#intervals.ackMs };
    await this.#unlessLost(connection.jetstream().publish(subject, JSON.stringify(body), options));
    for (const name of this.#ends.keys()) this.#ends.delete(name); // it may have gone to any of them
  }

  async tellOnce(
    stream: string,
    subject: string,
    body: JsonObject & { id: string },
  ): Promise<boolean> {
    const headers = newHeaders();
    headers.set(NODE_HEADER, this.#options.nodeId);
    for (let before = 0; ;) {
      const expect = { lastSubjectSequence: before };
      const options = { headers, msgID: body.id, expect, timeout: this.#intervals.ackMs };
      try {
        const jetStream = this.#live().jetstream();
        const telling = jetStream.publish(subject, JSON.stringify(body), options);
        const { duplicate } = await this.#unlessLost(telling);
        this.#ends.delete(stream);
        return !duplicate;
      } catch (error) {
        if (apiCode(error) !== WRONG_LAST) throw error;
      }
      const present = await this.newest(stream, subject);
      if (present !== undefined && idIn(present.data) === body.id) return false;
      before = present?.position.seq ?? 0;
    }
  }

  async stored(stream: string, seq: number): Promise<Incoming | undefined> {
    return this.#get(stream, { seq });
  }

  async newest(stream: string, subject: string): Promise<Incoming | undefined> {
    return this.#get(stream, { last_by_subj: subject });
  }

  async #get(
    stream: string,
    query: { seq: number } | { last_by_subj: string },
  ): Promise<Incoming | undefined> {
    const manager = await this.#jetStream();
    const name = this.#nameOf(stream);
    const found = await this.#unlessLost(orNone(manager.streams.getMessage(name, query)));
    if (found === undefined) return undefined;
    const { created } = await this.#unlessLost(manager.streams.info(name));
    const { subject, data, seq, time, header } = found;
    const position = { stream: name, created, seq };
    const writer = header.get(NODE_HEADER) || null;
    return { subject, data, position, at: time.getTime(), writer, isAgain: true };
  }

  async readers(stream: string): Promise<string[]> {
    return this.#unlessLost(readersOf(await this.#jetStream(), this.#nameOf(stream)));
  }

  consume(stream: string, reading: Reading): void {
    this.#consumers.push(this.#consume(stream, reading));
  }

  async serve(definition: ServiceDefinition): Promise<void> {
    const service = new MicroService(definition, this.#options.log);
    this.#services.push(service);
    if (this.#isUp && this.#connection) service.listen(listeningOn(this.#connection));
  }

  async ask(subject: string, input: JsonValue, timeoutMs: number): Promise<BusAnswer | undefined> {
    try {
      const options = { timeout: timeoutMs };
      return answerIn(await this.#live().request(subject, JSON.stringify(input), options));
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === NO_RESPONDERS) return undefined;
      if (code !== 'TIMEOUT') throw error;
      throw new RuntimeError(`${subject} has not answered in ${timeoutMs / 1000} s`, {
        code: 'OUTCOME_UNKNOWN',
        cause: error,
        hint: 'It may have been done: look before you ask again.',
      });
    }
  }

  async askAll(
    subject: string,
    input: JsonValue,
    { answers, timeoutMs }: { answers: number; timeoutMs: number },
  ): Promise<BusAnswer[]> {
    const found: BusAnswer[] = [];
    const options = { maxWait: timeoutMs, maxMessages: answers, strategy: 'count' as never };
    const messages = await this.#live().requestMany(subject, JSON.stringify(input), options);
    try {
      for await (const message of messages) found.push(answerIn(message));
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code !== NO_RESPONDERS && code !== 'TIMEOUT') throw error;
    }
    return found;
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
    await Promise.all(this.#consumers);
  }

  /** C3. The first connection is tried for ever too: the server may come later than we. */
  async #connect(): Promise<void> {
    const { log } = this.#options;
    for (let told = ''; !this.#closed;) {
      let attempt: Attempt | undefined;
      try {
        const [options, trying] = connectionOptions(this.#options, this.#intervals);
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
        await this.#pause();
      }
    }
  }

  #connectedAgain(): void {
    this.#reconnects += 1;
    this.#options.log.info({ url: this.view().url }, 'connected to NATS again');
  }

  async #follow(connection: NatsConnection, attempt: Attempt): Promise<void> {
    const { log } = this.#options;
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
        const manager = await connection.jetstreamManager({ timeout: this.#intervals.ackMs });
        for (const stream of this.#options.streams)
          this.#names.set(stream.name, await ensure(manager, stream));
        if (mine !== this.#beginnings || this.#closed) return;
        if (this.#servedOn !== connection)
          for (const service of this.#services) service.listen(listeningOn(connection));
        this.#servedOn = connection;
        return this.#up();
      } catch (error) {
        const reason = `connected, but it cannot be used: ${uselessBecause(error)}`;
        if (mine !== this.#beginnings) return;
        this.#down(reason);
        if (reason !== told) this.#options.log.warn({ url: this.view().url, reason }, 'NATS');
        told = reason;
        await this.#pause();
      }
    }
  }

  #up(): void {
    this.#isUp = true;
    this.#since = new Date();
    this.#reason = null;
    this.#manager = undefined;
    this.#ends.clear();
    for (const listener of this.#listeners) listener();
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  #down(reason: string): void {
    if (this.#isUp) this.#since = new Date();
    this.#isUp = false;
    this.#reason = reason;
    this.#ends.clear();
    for (const fail of this.#asked) fail();
  }

  async #pause(): Promise<void> {
    if (this.#closed) return;
    const { signal } = this.#wake;
    const paused = sleep(this.#intervals.retryMs, null, { ref: false, signal });
    await paused.catch(() => undefined); // woken
  }

  #endReads(): void {
    for (const messages of this.#reads) messages.stop();
  }

  #live(): NatsConnection {
    const connection = this.#connection;
    if (!this.#isUp || connection === undefined || connection.isClosed())
      throw unsure(this.#reason);
    return connection;
  }

  async #jetStream(): Promise<JetStreamManager> {
    const options = { timeout: this.#intervals.ackMs };
    return (this.#manager ??= await this.#unlessLost(this.#live().jetstreamManager(options)));
  }

  /** C6. */
  async #unlessLost<T>(asking: Promise<T>): Promise<T> {
    const lost = Promise.withResolvers<never>();
    const fail = (): void => lost.reject(unsure(this.#reason));
    this.#asked.add(fail);
    try {
      return await Promise.race([asking, lost.promise]);
    } finally {
      this.#asked.delete(fail);
    }
  }

  #nameOf(stream: string): string {
    return this.#names.get(stream) ?? stream;
  }

  async #publishEach(
    connection: NatsConnection,
    stream: string,
    messages: readonly BusMessage[],
  ): Promise<void> {
    for (let from = 0; from < messages.length; from += WINDOW) {
      const part = messages.slice(from, from + WINDOW);
      const acks = await Promise.all(
        part.map((message) => this.#publishAcked(connection, message)),
      );
      const [first, last] = [acks[0], acks.at(-1)];
      // From here on its end is known, and that we are alone as long as nobody came between.
      const isWhole = first && last && last.seq - first.seq === part.length - 1;
      if (isWhole && !acks.some(({ duplicate }) => duplicate)) this.#ends.set(stream, last.seq);
    }
  }

  #publishAcked(connection: NatsConnection, message: BusMessage): Promise<PubAck> {
    const options = { headers: this.#headers(message), timeout: this.#intervals.ackMs };
    const { subject, body } = message;
    return this.#unlessLost(connection.jetstream().publish(subject, body, options));
  }

  /** C4. */
  #headers({ lsn, part }: BusMessage): MsgHdrs {
    const headers = newHeaders();
    const position = part === undefined ? String(lsn) : `${lsn}.${part}`;
    headers.set('Nats-Msg-Id', `${this.#options.nodeId}:${position}`);
    headers.set(NODE_HEADER, this.#options.nodeId);
    headers.set(LSN, position);
    return headers;
  }

  async #consume(stream: string, reading: Reading): Promise<void> {
    while (!this.#closed) {
      try {
        const manager = await this.#jetStream();
        const name = this.#nameOf(stream);
        const created = await this.#beginReading(manager, name, reading);
        const getting = this.#live().jetstream().consumers.get(name, reading.durable);
        const consumer = await this.#unlessLost(getting);
        while (!this.#closed && this.#isUp) {
          const messages = await consumer.fetch({
            max_messages: WINDOW,
            expires: this.#intervals.readMs,
          });
          this.#reads.add(messages);
          try {
            for await (const message of messages)
              await this.#take(message, { stream: name, created }, reading);
          } finally {
            this.#reads.delete(messages);
          }
        }
      } catch (error) {
        if (this.#closed) return;
        if (this.#isUp)
          this.#options.log.warn({ stream, reason: messageOf(error) }, 'NATS consumer');
        await this.#pause();
      }
    }
  }

  /** Makes our reader, or brings it up to date; resolves with the time at which the stream was made. */
  async #beginReading(
    manager: JetStreamManager,
    stream: string,
    { durable, subject, forgottenAfterMs, begin }: Reading,
  ): Promise<string> {
    const { created, state } = await this.#unlessLost(manager.streams.info(stream));
    const readers = await this.#unlessLost(readersOf(manager, stream));
    const ours = readers.includes(durable)
      ? await this.#unlessLost(manager.consumers.info(stream, durable))
      : null;
    const readUpTo = ours && ours.ack_floor.stream_seq;
    const from = await begin({ created, lastSeq: state.last_seq, readers, readUpTo });
    const inactive = nanos(forgottenAfterMs);
    if (ours === null) {
      const adding = manager.consumers.add(stream, {
        durable_name: durable,
        filter_subject: subject,
        ack_policy: 'explicit' as never,
        deliver_policy: 'by_start_sequence' as never,
        opt_start_seq: from,
        ack_wait: nanos(this.#intervals.redeliveryMs),
        max_ack_pending: 1, // C7
        inactive_threshold: inactive,
      });
      await this.#unlessLost(adding);
    } else if (ours.config.inactive_threshold !== inactive) {
      const wanted = { inactive_threshold: inactive };
      await this.#unlessLost(manager.consumers.update(stream, durable, wanted));
    }
    return created;
  }

  async #take(
    message: JsMsg,
    place: { stream: string; created: string },
    { handle }: Reading,
  ): Promise<void> {
    const { subject, data, seq, redelivered, info } = message;
    const at = Math.floor(info.timestampNanos / 1e6);
    const position = { ...place, seq };
    const writer = message.headers?.get(NODE_HEADER) || null;
    const handled = await handle({ subject, data, position, at, writer, isAgain: redelivered });
    if (handled === 'done') message.ack();
    else message.nak(this.#intervals.retryMs);
  }
}

async function readersOf(manager: JetStreamManager, stream: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of manager.consumers.list(stream)) names.push(name);
  return names;
}

function listeningOn(connection: NatsConnection): Listening {
  return {
    get maxPayload() {
      return connection.info?.max_payload ?? 1024 * 1024;
    },
    subscribe: (subject, queue, take) =>
      void connection.subscribe(subject, {
        ...(queue === null ? {} : { queue }),
        callback: (error, message) => {
          if (error !== null) return; // the subscription ended; the connection's status says why
          const { data } = message;
          const respond = (body: string, fields: Readonly<Record<string, string>>): void => {
            const headers = newHeaders();
            for (const [name, value] of Object.entries(fields)) headers.set(name, value);
            message.respond(body, { headers });
          };
          take({ subject: message.subject, data, respond });
        },
      }),
  };
}

function answerIn(message: Msg): BusAnswer {
  const node = message.headers?.get(NODE_HEADER) || null;
  const isError = message.headers?.has(ERROR_HEADER) === true;
  try {
    return new BusAnswer({ node, body: message.json<JsonValue>() }, isError);
  } catch (cause) {
    throw new RuntimeError(`an answer on ${message.subject} is no JSON`, {
      code: 'INTERNAL',
      cause,
    });
  }
}

function uselessBecause(error: unknown): string {
  const { code } = error as { code?: string };
  return code === NO_RESPONDERS ? 'it has no JetStream' : messageOf(error);
}

/** What the server does not let us do. */
function deniedIn({ permissionContext: denied }: Status): string | undefined {
  if (denied === undefined) return undefined;
  const { operation, subject } = denied;
  const what = operation === 'publish' ? 'publish to' : 'listen to';
  return `the server does not let us ${what} ${subject}`;
}

function connectionOptions(
  options: NatsOptions,
  { connectMs, reconnectMs }: BusIntervals,
): [ConnectionOptions, Attempt] {
  const { url, credentials: read, credentialsFrom, nodeId } = options;
  const servers = serversOf(url);
  const credentials = read();
  const files = readTls(options.tls ?? {}); // anew for each try (C3)
  const isWanted = options.tls !== undefined || url.split(',').some((one) => /^\s*tls:/.test(one));
  const tls = isWanted ? files : undefined;
  const connecting: ConnectionOptions = {
    servers,
    name: `lazarus ${nodeId}`,
    timeout: connectMs,
    maxReconnectAttempts: RECONNECTS,
    reconnectTimeWait: reconnectMs,
    reconnectJitter: reconnectMs / 2,
    reconnectJitterTLS: reconnectMs / 2, // a second would be its default
    pingInterval: PING_MS,
    maxPingOut: 2,
    ...(tls && { tls: securedBy(tls, servers) }),
    ...(credentials.kind === 'user' && { user: credentials.user, pass: credentials.password }),
    ...(credentials.kind === 'token' && { token: credentials.token }),
    ...(credentials.kind === 'creds' && {
      authenticator: credsAuthenticator(Buffer.from(credentials.content)),
    }),
  };
  return [connecting, { servers, credentialsFrom, tls }];
}

/** The client hands on what its own types do not name. */
function securedBy(tls: TlsMaterial, servers: readonly string[]): TlsMaterial {
  const secured = { ...tls, checkServerIdentity: identityCheck(servers) };
  return secured;
}

/** What the client takes: hosts and ports. */
function serversOf(url: string): string[] {
  const servers = natsServers(url);
  if (servers !== undefined) return servers;
  throw new RuntimeError(`${withoutUser(url)} is not the address of a NATS server`, {
    code: 'INVALID_ARGUMENT',
    hint: 'It looks like nats://127.0.0.1:4222',
  });
}

async function ensure(manager: JetStreamManager, stream: StreamDefinition): Promise<string> {
  const { name, description, subjects, maxBytes, maxAgeMs } = stream;
  const config: Partial<StreamConfig> = {
    name,
    description,
    subjects,
    max_bytes: maxBytes,
    max_age: maxAgeMs === null ? 0 : nanos(maxAgeMs),
    duplicate_window: nanos(DUPLICATES_MS),
    storage: 'file' as never,
    discard: 'old' as never,
    allow_direct: true,
  };
  try {
    await manager.streams.add(config);
    return name;
  } catch (error) {
    const code = apiCode(error);
    if (code === IN_USE) {
      const { config: present } = await manager.streams.info(name);
      const isSame = WANTED.every((key) =>
        jsonEqual(present[key] as JsonValue, config[key] as JsonValue),
      );
      if (!isSame) await manager.streams.update(name, config);
      return name;
    }
    // On a server that is not ours somebody may have made a stream of these subjects: it serves as well.
    if (code === OVERLAPS) return manager.streams.find(subjects[0] as string);
    throw error;
  }
}

async function storedAt(
  manager: JetStreamManager,
  stream: string,
  seq: number,
): Promise<MsgHdrs | undefined> {
  return (await orNone(manager.streams.getMessage(stream, { seq })))?.header;
}

/** Of a run of messages, both ends included, oldest first. */
async function* headersIn(
  connection: NatsConnection,
  manager: JetStreamManager,
  { stream, from, to }: { stream: string; from: number; to: number },
): AsyncGenerator<MsgHdrs | undefined> {
  const { name } = await manager.consumers.add(stream, {
    ack_policy: 'none' as never,
    deliver_policy: 'by_start_sequence' as never,
    opt_start_seq: from,
    headers_only: true,
    mem_storage: true,
    inactive_threshold: nanos(READER_MS),
  });
  const consumer = await connection.jetstream().consumers.get(stream, name);
  try {
    for (let isLast = false; !isLast;) {
      const messages = await consumer.fetch({ max_messages: RUN, expires: RUN_MS });
      isLast = true; // unless something comes
      for await (const { headers, seq, info } of messages) {
        if (seq > to) return;
        isLast = seq === to || info.pending === 0;
        yield headers;
      }
    }
  } finally {
    await manager.consumers.delete(stream, name);
  }
}

/** Undefined for a message that was removed, or never was. */
async function orNone(getting: Promise<StoredMsg>): Promise<StoredMsg | undefined> {
  try {
    return await getting;
  } catch (error) {
    if (apiCode(error) === NO_MESSAGE) return undefined;
    throw error;
  }
}

/** Of a message of ours. */
function idIn(data: Uint8Array): unknown {
  try {
    return (JSON.parse(Buffer.from(data).toString('utf8')) as { id?: unknown } | null)?.id;
  } catch {
    return undefined; // somebody else's
  }
}

/** What is ours to decide of a stream that is there; the rest somebody may have changed. */
const WANTED = ['subjects', 'max_bytes', 'max_age', 'duplicate_window', 'description'] as const;
const NO_MESSAGE = 10_037;
const WRONG_LAST = 10_071;
const NO_RESPONDERS = '503';

function apiCode(error: unknown): number | undefined {
  return (error as { api_error?: { err_code?: number } } | null)?.api_error?.err_code;
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

function unsure(reason: string | null): RuntimeError {
  return new RuntimeError(`the bus cannot be written: ${reason ?? 'not connected'}`, {
    code: 'BUSY',
    retryable: true,
  });
}

/** `<lsn>` or `<lsn>.<part>`. */
function positionIn(header: string): number {
  const [lsn, part] = header.split('.').map(Number);
  return positionOf({ lsn: lsn || 0, part: part || 0 });
}
