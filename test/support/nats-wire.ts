/**
 * A NATS client that is nothing but a socket, so that what a server and a runtime answer is seen without a library of ours
 * in between: it sends the bytes that the NATS CLI sends, and holds what came back.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { MissionNode } from '../../actors/node.ts';
import type { BusRole } from '../../bus/nats-users.ts';

export interface WireMessage {
  subject: string;
  sid: string;
  reply: string | null;
  /** By lower-case name. `status`: the code that stands in the first line, where there is one. */
  headers: Record<string, string>;
  data: Buffer;
}

export interface WireOptions {
  /** `nats://127.0.0.1:4222` */
  url: string;
  user?: string;
  password?: string;
}

const PATIENCE_MS = 10_000;

export class WireClient {
  /** Everything that came, in order. */
  readonly messages: WireMessage[] = [];
  /** `-ERR` of the server, without the quotes. */
  readonly errors: string[] = [];
  info: Record<string, unknown> = {};
  closed = false;
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #pongs = 0;
  #sids = 0;
  /** Called when something came, or the end. */
  readonly #waiting = new Set<() => void>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(); // a request is three small writes
    socket.on('data', (chunk) => this.#take(chunk));
    const ended = (): void => {
      this.closed = true;
      this.#wake();
    };
    socket.on('close', ended);
    socket.on('error', ended);
  }

  /** The CONNECT of the CLI. Resolves when the server has said PONG to it; throws what the server said against it. */
  static async open({ url, user, password }: WireOptions): Promise<WireClient> {
    const { hostname, port } = new URL(url);
    const client = new WireClient(connect(Number(port), hostname));
    onTestFinished(() => client.close());
    const options = {
      verbose: false,
      pedantic: false,
      tls_required: false,
      ...(user === undefined ? {} : { user, pass: password }),
      name: 'NATS CLI Version 0.3.1',
      lang: 'go',
      version: '1.54.0',
      protocol: 1,
      echo: true,
      headers: true,
      no_responders: true,
    };
    client.raw(`CONNECT ${JSON.stringify(options)}\r\n`);
    await client.flush();
    return client;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** It stays connected and reads nothing any more, as a program does that is stopped or swapped out. */
  stall(): void {
    this.#socket.pause();
  }

  raw(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Resolves when the server has dealt with all that was sent. */
  async flush(): Promise<void> {
    const awaited = this.#pongs + 1;
    this.raw('PING\r\n');
    const isAnswered = (): boolean => this.#pongs >= awaited;
    await this.#until(() => {
      if (!isAnswered() && !this.closed) throw new Error('the server says nothing');
    });
    if (!isAnswered()) throw new Error(`closed by the server: ${this.errors.join('; ')}`);
  }

  inbox(): string {
    return `_INBOX.${randomBytes(11).toString('hex')}`;
  }

