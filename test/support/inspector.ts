/** Watchers of the inspector: real sockets, and the official receiver. */
import { createWebSocketReceiver } from '@statelyai/inspect';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { inspectedSystem } from '../../actors/inspector-door.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { openGateway } from '../../bus/gateway.ts';
import type { Gateway } from '../../bus/gateway.ts';
import { openInspector } from '../../bus/inspector.ts';
import type { Inspector, InspectorOptions } from '../../bus/inspector.ts';
import { healthView } from '../../machines/heartbeats.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';

export const TOKEN = 'a-token-of-this-test-and-of-no-other';

export interface Frame {
  type: '@xstate.actor' | '@xstate.event' | '@xstate.snapshot';
  sessionId: string;
  rootId: string;
  createdAt: string;
  _version: string;
  name?: string;
  parentId?: string;
  sourceId?: string;
  definition?: string;
  event?: { type: string } & JsonObject;
  snapshot?: { status: string; value: JsonValue; context?: JsonObject; children?: JsonObject };
}

export interface Served {
  gateway: Gateway;
  inspector: Inspector;
  logged: string[];
}

/** A gateway with an inspector on a kernel; closed when the test ends. */
export async function serveInspector(
  { system }: Kernel,
  options: Partial<InspectorOptions & { host: string }> = {},
): Promise<Served> {
  const logged: string[] = [];
  const note = (fields: object, message: string): void =>
    void logged.push(`${message} ${JSON.stringify(fields)}`);
  const log = { info: note, warn: note };
  const gateway = await openGateway({
    host: options.host ?? '127.0.0.1',
    port: 0,
    isAskedFor: true,
    token: TOKEN,
    heartbeats: {
      ready: () => Promise.resolve(),
      beat: () => ({ atMs: 0, intervalMs: 0 }),
      agent: () => Promise.reject(new Error('nobody')) as never,
      all: () => healthView({}, 1000),
    },
    verbs: [],
    remoteCommands: () => false,
    trouble: () => undefined,
    log,
  });
  const inspector = openInspector({
    gateway,
    system: inspectedSystem(system),
    token: TOKEN,
    isNetwork: false,
    secrets: () => [],
    log,
    ...options,
  });
  onTestFinished(async () => {
    await inspector.close();
    await gateway.close();
  });
  return { gateway, inspector, logged };
}

export class Watching {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  /** Close code and reason. */
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(url: string, headers: Record<string, string>, protocols: string[]) {
    this.socket = new WebSocket(url, protocols, { headers });
    this.socket.on('message', (data: Buffer) =>
      this.frames.push(JSON.parse(data.toString()) as Frame),
    );
    const { promise, resolve } = Promise.withResolvers<{ code: number; reason: string }>();
    this.closed = promise;
    this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    onTestFinished(() => this.socket.terminate());
  }

  of(sessionId: string, type: Frame['type']): Frame[] {
    return this.frames.filter((frame) => frame.sessionId === sessionId && frame.type === type);
  }

  /** Of the last snapshot. */
  state(sessionId: string): Frame['snapshot'] {
    return this.of(sessionId, '@xstate.snapshot').at(-1)?.snapshot;
  }

  get sessions(): string[] {
    const actors = this.frames.filter(({ type }) => type === '@xstate.actor');
    return actors.map(({ sessionId }) => sessionId);
  }
}

/** Resolves when it is open. Throws when it was refused. */
export async function watch(
  { inspector }: { inspector: { url: string } },
  headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
  { query = '', protocols = [] as string[] } = {},
): Promise<Watching> {
  const watching = new Watching(`${inspector.url}${query}`, headers, protocols);
  await once(watching.socket, 'open');
  return watching;
}

/** HTTP status and error code of one who was not let in. */
export function refusal(
  { inspector }: { inspector: { url: string } },
  headers: Record<string, string> = {},
  query = '',
): Promise<{ status: number; code: string; text: string }> {
  const socket = new WebSocket(`${inspector.url}${query}`, { headers });
  return new Promise((resolve, reject) => {
    socket.on('open', () => reject(new Error('it was let in')));
    socket.on('error', reject);
    socket.on('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => {
        const { error } = JSON.parse(text) as { error: { code: string } };
        resolve({ status: response.statusCode ?? 0, code: error.code, text });
      });
    });
  });
}

/** The receiver of @statelyai/inspect, which can only take a URL. It ends when the inspector closes. */
export function receive(url: string): Frame[] {
  const frames: Frame[] = [];
  createWebSocketReceiver({ server: url }).subscribe((event) => {
    frames.push(event as unknown as Frame);
  });
  return frames;
}
