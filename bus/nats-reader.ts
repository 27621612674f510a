/**
 * What stands in the streams of a NATS server: looked up, or taken one by one as it comes (C7 of nats.ts).
 */
import type { Incoming, Reading } from './bus.ts';
import { NODE_HEADER } from './micro-service.ts';
import { messageOf, nanos } from './nats-client.ts';
import type { JetStreamManager, JsMsg } from './nats-client.ts';
import type { NatsSession } from './nats-session.ts';
import { orNone, readersOf } from './nats-stream.ts';

/** So many come at once from the server. */
const WINDOW = 256;

/** Undefined: it is not in the stream (any more). */
export function storedIn(
  session: NatsSession,
  stream: string,
  seq: number,
): Promise<Incoming | undefined> {
  return messageIn(session, stream, { seq });
}

/** The newest message on a subject. */
export function newestOn(
  session: NatsSession,
  stream: string,
  subject: string,
): Promise<Incoming | undefined> {
  return messageIn(session, stream, { last_by_subj: subject });
}

async function messageIn(
  session: NatsSession,
  stream: string,
  query: { seq: number } | { last_by_subj: string },
): Promise<Incoming | undefined> {
  const manager = await session.jetStream();
  const name = session.nameOf(stream);
  const found = await session.unlessLost(orNone(manager.streams.getMessage(name, query)));
  if (found === undefined) return undefined;
  const { created } = await session.unlessLost(manager.streams.info(name));
  const { subject, data, seq, time, header } = found;
  const position = { stream: name, created, seq };
  const writer = header.get(NODE_HEADER) || null;
  return { subject, data, position, at: time.getTime(), writer, isAgain: true };
}

/** Hands over what is in a stream and what comes, one at a time, until the session is closed. */
export async function consume(
  session: NatsSession,
  stream: string,
  reading: Reading,
): Promise<void> {
  while (!session.isClosed) {
    try {
      const manager = await session.jetStream();
      const name = session.nameOf(stream);
      const created = await beginReading(session, manager, { stream: name, reading });
      const getting = session.live().jetstream().consumers.get(name, reading.durable);
      const consumer = await session.unlessLost(getting);
      while (!session.isClosed && session.isUp) {
        const messages = await consumer.fetch({
          max_messages: WINDOW,
          expires: session.intervals.readMs,
        });
        await session.whileReading(messages, async () => {
          for await (const message of messages)
            await take(message, { stream: name, created }, { reading, session });
        });
      }
    } catch (error) {
      if (session.isClosed) return;
      if (session.isUp)
        session.options.log.warn({ stream, reason: messageOf(error) }, 'NATS consumer');
      await session.pause();
    }
  }
}

/** Makes our reader, or brings it up to date; resolves with the time at which the stream was made. */
async function beginReading(
  session: NatsSession,
  manager: JetStreamManager,
  { stream, reading }: { stream: string; reading: Reading },
): Promise<string> {
  const { durable, subject, forgottenAfterMs, begin } = reading;
  const { created, state } = await session.unlessLost(manager.streams.info(stream));
  const readers = await session.unlessLost(readersOf(manager, stream));
  const ours = readers.includes(durable)
    ? await session.unlessLost(manager.consumers.info(stream, durable))
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
      ack_wait: nanos(session.intervals.redeliveryMs),
      max_ack_pending: 1, // C7
      inactive_threshold: inactive,
    });
    await session.unlessLost(adding);
  } else if (ours.config.inactive_threshold !== inactive) {
    const wanted = { inactive_threshold: inactive };
    await session.unlessLost(manager.consumers.update(stream, durable, wanted));
  }
  return created;
}

async function take(
  message: JsMsg,
  place: { stream: string; created: string },
  { reading, session }: { reading: Reading; session: NatsSession },
): Promise<void> {
  const { subject, data, seq, redelivered, info } = message;
  const at = Math.floor(info.timestampNanos / 1e6);
  const position = { ...place, seq };
  const writer = message.headers?.get(NODE_HEADER) || null;
  const handled = await reading.handle({
    subject,
    data,
    position,
    at,
    writer,
    isAgain: redelivered,
  });
  if (handled === 'done') message.ack();
  else message.nak(session.intervals.retryMs);
}