  subscribe(subject: string): string {
    this.#sids += 1;
    this.raw(`SUB ${subject}  ${this.#sids}\r\n`);
    return String(this.#sids);
  }

  publish(subject: string, data: string | Uint8Array = '', reply = ''): void {
    const body = Buffer.from(data);
    const head = `PUB ${subject} ${reply === '' ? '' : `${reply} `}${body.length}\r\n`;
    this.raw(Buffer.concat([Buffer.from(head), body, Buffer.from('\r\n')]));
  }

  /** `nats pub -H name:value` */
  publishWith(
    headers: Record<string, string>,
    subject: string,
    data: string | Uint8Array = '',
    reply = '',
  ): void {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const top = Buffer.from(`NATS/1.0\r\n${lines.join('')}\r\n`);
    const body = Buffer.from(data);
    const place = reply === '' ? subject : `${subject} ${reply}`;
    const head = `HPUB ${place} ${top.length} ${top.length + body.length}\r\n`;
    this.raw(Buffer.concat([Buffer.from(head), top, body, Buffer.from('\r\n')]));
  }

  /** `nats req`: subscribes an inbox, publishes, and takes the first answer. */
  async request(
    subject: string,
    data: string | Uint8Array = '',
    headers?: Record<string, string>,
  ): Promise<WireMessage> {
    const inbox = this.inbox();
    const sid = this.subscribe(inbox);
    const errorsBefore = this.errors.length;
    if (headers) this.publishWith(headers, subject, data, inbox);
    else this.publish(subject, data, inbox);
    this.raw(`UNSUB ${sid} 1\r\n`);
    const before = this.messages.length;
    return this.#until(() => {
      const found = this.messages.slice(before).find((message) => message.subject === inbox);
      if (found) return found;
      throw new Error(`no answer from ${subject}: ${this.errors.slice(errorsBefore).join('; ')}`);
    });
  }

  /** As `request`, for an answer that is JSON. */
  async ask(
    subject: string,
    data: string | Uint8Array = '',
    headers?: Record<string, string>,
  ): Promise<Record<string, unknown>> {
    return jsonOf(await this.request(subject, data, headers));
  }

  /** Messages whose subject is, or begins with, this. */
  on(subject: string): WireMessage[] {
    return this.messages.filter((message) => message.subject.startsWith(subject));
  }

  /** Looks again whenever something came; after the time throws what `check` threw last. */
  async #until<T>(check: () => T): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return check();
      } catch (error) {
        const left = deadline - performance.now();
        if (left <= 0) throw error;
        await this.#something(left);
      }
    }
  }

  #something(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, withinMs);
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#takeOne());
    this.#wake();
  }

  /** False when the next operation is not all there. */
  #takeOne(): boolean {
    const end = this.#rest.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.#rest.subarray(0, end).toString();
    const [op = '', ...words] = line.split(' ');
    if (op === 'MSG' || op === 'HMSG') {
      const size = Number(words.at(-1));
      if (this.#rest.length < end + 2 + size + 2) return false;
      const whole = this.#rest.subarray(end + 2, end + 2 + size);
      this.#rest = this.#rest.subarray(end + 2 + size + 2);
      this.messages.push(messageOf(words, op === 'HMSG', whole));
      return true;
    }
    this.#rest = this.#rest.subarray(end + 2);
    if (op === 'PING') this.raw('PONG\r\n');
    else if (op === 'PONG') this.#pongs += 1;
    else if (op === '-ERR') this.errors.push(line.slice(6, -1));
    else if (op === 'INFO') this.info = JSON.parse(line.slice(5)) as Record<string, unknown>;
    return true;
  }
}

/** With the credentials of a role, as somebody finds them who may read the node's files. */
export async function wireTo(node: MissionNode, role: BusRole = 'operator'): Promise<WireClient> {
  const file = JSON.parse(readFileSync(node.layout.node, 'utf8')) as { nats: { url: string } };
  const password = readFileSync(join(node.layout.nats, `${role}.token`), 'utf8').trim();
  return WireClient.open({ url: file.nats.url, user: role, password });
}

export const jsonOf = ({ data }: WireMessage): Record<string, unknown> =>
  JSON.parse(data.toString('utf8')) as Record<string, unknown>;

/** `subject sid [reply] [header bytes] bytes` */
function messageOf(words: string[], hasHeaders: boolean, whole: Buffer): WireMessage {
  const [subject = '', sid = '', ...rest] = words;
  const sizes = hasHeaders ? 2 : 1;
  const reply = rest.length > sizes ? (rest[0] ?? null) : null;
  const top = hasHeaders ? Number(rest.at(-2)) : 0;
  const headers = headersIn(whole.subarray(0, top).toString());
  return { subject, sid, reply, headers, data: Buffer.from(whole.subarray(top)) };
}

function headersIn(text: string): Record<string, string> {
  const [first = '', ...lines] = text.split('\r\n');
  const status = /^NATS\/1\.0 (\d+)/.exec(first)?.[1];
  const headers: Record<string, string> = status === undefined ? {} : { status };
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return headers;
}
