/**
 * What we publish to the streams of a NATS server.
 *
 * C2, C4 of nats.ts: a run goes out at once and the stream has to have grown by as many; everything has an id.
 */
import type { JsonObject } from '../machines/json.ts';
import { positionOf } from './bus.ts';
import type { BusMessage } from './bus.ts';
import { NODE_HEADER } from './micro-service.ts';
import { apiCode, newHeaders, WRONG_LAST } from './nats-client.ts';
import type { JetStreamManager, MsgHdrs, NatsConnection, PubAck } from './nats-client.ts';
import { newestOn } from './nats-reader.ts';
import { unsure } from './nats-session.ts';
import type { NatsSession } from './nats-session.ts';
import { headersIn, storedAt } from './nats-stream.ts';

const LSN = 'Lazarus-Lsn';
/** Our last message in a stream that others write to is looked for one by one so far back, */
const LOOK_BACK = 200;
/** then in runs, the first of which is so long, */
const FAR_BACK = 10_000;
/** and given up behind so many (P8): then the cursor on disk is all there is. */
const MAX_LOOK_BACK = 1_000_000;
/** Acknowledged one by one, so many are under way. */
const WINDOW = 256;

export class NatsPublisher {
  readonly #session: NatsSession;
  /** Last seq we know of a stream that only we write to. */
  readonly #ends = new Map<string, number>();
  readonly #shared = new Set<string>();

  constructor(session: NatsSession) {
    this.#session = session;
    session.onReset(() => this.#ends.clear());
  }

  async lastPosition(stream: string): Promise<number> {
    const manager = await this.#session.jetStream();
    const name = this.#session.nameOf(stream);
    const { state } = await this.#session.unlessLost(manager.streams.info(name));
    const first = Math.max(state.first_seq, state.last_seq - LOOK_BACK + 1);
    for (let seq = state.last_seq; seq >= first && seq > 0; seq -= 1) {
      const position = this.#positionIn(
        await this.#session.unlessLost(storedAt(manager, name, seq)),
      );
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
      for await (const headers of headersIn(this.#session.live(), manager, { stream, from, to }))
        found = this.#positionIn(headers) ?? found;
      if (found !== undefined) return found;
      to = from - 1;
    }
    return 0;
  }

  /** Undefined: it is not of the journal of this node. */
  #positionIn(headers: MsgHdrs | undefined): number | undefined {
    if (headers?.get(NODE_HEADER) !== this.#nodeId || !headers.has(LSN)) return undefined;
    return positionIn(headers.get(LSN));
  }

  async publish(stream: string, messages: readonly BusMessage[]): Promise<void> {
    const connection = this.#session.live();
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
    const connection = this.#session.live();
    const headers = newHeaders();
    headers.set(NODE_HEADER, this.#nodeId);
    const options = { headers, msgID: id, timeout: this.#session.intervals.ackMs };
    await this.#session.unlessLost(
      connection.jetstream().publish(subject, JSON.stringify(body), options),
    );
    for (const name of this.#ends.keys()) this.#ends.delete(name); // it may have gone to any of them
  }

  async tellOnce(
    stream: string,
    subject: string,
    body: JsonObject & { id: string },
  ): Promise<boolean> {
    const headers = newHeaders();
    headers.set(NODE_HEADER, this.#nodeId);
    for (let before = 0; ;) {
      const expect = { lastSubjectSequence: before };
      const options = { headers, msgID: body.id, expect, timeout: this.#session.intervals.ackMs };
      try {
        const jetStream = this.#session.live().jetstream();
        const telling = jetStream.publish(subject, JSON.stringify(body), options);
        const { duplicate } = await this.#session.unlessLost(telling);
        this.#ends.delete(stream);
        return !duplicate;
      } catch (error) {
        if (apiCode(error) !== WRONG_LAST) throw error;
      }
      const present = await newestOn(this.#session, stream, subject);
      if (present !== undefined && idIn(present.data) === body.id) return false;
      before = present?.position.seq ?? 0;
    }
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
    const options = { headers: this.#headers(message), timeout: this.#session.intervals.ackMs };
    const { subject, body } = message;
    return this.#session.unlessLost(connection.jetstream().publish(subject, body, options));
  }

  /** C4. */
  #headers({ lsn, part }: BusMessage): MsgHdrs {
    const headers = newHeaders();
    const position = part === undefined ? String(lsn) : `${lsn}.${part}`;
    headers.set('Nats-Msg-Id', `${this.#nodeId}:${position}`);
    headers.set(NODE_HEADER, this.#nodeId);
    headers.set(LSN, position);
    return headers;
  }

  get #nodeId(): string {
    return this.#session.options.nodeId;
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

/** `<lsn>` or `<lsn>.<part>`. */
function positionIn(header: string): number {
  const [lsn, part] = header.split('.').map(Number);
  return positionOf({ lsn: lsn || 0, part: part || 0 });
}
