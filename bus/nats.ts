/**
 * The bus on NATS with JetStream. The only file that imports the client, so that its successor is one file away.
 *
 * C1 The client throws away what is published while it is not connected, and says nothing: so nothing is published then, and
 *    nothing counts as published before the server has said that it stored it.
 * C2 A run of messages goes out at once and only its last is acknowledged: the stream has to have grown by as many as were
 *    sent. Where others write to the stream too each message is acknowledged by itself.
 * C3 It reconnects for ever, and finds a server that is half gone within seconds.
 * C4 Every message of ours has an id, so that one that was sent twice is stored once.
 * C5 It is up when its streams are there: made, or brought up to date, after each connection.
 * C6 Messages of others are taken one by one: the next is not delivered before this one is done, however often it has to come.
 *    Actors tell what they had by how far they were in the stream, so one that overtakes another would be its end.
 */
import { connect, credsAuthenticator, Events, headers as newHeaders, nanos } from 'nats';
import type { ConnectionOptions, JetStreamManager, JsMsg, MsgHdrs } from 'nats';
import type { NatsConnection, PubAck, ServiceMsg, StreamConfig } from 'nats';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { jsonEqual } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { natsServers, withoutUser } from '../machines/nats-url.ts';
import type { Bus, BusLog, BusMessage, BusState, Handled, Incoming } from './bus.ts';
import type { ServedRequest, ServiceDefinition, StreamDefinition } from './bus.ts';
import { httpStatusOf, toWireError } from './wire-error.ts';
import { parseBytes } from './json-body.ts';

export interface NatsOptions {
  /** `nats://host:port`, `tls://host:port`; several separated by commas. Credentials stand apart. */
  url: string;
  credentials:
    | { kind: 'none' }
    | { kind: 'user'; user: string; password: string }
    | { kind: 'token'; token: string }
    /** Content of a `.creds` file. */
    | { kind: 'creds'; content: string };
  tls?: { caFile?: string; certFile?: string; keyFile?: string };
  /** Of this node: the same over restarts, and nobody else's. */
  nodeId: string;
  /** It counts as up when these are there. */
  streams: readonly StreamDefinition[];
  log: BusLog;
}

const WRITER = 'Lazarus-Node';
const LSN = 'Lazarus-Lsn';
const ACK_MS = 5000;
const RECONNECT_MS = 250;
const PING_MS = 5000;
/** How far back in a stream that others write to our last message is looked for. */
const MAX_LOOK_BACK = 10_000;
/** In which a message that is sent again is told by its id. */
const DUPLICATES_MS = 10 * 60_000;
/** Acknowledged one by one, so many are under way. */
const WINDOW = 256;
const FETCH_MS = 5000;
/** C6: what nobody acknowledged, because we were killed, comes again after so long. */
const REDELIVERY_MS = 5000;
const RETRY_MS = 1000;

/** "stream name already in use with a different configuration", "subjects overlap with an existing stream" */
/** Of what a service may call its version. */
const SEMVER = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;
const IN_USE = 10_058;
const OVERLAPS = 10_065;

export class NatsBus implements Bus {
  readonly #options: NatsOptions;
  readonly #listeners: (() => void)[] = [];
  readonly #names: Map<string, string> = new Map();
  /** Last seq we know of a stream that only we write to. */
  readonly #ends = new Map<string, number>();
  readonly #shared = new Set<string>();
  readonly #services: ServiceDefinition[] = [];
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

