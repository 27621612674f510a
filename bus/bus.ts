/**
 * What the runtime wants of a message bus, and nothing of who gives it: only bus/nats.ts and its parts know the client.
 */
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';

export interface BusLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface BusMessage {
  subject: string;
  /** JSON text. */
  body: string;
  /** Rises with every record of a writer; the same record always has the same. */
  lsn: number;
  /** Which of the record's messages it is, from 0; absent: its only one. At most `MOST_PARTS`. */
  part?: number;
}

export const MOST_PARTS = 1024;

/** Rises with every message of a writer. */
export const positionOf = ({ lsn, part = 0 }: Pick<BusMessage, 'lsn' | 'part'>): number =>
  lsn + part / MOST_PARTS;

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
  /** When the server took it, epoch ms by its clock. */
  at: number;
  /** The node that wrote it from its journal; null: somebody else did. */
  writer: string | null;
  /** It was handed over before, and nobody said what came of it: whoever had it may have been killed. */
  isAgain: boolean;
}

/** How an incoming message was dealt with: `done` it goes, `later` it is delivered again after a pause. */
export type Handled = 'done' | 'later';

/** How a stream stands when reading of it begins. */
export interface StreamPlace {
  /** When it was made, as the server says it: tells it from another of the same name. */
  created: string;
  lastSeq: number;
  /** Names of those who read it, kept by the server while they are away. */
  readers: readonly string[];
  /** How far we have come, as the server knows it; null: it knows nothing of us. */
  readUpTo: number | null;
}

export interface Reading {
  /** Name by which the server knows how far we have come. */
  durable: string;
  subject: string;
  /** After so long without us the server forgets it. */
  forgottenAfterMs: number;
  /** Asked at each beginning: from which message on, if the server does not know. */
  begin: (place: StreamPlace) => Promise<number>;
  handle: (message: Incoming) => Promise<Handled>;
}

/** Who is asked: whichever node serves, this one and no other, or every one of them. */
export type Way = 'any' | 'node' | 'each';

export interface ServedRequest {
  /** Below the service's prefix: `cell.pause`. */
  name: string;
  summary: string;
  metadata: Record<string, string>;
  /** Throws RuntimeError; its code and message are the answer then. */
  run(input: JsonValue, way: Way): Promise<JsonValue | BusAnswer>;
}

/** An answer as it came from a node, errors included. */
export class BusAnswer {
  readonly node: string | null;
  readonly body: JsonValue;
  readonly error: JsonObject | null;

  constructor({ node, body }: { node: string | null; body: JsonValue }, isError: boolean) {
    this.node = node;
    this.body = body;
    const { error } = isError && isJsonObject(body) ? body : { error: undefined };
    this.error = isJsonObject(error) ? error : isError ? {} : null;
  }
}

export interface ServiceDefinition {
  name: string;
  version: string;
  description: string;
  metadata: Record<string, string>;
  /** `<prefix>.<request>`: one of those who serve answers. */
  prefix: string;
  /** `<prefix>.node.<node>.<request>`: this one answers. */
  node: string;
  requests: readonly ServedRequest[];
  /** `<prefix>.each.<request>`: everyone answers. */
  each: readonly Pick<ServedRequest, 'name' | 'run'>[];
  /** Answers, or throws, what is none of these. */
  otherwise: (name: string) => JsonValue;
  /** Nobody else serves below the prefix: what is none of these is answered too. */
  isAlone: boolean;
}

export interface Bus {
  view(): BusState;
  readonly isUp: boolean;
  /** Largest message the server takes, in bytes. */
  readonly maxPayload: number;
  /** Called at each time the connection is there, first and again. */
  onUp(listener: () => void): void;
  /** Of our last message in a stream; 0: it has none. */
  lastPosition(stream: string): Promise<number>;
  /**
   * Publishes to one stream, in order; resolves when the server has stored them all. Throws when that is not sure: then
   * `lastPosition` tells which of them it has.
   */
  publish(stream: string, messages: readonly BusMessage[]): Promise<void>;
  /** Publishes one message outside the order of the others; once for each id. */
  tell(subject: string, body: JsonObject, id: string): Promise<void>;
  /**
   * As `tell`, by however many nodes and however late: once, as long as the stream keeps it. The subject is of this message
   * alone, but for others of a stream that is no more. False: it was there.
   */
  tellOnce(stream: string, subject: string, body: JsonObject & { id: string }): Promise<boolean>;
  /** Undefined: it is not in the stream (any more). */
  stored(stream: string, seq: number): Promise<Incoming | undefined>;
  /** The newest message on a subject. */
  newest(stream: string, subject: string): Promise<Incoming | undefined>;
  /** Names of those who read a stream. */
  readers(stream: string): Promise<string[]>;
  /** Hands over what is in a stream and what comes, one at a time, until `close`. Messages survive us and the server. */
  consume(stream: string, reading: Reading): void;
  /** Answers requests from the time the connection is there until `close`. */
  serve(service: ServiceDefinition): Promise<void>;
  /** Undefined: nobody listens there. Throws RuntimeError OUTCOME_UNKNOWN when no answer came in time. */
  ask(subject: string, input: JsonValue, timeoutMs: number): Promise<BusAnswer | undefined>;
  /** Everybody's answers, until there are so many, or so long. */
  askAll(
    subject: string,
    input: JsonValue,
    until: { answers: number; timeoutMs: number },
  ): Promise<BusAnswer[]>;
  close(): Promise<void>;
}
