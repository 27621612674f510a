/** Streams on the server: made as they are defined, and read without taking anything from them. */
import { jsonEqual } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import type { StreamDefinition } from './bus.ts';
import { apiCode, IN_USE, nanos, NO_MESSAGE, OVERLAPS } from './nats-client.ts';
import type {
  JetStreamManager,
  MsgHdrs,
  NatsConnection,
  StoredMsg,
  StreamConfig,
} from './nats-client.ts';

/** In which a message that is sent again is told by its id. */
const DUPLICATES_MS = 10 * 60_000;
/** Messages that are read at once, how long that may take, and for how long the server keeps such a reader. */
const RUN = 5000;
const RUN_MS = 5000;
const READER_MS = 30_000;
/** What is ours to decide of a stream that is there; the rest somebody may have changed. */
const WANTED = ['subjects', 'max_bytes', 'max_age', 'duplicate_window', 'description'] as const;

/** Made, or brought up to date; resolves with its name on this server. */
export async function ensure(manager: JetStreamManager, stream: StreamDefinition): Promise<string> {
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

export async function readersOf(manager: JetStreamManager, stream: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of manager.consumers.list(stream)) names.push(name);
  return names;
}

export async function storedAt(
  manager: JetStreamManager,
  stream: string,
  seq: number,
): Promise<MsgHdrs | undefined> {
  return (await orNone(manager.streams.getMessage(stream, { seq })))?.header;
}

/** Of a run of messages, both ends included, oldest first. */
export async function* headersIn(
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
export async function orNone(getting: Promise<StoredMsg>): Promise<StoredMsg | undefined> {
  try {
    return await getting;
  } catch (error) {
    if (apiCode(error) === NO_MESSAGE) return undefined;
    throw error;
  }
}
