/**
 * Servers that speak the wires of Ollama (`/api/chat`, NDJSON) and of Anthropic (`/v1/messages`, SSE) on loopback, one
 * scripted reply a request. They are strict: a request that the real server would refuse, or would silently read otherwise
 * than it is meant, is refused and listed under `violations`, which every test ends by looking at.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { anthropicViolations, ollamaViolations } from './llm-strict.ts';

export interface Hit {
  body: JsonObject;
  headers: IncomingMessage['headers'];
  /** The caller went away before the reply was whole. */
  wasAborted: boolean;
  isOver: boolean;
}

export type Reply = (response: ServerResponse, hit: Hit) => void | Promise<void>;

export class LlmServer {
  readonly url: string;
  /** Requests for an answer, in order. Questions about the server itself are not among them. */
  readonly hits: Hit[] = [];
  readonly violations: string[] = [];
  /** What Ollama's server says that it has. */
  models: string[] | 'unsaid' = ['qwen2.5:7b'];
  /** Used in order; after the last one `otherwise`. */
  script: Reply[] = [];
  otherwise: Reply;
  readonly #server: Server;

  constructor(server: Server, otherwise: Reply) {
    this.#server = server;
    this.otherwise = otherwise;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  next(): Reply {
    return this.script.shift() ?? this.otherwise;
  }

  get texts(): string[] {
    return this.hits.map(({ body }) => JSON.stringify(body));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

type Check = (body: JsonObject, headers: IncomingMessage['headers']) => string[];

async function open(
  path: string,
  check: Check,
  refuse: (problem: string) => Reply,
  otherwise: Reply,
  beside?: (request: IncomingMessage, response: ServerResponse, server: LlmServer) => boolean,
): Promise<LlmServer> {
  const http = createServer((request, response) => void handle(request, response));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const server = new LlmServer(http, otherwise);
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (beside?.(request, response, server)) return;
    const body = await bodyOf(request);
    const hit: Hit = { body, headers: request.headers, wasAborted: false, isOver: false };
    server.hits.push(hit);
    response.on('close', () => {
      hit.isOver = true;
      if (!response.writableFinished) hit.wasAborted = true;
    });
    const problems =
      request.method === 'POST' && request.url === path
        ? check(body, request.headers)
        : [`${request.method} ${request.url}`];
    server.violations.push(...problems);
    const [first] = problems;
    await (first === undefined ? server.next() : refuse(first))(response, hit);
  };
  return server;
}

async function bodyOf(request: IncomingMessage): Promise<JsonObject> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  const value = JSON.parse(text) as JsonValue;
  return isJsonObject(value) ? value : {};
}

export function openOllama(otherwise: Reply = ollama.answer('{}')): Promise<LlmServer> {
  return open(
    '/api/chat',
    ollamaViolations,
    (text) => ollama.error(400, text),
    otherwise,
    aboutOllama,
  );
}

function aboutOllama(
  { url }: IncomingMessage,
  response: ServerResponse,
  server: LlmServer,
): boolean {
  if (url === '/api/version') json(response, 200, { version: '0.32.1' });
  else if (url !== '/api/tags') return false;
  else if (server.models === 'unsaid') json(response, 404, { error: 'not found' });
  else json(response, 200, { models: server.models.map((name) => ({ name, model: name })) });
  return true;
}

export function openAnthropic(
  key: string,
  otherwise: Reply = claude.answer('{}'),
): Promise<LlmServer> {
  const check: Check = (body, headers) => anthropicViolations(body, headers, key);
  const refuse = (text: string): Reply => claude.error(400, 'invalid_request_error', text);
  return open('/v1/messages', check, refuse, otherwise);
}

function json(
  response: ServerResponse,
  status: number,
  body: JsonValue,
  headers: Headers = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

type Headers = Record<string, string>;

/** For both wires. */
export const anyWire = {
  /** Accepts and says nothing. */
  silent: (): Reply => () => undefined,
  /** Closes the connection before it says anything. */
  gone: (): Reply => (response) => void response.destroy(),
  /** A page of some proxy. */
  page:
    (status: number, text: string): Reply =>
    (response) => {
      response.writeHead(status, { 'content-type': 'text/html' });
      response.end(text);
    },
  redirect:
    (to: string): Reply =>
    (response) => {
      response.writeHead(307, { location: to });
      response.end();
    },
};

interface OllamaAnswer {
  doneReason?: string;
  promptTokens?: number;
  tokens?: number;
  /** ms between two parts. */
  dripMs?: number;
  thinking?: string;
  toolCalls?: JsonValue;
  model?: string;
}

const line = (value: JsonValue): string => `${JSON.stringify(value)}\n`;
const part = (content: string, more: JsonObject = {}): string =>
  line({
    model: 'qwen2.5:7b',
    created_at: '2026-11-21T10:00:00Z',
    message: { role: 'assistant', content, ...more },
    done: false,
  });

const startNdjson = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
};

const halves = (text: string): string[] => [
  text.slice(0, Math.ceil(text.length / 2)),
  text.slice(Math.ceil(text.length / 2)),
];

export const ollama = {
  answer:
    (text: string, more: OllamaAnswer = {}): Reply =>
    async (response, hit) => {
      startNdjson(response);
      if (more.thinking) response.write(part('', { thinking: more.thinking }));
      if (more.toolCalls) response.write(part('', { tool_calls: more.toolCalls }));
      for (const piece of halves(text)) {
        response.write(part(piece));
        if (more.dripMs) await sleep(more.dripMs);
      }
      response.end(
        line({
          model: more.model ?? 'qwen2.5:7b',
          created_at: '2026-11-21T10:00:01Z',
          message: { role: 'assistant', content: '' },
          done: true,
          done_reason: more.doneReason ?? 'stop',
          total_duration: 1_000_000,
          prompt_eval_count: more.promptTokens ?? promptTokens(hit.body),
          eval_count: more.tokens ?? Math.ceil(text.length / 3.5),
        }),
      );
    },
  error:
    (status: number, error: string, headers: Headers = {}): Reply =>
    (response) =>
      json(response, status, { error }, headers),
  /** Headers, and then nothing. */
  stalled: (): Reply => startNdjson,
  /** A part of an answer, and then nothing. */
  stuck: (): Reply => (response) => {
    startNdjson(response);
    response.write(part('{"act'));
  },
  brokenOff: (): Reply => async (response) => {
    startNdjson(response);
    response.write(part('{"act'));
    await sleep(10);
    response.destroy();
  },
  /** A clean end without the last line. */
  unfinished: (): Reply => (response) => {
    startNdjson(response);
    response.end(part('{"act'));
  },
  errorInStream:
    (error: string): Reply =>
    (response) => {
      startNdjson(response);
      response.write(part('{"act'));
      response.end(line({ error }));
    },
  brokenLine: (): Reply => (response) => {
    startNdjson(response);
    response.end(`${part('{"action"')}{"model": "qwen\n${part(': 1}')}${line({ done: true })}`);
  },
};

function promptTokens({ messages }: JsonObject): number {
  return Math.ceil(JSON.stringify(messages).length / 3.5);
}

interface ClaudeAnswer {
  stopReason?: string;
  category?: string;
  usage?: JsonObject;
  thinking?: string;
  dripMs?: number;
  model?: string;
  pings?: number;
}

const event = (type: string, data: JsonObject = {}): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;

const delta = (text: string, index = 0): string =>
  event('content_block_delta', { index, delta: { type: 'text_delta', text } });

function startSse(response: ServerResponse, hit: Hit, more: ClaudeAnswer = {}): void {
  const headers = { 'content-type': 'text/event-stream', 'request-id': 'req_fake' };
  response.writeHead(200, headers);
  response.write(
    event('message_start', {
      message: {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: more.model ?? String(hit.body['model']),
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: {
          input_tokens: promptTokens(hit.body),
          output_tokens: 1,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 0,
          ...more.usage,
        },
      },
    }),
  );
}

const startText = (index = 0): string =>
  event('content_block_start', { index, content_block: { type: 'text', text: '' } });

export const claude = {
  answer:
    (text: string, more: ClaudeAnswer = {}): Reply =>
    async (response, hit) => {
      startSse(response, hit, more);
      for (let n = 0; n < (more.pings ?? 1); n += 1) {
        response.write(event('ping'));
        if (more.pings && more.dripMs) await sleep(more.dripMs);
      }
      let index = 0;
      if (more.thinking) {
        const block = { type: 'thinking', thinking: '', signature: '' };
        response.write(event('content_block_start', { index, content_block: block }));
        const thought = { type: 'thinking_delta', thinking: more.thinking };
        response.write(event('content_block_delta', { index, delta: thought }));
        response.write(event('content_block_stop', { index }));
        index += 1;
      }
      response.write(startText(index));
      for (const piece of halves(text)) {
        response.write(delta(piece, index));
        if (more.dripMs) await sleep(more.dripMs);
      }
      response.write(event('content_block_stop', { index }));
      const stop_details =
        more.stopReason === 'refusal'
          ? { type: 'refusal', category: more.category ?? null, explanation: null }
          : null;
      response.write(
        event('message_delta', {
          delta: { stop_reason: more.stopReason ?? 'end_turn', stop_sequence: null, stop_details },
          usage: { output_tokens: Math.ceil(text.length / 3.5) + 1 },
        }),
      );
      response.end(event('message_stop'));
    },
  error:
    (
      status: number,
      type: string,
      message: string,
      more: { headers?: Headers; code?: string } = {},
    ): Reply =>
    (response) => {
      const details = more.code === undefined ? {} : { details: { error_code: more.code } };
      const body = { type: 'error', error: { type, message, ...details }, request_id: 'req_fake' };
      json(response, status, body, { 'request-id': 'req_fake', ...more.headers });
    },
  stalled: (): Reply => (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
  },
  stuck: (): Reply => (response, hit) => {
    startSse(response, hit);
    response.write(startText() + delta('{"act'));
  },
  /** Signs of life and no answer. */
  pingsOnly:
    (everyMs: number): Reply =>
    async (response, hit) => {
      startSse(response, hit);
      while (!hit.isOver) {
        response.write(event('ping'));
        await sleep(everyMs);
      }
    },
  brokenOff: (): Reply => async (response, hit) => {
    startSse(response, hit);
    response.write(startText() + delta('{"act'));
    await sleep(10);
    response.destroy();
  },
  unfinished: (): Reply => (response, hit) => {
    startSse(response, hit);
    response.end(startText() + delta('{"act'));
  },
  errorInStream:
    (type: string, message = type): Reply =>
    (response, hit) => {
      startSse(response, hit);
      response.write(startText() + delta('{"act'));
      response.end(
        `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type, message } })}\n\n`,
      );
    },
  brokenData: (): Reply => (response, hit) => {
    startSse(response, hit);
    response.end(`event: content_block_delta\ndata: {"type": "content_bl\n\n`);
  },
  /** A tool's input nobody asked for, and not whole. */
  strayToolInput:
    (text: string): Reply =>
    (response, hit) => {
      startSse(response, hit);
      const tool = { type: 'tool_use', id: 'toolu_1', name: 'x', input: {} };
      response.write(event('content_block_start', { index: 0, content_block: tool }));
      const input = { type: 'input_json_delta', partial_json: '{"a": ' };
      response.write(event('content_block_delta', { index: 0, delta: input }));
      response.write(event('content_block_stop', { index: 0 }));
      response.write(startText(1) + delta(text, 1) + event('content_block_stop', { index: 1 }));
      const end = { stop_reason: 'end_turn', stop_sequence: null, stop_details: null };
      response.write(event('message_delta', { delta: end, usage: { output_tokens: 9 } }));
      response.end(event('message_stop'));
    },
};
