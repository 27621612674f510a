/**
 * The runtime as a NATS micro service (ADR-32): what `nats micro ls|info|stats` reads, and the requests themselves. The
 * client's own service counts no error of a handler that answers later, and no time of it.
 *
 * Q1 Every answer names its node, errors too: one of several nodes may have given it.
 * Q2 Errors go where the NATS CLI looks for them, in the headers, and as a body too.
 * Q3 Requests are bounded in size and number, and are answered in turns (turns.ts); what finds no room is answered BUSY.
 */
import { randomBytes } from 'node:crypto';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { BusAnswer } from './bus.ts';
import type { BusLog, ServedRequest, ServiceDefinition, Way } from './bus.ts';
import { parseBytes } from './json-body.ts';
import { Turns } from './turns.ts';
import { httpStatusOf, toWireError } from './wire-error.ts';
import type { WireError } from './wire-error.ts';

/** Of everything that a node publishes or answers: which node. */
export const NODE_HEADER = 'Lazarus-Node';
export const ERROR_HEADER = 'Nats-Service-Error';
export const ERROR_CODE_HEADER = 'Nats-Service-Error-Code';

export interface Asked {
  subject: string;
  data: Uint8Array;
  respond(body: string, headers: Readonly<Record<string, string>>): void;
}

/** What it needs of a connection. `queue`: one of those who listen under this name gets each message; null: everyone. */
export interface Listening {
  subscribe(subject: string, queue: string | null, take: (asked: Asked) => void): void;
  readonly maxPayload: number;
}

/** Of what a service may call its version. */
const SEMVER = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;
const QUEUE = 'q';
const MAX_ERROR = 1000;
/** Q3. */
const MAX_REQUEST = 1 << 20;
const MAX_UNDER_WAY = { most: 256, mostBytes: 32 << 20 };
/** Made once: in a flood it is said often. */
const BUSY = toWireError(
  new RuntimeError('too many requests are under way', { code: 'BUSY', retryable: true }),
);

interface Figures {
  num_requests: number;
  num_errors: number;
  last_error: string;
  /** ns */
  processing_time: number;
}

interface Endpoint {
  name: string;
  subject: string;
  metadata: Record<string, string>;
  figures: Figures;
}

export class MicroService {
  readonly #definition: ServiceDefinition;
  readonly #log: BusLog;
  readonly #identity: { name: string; id: string; version: string; metadata: object };
  readonly #started = new Date().toISOString();
  readonly #endpoints: Endpoint[];
  readonly #turns = new Turns(MAX_UNDER_WAY);

