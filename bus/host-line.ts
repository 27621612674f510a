/**
 * The line of a host's agent: one subject on a NATS server, each request as JSON, answered once. It is made again for ever; the
 * agent may be there before the server is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { BusLog } from './bus.ts';
import { parseBytes } from './json-body.ts';
import { ERROR_CODE_HEADER, ERROR_HEADER } from './micro-service.ts';
import type { Asked } from './micro-service.ts';
import { connect, Events, messageOf } from './nats-client.ts';
import type { NatsConnection } from './nats-client.ts';
import { connectionOptions, INTERVALS } from './nats-options.ts';
import type { NatsOptions } from './nats-options.ts';
import { listeningOn } from './nats-requests.ts';
import { deniedIn } from './nats-session.ts';
import { troubleOf } from './nats-trouble.ts';
import type { Attempt } from './nats-trouble.ts';
import { httpStatusOf, toWireError } from './wire-error.ts';

export type Dialling = Pick<
  NatsOptions,
  'url' | 'credentials' | 'credentialsFrom' | 'tls' | 'nodeId'
>;

export interface HostLineOptions extends Dialling {
  subject: string;
  /** Throws RuntimeError: nothing was done. */
  answer: (request: JsonValue) => Promise<JsonObject>;
  log: BusLog;
  /** Between two tries, ms. Default 1000. */
  retryMs?: number;
}

/** Of two agents that were started for one host by mistake, one gets each request. */
const QUEUE = 'host-agent';
const MAX_REQUEST = 1 << 20;
const MAX_ERROR = 1000;

export class HostLine {
  readonly #options: HostLineOptions;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #connection: NatsConnection | undefined;

  /** Returns at once. Throws INVALID_ARGUMENT for a url that is none. */
  constructor(options: HostLineOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Nothing new is taken; what is answered is sent. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const connection = this.#connection;
    if (connection && !connection.isClosed())
      await connection.drain().catch(() => connection.close()); // it was lost in between
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log, retryMs = 1000, url } = this.#options;
    const { signal } = this.#stopping;
    for (let told = ''; !signal.aborted;) {
      let attempt: Attempt | undefined;
      try {
        const [options, trying] = connectionOptions(this.#options, INTERVALS);
        attempt = trying;
        const connection = await connect(options);
        this.#connection = connection;
        if (signal.aborted) await connection.close();
        else await this.#listen(connection, attempt);
        told = '';
      } catch (error) {
        const reason = attempt ? await troubleOf(error, attempt) : messageOf(error);
        if (reason !== told) log.warn({ url, reason }, 'no connection to NATS; it is tried again');
        told = reason;
      }
      await sleep(retryMs, null, { signal }).catch(() => undefined);
    }
  }

  /** Until the connection is given up. */
  async #listen(connection: NatsConnection, attempt: Attempt): Promise<void> {
    const { log, url, subject } = this.#options;
    const listening = listeningOn(connection);
    const { maxPayload } = listening;
    listening.subscribe(subject, QUEUE, (asked) => void this.#take(asked, maxPayload));
    log.info({ url, subject }, 'the agent of this host listens');
    void this.#follow(connection, attempt);
    await connection.closed(); // what the status says may not end with it, after refused logins for example
  }

  async #follow(connection: NatsConnection, attempt: Attempt): Promise<void> {
    const { log, url } = this.#options;
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect) log.warn({ url }, 'connection to NATS lost');
      if (status.type === Events.Reconnect) log.info({ url }, 'connected to NATS again');
      if (status.type !== Events.Error) continue;
      const reason = deniedIn(status) ?? (await troubleOf({ code: status.data }, attempt));
      log.warn({ reason }, 'NATS');
    }
  }

  async #take(asked: Asked, maxPayload: number): Promise<void> {
    const { log } = this.#options;
    const { body, headers } = await this.#answerTo(asked.data, maxPayload);
    try {
      asked.respond(body, headers);
    } catch (error) {
      log.warn({ error: String(error) }, 'an answer was not sent'); // who asked asks what became of it
    }
  }

  async #answerTo(
    data: Uint8Array,
    maxPayload: number,
  ): Promise<{ body: string; headers: Record<string, string> }> {
    try {
      if (data.length > MAX_REQUEST) throw tooLong(`a request of ${data.length} bytes`);
      const body = JSON.stringify(await this.#options.answer(parseBytes(data)));
      if (Buffer.byteLength(body) > maxPayload) throw tooLong('its answer');
      return { body, headers: {} };
    } catch (error) {
      const wire = toWireError(error);
      if (wire.code === 'INTERNAL')
        this.#options.log.warn({ error: String(error) }, 'a request failed');
      const text = `${wire.code}: ${wire.message}`.replace(/[\r\n]+/g, ' ').slice(0, MAX_ERROR);
      const code = String(httpStatusOf(wire.code));
      const headers = { [ERROR_HEADER]: text, [ERROR_CODE_HEADER]: code };
      return { body: JSON.stringify({ error: { ...wire } }), headers };
    }
  }
}

const tooLong = (what: string): RuntimeError =>
  new RuntimeError(`${what} is too long for one message`, { code: 'TOO_LARGE' });
