/**
 * JSON-RPC messages as lines over two streams, for the SDK's stdio entry. The SDK's own transport gives up what is under way
 * when its input ends, reads on however much waits for an answer, and says nothing of a line that is no message.
 *
 * L1 What was asked is answered before the connection ends, whatever ended it, as long as the client listens.
 * L2 While MAX_UNANSWERED requests wait, for an answer or for the client to take it, nothing more is read.
 * L3 A message of more than MAX_MESSAGE_BYTES ends what is read: nothing that follows can be told from it.
 * L4 A line that is no message changes nothing; it is reported, and answered if it has an id.
 */
import {
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  parseJSONRPCMessage,
  ProtocolErrorCode,
  serializeMessage,
  SUBSCRIPTION_ID_META_KEY,
} from '@modelcontextprotocol/server';
import type { JSONRPCMessage, RequestId, Transport } from '@modelcontextprotocol/server';
import type { Readable, Writable } from 'node:stream';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { isTooDeep, TOO_DEEP } from './mcp-depth.ts';

const MAX_MESSAGE_BYTES = 4 << 20;
const MAX_UNANSWERED = 256;
/** More, and they are made one: a client may send byte by byte. */
const MAX_PIECES = 1024;
const NEWLINE = 10;

export interface ConnectionEnd {
  /** Why it is over though the client did not end it. */
  error?: Error;
}

export class LineTransport implements Transport {
  onmessage?: NonNullable<Transport['onmessage']>;
  onerror?: (error: Error) => void;
  onclose?: () => void;
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #ended = Promise.withResolvers<ConnectionEnd>();
  /** How many requests of an id wait: a client may use one twice. */
  readonly #unanswered = new Map<RequestId, number>();
  #waiting = 0;
  /** Of a line whose end has not come. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** Nothing more is read. */
  #over: ConnectionEnd | undefined;
  #isClosed = false;

  constructor(input: Readable, output: Writable) {
    this.#input = input;
    this.#output = output;
  }

  /** Resolves when the client has ended its side, or more was said than is taken, and all is answered. */
  get ended(): Promise<ConnectionEnd> {
    return this.#ended.promise;
  }

  async start(): Promise<void> {
    this.#output.on('error', () => this.#ended.resolve({})); // the client is gone
    this.#input
      .on('data', this.#read)
      .once('error', (error) => this.#stop({ error }))
      .once('end', () => this.#stop({}))
      .once('close', () => this.#stop({}));
  }

  async send(message: JSONRPCMessage): Promise<void> {
    try {
      await this.#write(serializeMessage(message));
    } finally {
      const id = answeredBy(message);
      if (id !== undefined) this.#settle(id);
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stop({});
    this.#ended.resolve({});
    this.onclose?.();
  }

  readonly #read = (chunk: Buffer): void => {
    let from = 0;
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      if (!this.#keep(chunk.subarray(from, to))) return;
      const line = Buffer.concat(this.#pieces).toString('utf8');
      this.#pieces = [];
      this.#pieceBytes = 0;
      from = to + 1;
      this.#take(line);
    }
    if (!this.#keep(chunk.subarray(from))) return;
    if (this.#waiting >= MAX_UNANSWERED) this.#input.pause();
  };

  /** L3: whether it was kept. */
  #keep(piece: Buffer): boolean {
    this.#pieceBytes += piece.length;
    if (this.#pieceBytes > MAX_MESSAGE_BYTES) {
      this.#pieces = [];
      this.#stop({ error: new Error(`a message has more than ${MAX_MESSAGE_BYTES} bytes`) });
      return false;
    }
    if (piece.length > 0) this.#pieces.push(piece);
    if (this.#pieces.length > MAX_PIECES) this.#pieces = [Buffer.concat(this.#pieces)];
    return true;
  }

  /** L4. */
  #take(line: string): void {
    if (line.trim() === '') return;
    let content: JsonValue = null;
    let message: JSONRPCMessage;
    try {
      content = JSON.parse(line) as JsonValue;
      if (isTooDeep(content)) throw new Error(TOO_DEEP);
      message = parseJSONRPCMessage(content);
    } catch (error) {
      this.onerror?.(error instanceof Error ? error : new Error(String(error)));
      this.#refuse(content);
      return;
    }
    if (isJSONRPCRequest(message)) this.#await(message.id);
    this.onmessage?.(message);
    const cancelled = cancelledBy(message);
    if (cancelled !== undefined) this.#settle(cancelled);
  }

  #refuse(content: JsonValue): void {
    const id = idOf(content);
    if (id === undefined) return;
    this.#await(id);
    const message = isTooDeep(content) ? TOO_DEEP : 'this is no request of JSON-RPC 2.0';
    const error = { code: ProtocolErrorCode.InvalidRequest, message };
    this.send({ jsonrpc: '2.0', id, error }).catch(() => {}); // the client is gone, which `start` hears
  }

  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#output.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }

  #await(id: RequestId): void {
    this.#unanswered.set(id, (this.#unanswered.get(id) ?? 0) + 1);
    this.#waiting += 1;
  }

  /** L1, L2. */
  #settle(id: RequestId): void {
    const count = this.#unanswered.get(id);
    if (count === undefined) return;
    if (count === 1) this.#unanswered.delete(id);
    else this.#unanswered.set(id, count - 1);
    this.#waiting -= 1;
    if (this.#over !== undefined) this.#endIfAnswered(this.#over);
    else if (this.#waiting < MAX_UNANSWERED && this.#input.isPaused()) this.#input.resume();
  }

  #stop(why: ConnectionEnd): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    this.#input.off('data', this.#read).pause();
    this.#endIfAnswered(why);
  }

  #endIfAnswered(end: ConnectionEnd): void {
    if (this.#waiting === 0) this.#ended.resolve(end);
  }
}

/** A subscription has no answer while it lasts: what acknowledges it stands for one. */
function answeredBy(message: JSONRPCMessage): RequestId | undefined {
  if (isJSONRPCResponse(message)) return message.id;
  if (!isJSONRPCNotification(message)) return undefined;
  return message.params?._meta?.[SUBSCRIPTION_ID_META_KEY] as RequestId | undefined;
}

/** What is cancelled is not answered. */
function cancelledBy(message: JSONRPCMessage): RequestId | undefined {
  if (!isJSONRPCNotification(message) || message.method !== 'notifications/cancelled')
    return undefined;
  return message.params?.['requestId'] as RequestId | undefined;
}

/** Of what was meant as a request. */
function idOf(content: JsonValue): RequestId | undefined {
  if (!isJsonObject(content) || !('method' in content)) return undefined;
  const { id } = content;
  return typeof id === 'string' || typeof id === 'number' ? id : undefined;
}