  constructor(definition: ServiceDefinition, log: BusLog) {
    const { name, version, metadata, prefix, node, requests } = definition;
    this.#definition = definition;
    this.#log = log;
    const id = randomBytes(12).toString('hex');
    this.#identity = { name, id, version: SEMVER.test(version) ? version : '0.0.0', metadata };
    this.#endpoints = requests.map((request) => ({
      name: request.name.replaceAll('.', '-'),
      subject: `${prefix}.${request.name}`,
      metadata: { summary: request.summary, ...request.metadata },
      figures: nothingYet(),
    }));
    this.#endpoints.push({
      name: 'node',
      subject: `${prefix}.node.${node}.>`,
      metadata: { summary: 'Each of these requests, of this node and no other.' },
      figures: nothingYet(),
    });
  }

  /** For each connection once. */
  listen(on: Listening): void {
    this.#answerQuestions(on);
    const { prefix, node, requests, each, otherwise, isAlone } = this.#definition;
    const serve = (subject: string, queue: string | null, find: Finder, way: Way): void =>
      on.subscribe(subject, queue, (asked) => {
        const endpoint = this.#endpoints.find((known) => known.subject === subject);
        this.#take(asked, find(asked.subject), { way, endpoint, on });
      });
    const unknown = (name: string): Servable => ({ name, run: async () => otherwise(name) });
    for (const request of requests) serve(`${prefix}.${request.name}`, QUEUE, () => request, 'any');
    for (const [place, queue, list, way] of [
      [`${prefix}.node.${node}.`, QUEUE, requests, 'node'],
      [`${prefix}.each.`, null, each, 'each'],
    ] as const) {
      const known = new Map<string, Servable>(list.map((request) => [request.name, request]));
      const find: Finder = (subject) => {
        const name = subject.slice(place.length);
        return known.get(name) ?? unknown(name);
      };
      serve(`${place}>`, queue, find, way);
    }
    if (!isAlone) return;
    const served = new Set(requests.map(({ name }) => `${prefix}.${name}`));
    const isServed = (subject: string): boolean =>
      served.has(subject) ||
      [`${prefix}.node.${node}.`, `${prefix}.each.`].some((place) => subject.startsWith(place));
    on.subscribe(`${prefix}.>`, 'otherwise', (asked) => {
      if (isServed(asked.subject)) return;
      const name = asked.subject.slice(prefix.length + 1);
      this.#take(asked, unknown(name), { way: 'any', endpoint: undefined, on });
    });
  }

  /** PING, INFO and STATS: of all services, of those of this name, of this one. */
  #answerQuestions(on: Listening): void {
    const { name, id } = this.#identity;
    const questions: [string, () => object][] = [
      ['PING', () => ({})],
      ['INFO', () => this.#info()],
      ['STATS', () => ({ started: this.#started, endpoints: this.#stats() })],
    ];
    for (const [verb, say] of questions)
      for (const subject of [`$SRV.${verb}`, `$SRV.${verb}.${name}`, `$SRV.${verb}.${name}.${id}`])
        on.subscribe(subject, null, (asked) => {
          const type = `io.nats.micro.v1.${verb.toLowerCase()}_response`;
          this.#respond(asked, JSON.stringify({ type, ...this.#identity, ...say() }), {});
        });
  }

  #info(): object {
    const { description } = this.#definition;
    const endpoints = this.#endpoints.map(({ name, subject, metadata }) => ({
      name,
      subject,
      queue_group: QUEUE,
      metadata,
    }));
    return { description, endpoints };
  }

  #stats(): object[] {
    return this.#endpoints.map(({ name, subject, figures }) => ({
      name,
      subject,
      queue_group: QUEUE,
      ...figures,
      average_processing_time: Math.round(
        figures.processing_time / Math.max(1, figures.num_requests),
      ),
    }));
  }

  /** Q3. */
  #take(asked: Asked, request: Servable, about: About): void {
    const { length } = asked.data;
    if (length > MAX_REQUEST) {
      const message = `a request of ${length} bytes; ${MAX_REQUEST} are the most`;
      this.#refuse(asked, toWireError(new RuntimeError(message, { code: 'TOO_LARGE' })), about);
    } else if (!this.#turns.take(length, () => this.#answer(asked, request, about)))
      this.#refuse(asked, BUSY, about);
  }

  #refuse(asked: Asked, error: WireError, { endpoint }: About): void {
    const answer = errorAnswer({ ...error }, this.#node);
    if (endpoint) count(endpoint.figures, answer, 0);
    this.#respond(asked, answer.body, answer.headers);
  }

  async #answer(asked: Asked, request: Servable, { way, endpoint, on }: About): Promise<void> {
    const since = process.hrtime.bigint();
    let answer: Answer;
    try {
      answer = answerOf(await request.run(parseBytes(asked.data), way), this.#node);
      if (Buffer.byteLength(answer.body) > on.maxPayload)
        throw new RuntimeError('the answer is longer than the server takes in one message', {
          code: 'TOO_LARGE',
          hint: 'Ask for one cell (svc.lazarus.cell.show), or raise max_payload of the server.',
        });
    } catch (error) {
      const wire = toWireError(error);
      answer = errorAnswer({ ...wire }, this.#node);
      if (wire.code === 'INTERNAL')
        this.#log.warn({ request: request.name, error: String(error) }, 'request failed');
    }
    if (endpoint) count(endpoint.figures, answer, Number(process.hrtime.bigint() - since));
    this.#respond(asked, answer.body, answer.headers);
  }

  get #node(): string {
    return this.#definition.node;
  }

  #respond(asked: Asked, body: string, headers: Readonly<Record<string, string>>): void {
    try {
      asked.respond(body, headers);
    } catch (error) {
      // The connection was closed meanwhile: whoever asked will not hear of it, and asks again.
      this.#log.warn({ subject: asked.subject, error: String(error) }, 'an answer was not sent');
    }
  }
}

interface About {
  way: Way;
  endpoint: Endpoint | undefined;
  on: Listening;
}

type Servable = Pick<ServedRequest, 'name' | 'run'>;
type Finder = (subject: string) => Servable;

interface Answer {
  body: string;
  headers: Readonly<Record<string, string>>;
}

function answerOf(result: JsonValue | BusAnswer, node: string): Answer {
  if (!(result instanceof BusAnswer))
    return { body: JSON.stringify(result), headers: { [NODE_HEADER]: node } };
  const by = result.node ?? node;
  if (result.error) return errorAnswer(result.error, by);
  return { body: JSON.stringify(result.body), headers: { [NODE_HEADER]: by } };
}

/** Q2. */
function errorAnswer(wire: Record<string, JsonValue>, node: string): Answer {
  const { code, message } = wire;
  const known = typeof code === 'string' ? code : 'INTERNAL';
  const description = `${known}: ${typeof message === 'string' ? message : ''}`;
  return {
    body: JSON.stringify({ error: wire }),
    headers: {
      [NODE_HEADER]: node,
      [ERROR_CODE_HEADER]: String(httpStatusOf(known)),
      [ERROR_HEADER]: description.replace(/[\r\n]+/g, ' ').slice(0, MAX_ERROR),
    },
  };
}

const nothingYet = (): Figures => ({
  num_requests: 0,
  num_errors: 0,
  last_error: '',
  processing_time: 0,
});

function count(figures: Figures, { headers }: Answer, tookNs: number): void {
  const error = headers[ERROR_HEADER];
  figures.num_requests += 1;
  figures.processing_time += tookNs;
  if (error === undefined) return;
  figures.num_errors += 1;
  figures.last_error = error;
}
