/** A node called by another name than its own, as containers of one network call each other: every part of the gateway. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { openHttpDoor } from '../../actors/http-door.ts';
import { openInspectorDoor } from '../../actors/inspector-door.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { mergeConfig } from '../../machines/daemon-config.ts';
import type { EffectiveConfig } from '../../machines/daemon-config.ts';
import { startNode } from '../support/node.ts';

const log = { info: () => undefined, warn: () => undefined };

const allowing = (...names: string[]): EffectiveConfig =>
  mergeConfig(
    [{ http_allowed_hosts: { value: names, origin: { from: 'option', name: 'test' } } }],
    null,
  );

const openDoors = async (node: MissionNode): Promise<OpenDoor[]> => {
  const http = await openHttpDoor(node, { host: '127.0.0.1', port: 0, isAskedFor: true, log });
  return [http, openInspectorDoor(node, { mode: 'on', http, log })];
};

const RPC = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} });
const PARTS: [method: string, path: string, body: string][] = [
  ['GET', '/healthz', ''],
  ['GET', '/health', ''],
  ['GET', '/metrics', ''],
  ['GET', '/verbs', ''],
  ['POST', '/verbs/status', '{}'],
  ['POST', '/heartbeat/prometheus', '{}'],
  ['POST', '/mcp', RPC],
  ['POST', '/inspect/ticket', ''],
];

test('given a name that becomes listed while the node runs, then all parts answer to it, and only to it, with the token', async () => {
  const { node } = await startNode({ config: allowing(), openDoors });
  const file = JSON.parse(readFileSync(node.layout.node, 'utf8')) as { http: string };
  const port = Number(new URL(file.http).port);
  const authorization = `Bearer ${readFileSync(node.layout.httpToken, 'utf8').trim()}`;
  const mcp = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };

  async function ask(name: string, more: Record<string, string> = {}): Promise<number[]> {
    const asked = PARTS.map(async ([method, path, body]) => {
      const headers = { ...mcp, host: `${name}:${port}`, ...more };
      const sent = request({ host: '127.0.0.1', port, method, path, headers }).end(body);
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      await text(response);
      return response.statusCode ?? 0;
    });
    return Promise.all(asked);
  }
  async function watch(name: string, scheme = 'http'): Promise<string> {
    const headers = {
      host: `${name}:${port}`,
      origin: `${scheme}://${name}:${port}`,
      authorization,
    };
    const socket = new WebSocket(`ws://127.0.0.1:${port}/inspect`, { headers });
    onTestFinished(() => socket.terminate());
    return new Promise((resolve) => {
      socket.once('open', () => resolve('watches'));
      socket.once('error', (error) => resolve(error.message));
    });
  }
  const each = (status: number): number[] => PARTS.map(() => status);

  expect(await ask('localhost', { authorization })).toEqual(each(200));
  expect(await ask('lazarus', { authorization })).toEqual(each(403));
  expect(await watch('lazarus')).toContain('403');

  node.applyConfig(allowing('lazarus', 'nas.lan'));
  for (const name of ['lazarus', 'NAS.lan']) {
    expect(await ask(name, { authorization })).toEqual(each(200));
    expect(await ask(name, { authorization, origin: `http://${name}:${port}` })).toEqual(each(200));
    expect(await watch(name)).toBe('watches');
    expect(await watch(name, 'https')).toBe('watches');
  }
  const other = { authorization, origin: 'http://evil.example' };
  expect(await ask('lazarus', other)).toEqual(each(403));
  expect(await ask('evil.example', { authorization })).toEqual(each(403));
  expect(await ask('lazarus.evil.example', { authorization })).toEqual(each(403));
  const open = new Set(['/healthz', '/health', '/heartbeat/prometheus']);
  expect(await ask('lazarus')).toEqual(PARTS.map(([, path]) => (open.has(path) ? 200 : 401)));

  node.applyConfig(allowing());
  expect(await ask('lazarus', { authorization })).toEqual(each(403));
});
