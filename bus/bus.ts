/**
 * What the runtime wants of a message bus, and nothing of who gives it: bus/nats.ts is the one file that knows the client.
 */
import type { JsonObject, JsonValue } from '../machines/json.ts';

export interface BusLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface BusMessage {
  subject: string;
  /** JSON text. */
  body: string;
  /** Rises with every message of a writer; the same message always has the same. */
  lsn: number;
}

export interface StreamDefinition {
  name: string;
  description: string;
  subjects: string[];
  /** Bytes; the oldest messages go first. */
  maxBytes: number;
  /** Null: by size alone. */
  maxAgeMs: number | null;
}

export interface BusState {
  state: 'up' | 'down';
  /** Without credentials. */
  url: string;
  /** ISO-8601 UTC. */
  since: string;
  /** Why it is down, or what does not work although it is up. */
  reason: string | null;
  server_version: string | null;
  reconnects: number;
}

/** A message of a stream that somebody else wrote. */
export interface Incoming {
  subject: string;
  data: Uint8Array;
  /** Where it stands: exact over restarts of everything. */
  position: { stream: string; created: string; seq: number };
}

/** How an incoming message was dealt with: `done` it goes, `later` it is delivered again after a pause. */
export type Handled = 'done' | 'later';

export interface ServedRequest {
  /** Below the service's prefix: `cell.pause`. */
  name: string;
  summary: string;
  metadata: Record<string, string>;
  /** Throws RuntimeError; its code and message are the answer then. */
  run(input: JsonValue): Promise<JsonValue>;
}

export interface ServiceDefinition {
  name: string;
  version: string;
  description: string;
  metadata: Record<string, string>;
  prefix: string;
  requests: readonly ServedRequest[];
  /** Answers, or throws, what is asked below the prefix and is none of these. Only where nobody else serves there. */
  otherwise?: (name: string) => JsonValue;
}

export interface Bus {
  view(): BusState;
  readonly isUp: boolean;
  /** Largest message the server takes, in bytes. */
  readonly maxPayload: number;
  /** Called at each time the connection is there, first and again. */
  onUp(listener: () => void): void;
  /** The lsn of our last message in a stream; 0: it has none. */
  lastLsn(stream: string): Promise<number>;
  /**
   * Publishes to one stream, in order; resolves when the server has stored them all. Throws when that is not sure: then
   * `lastLsn` tells which of them it has.
   */
  publish(stream: string, messages: readonly BusMessage[]): Promise<void>;
  /** Publishes one message outside the order of the others; once for each id. */
  tell(subject: string, body: JsonObject, id: string): Promise<void>;
  /** Hands over what is in a stream and what comes, one at a time, until `close`. Messages survive us and the server. */
  consume(
    stream: string,
    options: { durable: string; subject: string },
    handle: (message: Incoming) => Promise<Handled>,
  ): void;
  /** Answers requests from the time the connection is there until `close`. */
  serve(service: ServiceDefinition): Promise<void>;
  close(): Promise<void>;
}