  private constructor(options: NatsOptions) {
    this.#options = options;
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

  async lastLsn(stream: string): Promise<number> {
    const manager = await this.#jetStream();
    const name = this.#nameOf(stream);
    const { state } = await manager.streams.info(name);
    const first = Math.max(state.first_seq, state.last_seq - MAX_LOOK_BACK);
    for (let seq = state.last_seq; seq >= first && seq > 0; seq -= 1) {
      const found = await storedAt(manager, name, seq);
      if (found?.get(WRITER) !== this.#options.nodeId || !found.has(LSN)) continue; // not of the journal
      if (seq === state.last_seq) this.#ends.set(stream, seq);
      return Number(found.get(LSN)) || 0;
    }
    this.#ends.set(stream, state.last_seq);
    return 0;
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
    headers.set(WRITER, this.#options.nodeId);
    await connection
      .jetstream()
      .publish(subject, JSON.stringify(body), { headers, msgID: id, timeout: ACK_MS });
    for (const name of this.#ends.keys()) this.#ends.delete(name); // it may have gone to any of them
  }

  consume(
    stream: string,
    options: { durable: string; subject: string },
    handle: (message: Incoming) => Promise<Handled>,
  ): void {
    this.#consumers.push(this.#consume(stream, options, handle));
  }

  async serve(definition: ServiceDefinition): Promise<void> {
    this.#services.push(definition);
    if (this.#isUp && this.#connection) await this.#addService(this.#connection, definition);
  }

  async #addService(connection: NatsConnection, definition: ServiceDefinition): Promise<void> {
    const { name, version, description, metadata, prefix, requests, otherwise } = definition;
    const service = await connection.services.add({
      name,
      version: SEMVER.test(version) ? version : '0.0.0',
      description,
      metadata,
    });
    const group = service.addGroup(prefix);
    for (const request of requests)
      group.addEndpoint(request.name.replaceAll('.', '-'), {
        subject: request.name,
        metadata: { summary: request.summary, ...request.metadata },
        handler: (error, message) => {
          if (error === null) void this.#answer(request, message);
        },
      });
    if (otherwise === undefined) return;
    const known = new Set(requests.map((request) => `${prefix}.${request.name}`));
    connection.subscribe(`${prefix}.>`, {
      queue: 'otherwise',
      callback: (error, message) => {
        if (error !== null || known.has(message.subject)) return;
        const asked = message.subject.slice(prefix.length + 1);
        void this.#answer({ name: asked, run: async () => otherwise(asked) }, message);
      },
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const connection = this.#connection;
    if (connection !== undefined && !connection.isClosed())
      await Promise.race([connection.drain().catch(() => connection.close()), sleep(2000)]);
    await connection?.close();
    await this.#connecting;
    await Promise.all(this.#consumers);
  }

  /** C3. The first connection is tried for ever too: the server may come later than we. */
  async #connect(): Promise<void> {
    const { log } = this.#options;
    const options = connectionOptions(this.#options);
    for (let told = ''; !this.#closed;) {
      try {
        const connection = await connect(options);
        if (this.#closed) return await connection.close();
        this.#connection = connection;
        void this.#follow(connection);
        void this.#begin(connection);
        return;
      } catch (error) {
        const reason = messageOf(error);
        this.#down(reason);
        if (reason !== told)
          log.warn({ url: this.view().url, reason }, 'no connection to NATS yet');
        told = reason;
        await sleep(RETRY_MS, null, { ref: false });
      }
    }
  }

  async #follow(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect) {
        log.warn({ url: this.view().url }, 'connection to NATS lost; it is tried again');
        this.#beginnings += 1;
        this.#down('connection lost');
      } else if (status.type === Events.Reconnect) {
        this.#reconnects += 1;
        log.info({ url: this.view().url }, 'connected to NATS again');
        void this.#begin(connection);
      } else if (status.type === Events.Error) {
        this.#reason = typeof status.data === 'string' ? status.data : 'error of the server';
        log.warn({ reason: this.#reason }, 'NATS');
      }
    }
    this.#down('closed');
    if (!this.#closed) this.#connecting = this.#connect(); // refused for good by the server: perhaps not for ever
  }

  /** C5. Tried until it works or the connection is lost. */
  async #begin(connection: NatsConnection): Promise<void> {
    const mine = (this.#beginnings += 1);
    for (let told = ''; !this.#closed && mine === this.#beginnings;) {
      try {
        const manager = await connection.jetstreamManager({ timeout: ACK_MS });
        for (const stream of this.#options.streams)
          this.#names.set(stream.name, await ensure(manager, stream));
        if (mine !== this.#beginnings || this.#closed) return;
        if (this.#servedOn !== connection)
          for (const service of this.#services) await this.#addService(connection, service);
        this.#servedOn = connection;
        return this.#up();
      } catch (error) {
        const reason = `connected, but it cannot be used: ${messageOf(error)}`;
        if (mine !== this.#beginnings) return;
        this.#down(reason);
        if (reason !== told) this.#options.log.warn({ url: this.view().url, reason }, 'NATS');
        told = reason;
        await sleep(RETRY_MS, null, { ref: false });
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
  }

  #down(reason: string): void {
    if (this.#isUp) this.#since = new Date();
    this.#isUp = false;
    this.#reason = reason;
    this.#ends.clear();
  }

  #live(): NatsConnection {
    const connection = this.#connection;
    if (!this.#isUp || connection === undefined || connection.isClosed())
      throw unsure(this.#reason);
    return connection;
  }

  async #jetStream(): Promise<JetStreamManager> {
    return (this.#manager ??= await this.#live().jetstreamManager({ timeout: ACK_MS }));
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
    return connection.jetstream().publish(message.subject, message.body, {
      headers: this.#headers(message),
      timeout: ACK_MS,
    });
  }

  /** C4. */
  #headers({ lsn }: BusMessage): MsgHdrs {
    const headers = newHeaders();
    headers.set('Nats-Msg-Id', `${this.#options.nodeId}:${lsn}`);
    headers.set(WRITER, this.#options.nodeId);
    headers.set(LSN, String(lsn));
    return headers;
  }

  async #consume(
    stream: string,
    { durable, subject }: { durable: string; subject: string },
    handle: (message: Incoming) => Promise<Handled>,
  ): Promise<void> {
    while (!this.#closed) {
      try {
        const manager = await this.#jetStream();
        const name = this.#nameOf(stream);
        const { created } = await manager.streams.info(name);
        await manager.consumers.add(name, {
          durable_name: durable,
          filter_subject: subject,
          ack_policy: 'explicit' as never,
          deliver_policy: 'all' as never,
          ack_wait: nanos(REDELIVERY_MS),
          max_ack_pending: 1, // C6
        });
        const consumer = await this.#live().jetstream().consumers.get(name, durable);
        while (!this.#closed && this.#isUp) {
          const messages = await consumer.fetch({ max_messages: WINDOW, expires: FETCH_MS });
          for await (const message of messages)
            await this.#take(message, { stream: name, created }, handle);
        }
      } catch (error) {
        if (this.#closed) return;
        if (this.#isUp)
          this.#options.log.warn({ stream, reason: messageOf(error) }, 'NATS consumer');
        await sleep(RETRY_MS, null, { ref: false });
      }
    }
  }

  async #take(
    message: JsMsg,
    place: { stream: string; created: string },
    handle: (message: Incoming) => Promise<Handled>,
  ): Promise<void> {
    const { subject, data, seq } = message;
    const handled = await handle({ subject, data, position: { ...place, seq } });
    if (handled === 'done') message.ack();
    else message.nak(RETRY_MS);
  }

  /** Errors go where the NATS CLI looks for them, in the headers, and as a body too. */
  async #answer(request: Pick<ServedRequest, 'name' | 'run'>, message: Asked): Promise<void> {
    const { log } = this.#options;
    let answer: Answer;
    try {
      const body = JSON.stringify(await request.run(parseBytes(message.data)));
      if (Buffer.byteLength(body) > this.maxPayload)
        throw new RuntimeError('the answer is longer than the server takes in one message', {
          code: 'TOO_LARGE',
          hint: 'Ask for one cell (svc.lazarus.cell.show), or raise max_payload of the server.',
        });
      answer = { body };
    } catch (error) {
      answer = errorAnswer(error);
      if (answer.code === 'INTERNAL')
        log.warn({ request: request.name, error: String(error) }, 'request failed');
    }
    try {
      message.respond(answer.body, answer.headers && { headers: answer.headers });
    } catch (error) {
      // The connection was closed meanwhile: whoever asked will not hear of it, and asks again.
      log.warn({ request: request.name, error: String(error) }, 'an answer was not sent');
    }
  }
}

type Asked = Pick<ServiceMsg, 'data' | 'respond'>;

interface Answer {
  body: string;
  headers?: MsgHdrs;
  code?: string;
}

function errorAnswer(error: unknown): Answer {
  const wire = toWireError(error);
  const headers = newHeaders();
  const description = `${wire.code}: ${wire.message}`.replace(/[\r\n]+/g, ' ').slice(0, 1000);
  headers.set('Nats-Service-Error-Code', String(httpStatusOf(wire.code)));
  headers.set('Nats-Service-Error', description);
  return { body: JSON.stringify({ error: wire }), headers, code: wire.code };
}

function connectionOptions(options: NatsOptions): ConnectionOptions {
  const { url, credentials, tls, nodeId } = options;
  return {
    servers: serversOf(url),
    name: `lazarus ${nodeId}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    pingInterval: PING_MS,
    maxPingOut: 2,
    ...(tls === undefined && !url.startsWith('tls:') ? {} : { tls: { ...tls } }),
    ...(credentials.kind === 'user' && { user: credentials.user, pass: credentials.password }),
    ...(credentials.kind === 'token' && { token: credentials.token }),
    ...(credentials.kind === 'creds' && {
      authenticator: credsAuthenticator(Buffer.from(credentials.content)),
    }),
  };
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
  try {
    return (await manager.streams.getMessage(stream, { seq })).header;
  } catch (error) {
    if (apiCode(error) === NO_MESSAGE) return undefined; // removed by somebody
    throw error;
  }
}

/** What is ours to decide of a stream that is there; the rest somebody may have changed. */
const WANTED = ['subjects', 'max_bytes', 'max_age', 'duplicate_window', 'description'] as const;
const NO_MESSAGE = 10_037;

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
