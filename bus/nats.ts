/**
 * The bus on NATS with JetStream: a connection (nats-session.ts), what is published on it (nats-publisher.ts), read from its
 * streams (nats-reader.ts), asked and answered (nats-requests.ts). Only nats-client.ts imports the client.
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
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { Bus, BusAnswer, BusMessage, BusState, Incoming } from './bus.ts';
import type { Reading, ServiceDefinition } from './bus.ts';
import { MicroService } from './micro-service.ts';
import { serversOf } from './nats-options.ts';
import type { NatsOptions } from './nats-options.ts';
import { NatsPublisher } from './nats-publisher.ts';
import { consume, newestOn, storedIn } from './nats-reader.ts';
import { ask, askAll, listeningOn } from './nats-requests.ts';
import { NatsSession } from './nats-session.ts';
import { readersOf } from './nats-stream.ts';

export type { BusIntervals, Credentials, NatsOptions } from './nats-options.ts';

export class NatsBus implements Bus {
  readonly #session: NatsSession;
  readonly #publisher: NatsPublisher;
  readonly #consumers: Promise<void>[] = [];

  private constructor(options: NatsOptions) {
    this.#session = new NatsSession(options);
    this.#publisher = new NatsPublisher(this.#session);
  }

  /** Returns at once; `onUp` tells when there is a connection. Throws INVALID_ARGUMENT for a url that is none. */
  static open(options: NatsOptions): NatsBus {
    serversOf(options.url);
    const bus = new NatsBus(options);
    bus.#session.start();
    return bus;
  }

  get isUp(): boolean {
    return this.#session.isUp;
  }

  get maxPayload(): number {
    return this.#session.maxPayload;
  }

  view(): BusState {
    return this.#session.view();
  }

  onUp(listener: () => void): void {
    this.#session.onUp(listener);
  }

  lastPosition(stream: string): Promise<number> {
    return this.#publisher.lastPosition(stream);
  }

  publish(stream: string, messages: readonly BusMessage[]): Promise<void> {
    return this.#publisher.publish(stream, messages);
  }

  tell(subject: string, body: JsonObject, id: string): Promise<void> {
    return this.#publisher.tell(subject, body, id);
  }

  tellOnce(stream: string, subject: string, body: JsonObject & { id: string }): Promise<boolean> {
    return this.#publisher.tellOnce(stream, subject, body);
  }

  stored(stream: string, seq: number): Promise<Incoming | undefined> {
    return storedIn(this.#session, stream, seq);
  }

  newest(stream: string, subject: string): Promise<Incoming | undefined> {
    return newestOn(this.#session, stream, subject);
  }

  async readers(stream: string): Promise<string[]> {
    const session = this.#session;
    return session.unlessLost(readersOf(await session.jetStream(), session.nameOf(stream)));
  }

  consume(stream: string, reading: Reading): void {
    this.#consumers.push(consume(this.#session, stream, reading));
  }

  async serve(definition: ServiceDefinition): Promise<void> {
    const service = new MicroService(definition, this.#session.options.log);
    this.#session.serve((connection) => service.listen(listeningOn(connection)));
  }

  async ask(subject: string, input: JsonValue, timeoutMs: number): Promise<BusAnswer | undefined> {
    return ask(this.#session.live(), subject, { input, timeoutMs });
  }

  async askAll(
    subject: string,
    input: JsonValue,
    until: { answers: number; timeoutMs: number },
  ): Promise<BusAnswer[]> {
    return askAll(this.#session.live(), subject, { input, ...until });
  }

  async close(): Promise<void> {
    await this.#session.close();
    await Promise.all(this.#consumers);
  }
}
