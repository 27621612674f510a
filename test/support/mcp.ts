/** MCP as programs use it: the official client libraries of both generations, and messages by hand. */
import {
  Client as CurrentClient,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import type { CallToolResult } from '@modelcontextprotocol/client';
import { Client as OlderClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as OlderStdioTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as OlderHttpTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { readFileSync } from 'node:fs';
import { expect, onTestFinished } from 'vitest';
import { openHttpDoor } from '../../actors/http-door.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { mergeConfig } from '../../machines/daemon-config.ts';
import type { ConfigKey, ConfigLayer } from '../../machines/daemon-config.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { startNode } from './node.ts';
import type { TestNode } from './node.ts';
import type { AtEnd } from './shared.ts';

/** What tests look at of a tool. */
export interface SeenTool {
  name: string;
  title?: string | undefined;
  description?: string | undefined;
  inputSchema: { properties?: object | undefined };
  outputSchema?: object | undefined;
  annotations?: { readOnlyHint?: boolean | undefined } | undefined;
}

/** What both generations of clients can do. */
export interface McpClient {
  listTools(): Promise<{ tools: SeenTool[] }>;
  callTool(params: { name: string; arguments?: JsonObject }): Promise<unknown>;
  listResources(params?: { cursor?: string }): Promise<{
    resources: { uri: string }[];
    nextCursor?: string | undefined;
  }>;
  listResourceTemplates(): Promise<{ resourceTemplates: { uriTemplate: string }[] }>;
  readResource(params: { uri: string }): Promise<{ contents: object[] }>;
  getServerVersion(): object | undefined;
  getInstructions(): string | undefined;
  close(): Promise<void>;
}

export interface Started {
  command: string;
  args: string[];
  env: Record<string, string>;
}

/** A client library, and the version of the protocol that it speaks with a server that speaks all. */
export interface Generation {
  library: string;
  protocol: string;
  /** How the record names a client that came by HTTP: older ones say their name in a message of its own. */
  namedByHttp: string;
  byHttp(url: string, token: string): Promise<McpClient>;
  byStdio(started: Started): Promise<McpClient>;
}

const ME = { name: 'a test', version: '1' };
const withToken = (token: string): { requestInit: RequestInit } => ({
  requestInit: { headers: { authorization: `Bearer ${token}` } },
});

const older: Generation = {
  library: 'the client of 1.x',
  protocol: '2025-11-25',
  namedByHttp: 'a client over MCP (http)',
  async byHttp(url, token) {
    const client = new OlderClient(ME);
    await client.connect(new OlderHttpTransport(new URL(url), withToken(token)));
    return client;
  },
  async byStdio(started) {
    const client = new OlderClient(ME);
    await client.connect(new OlderStdioTransport(started));
    return client;
  },
};

/** `auto` asks the server first, `legacy` is the way of the clients before. */
function current(mode: 'auto' | 'legacy', protocol: string): Generation {
  const open = async (
    transport: StreamableHTTPClientTransport | StdioClientTransport,
  ): Promise<McpClient> => {
    const client = new CurrentClient(ME, { versionNegotiation: { mode } });
    await client.connect(transport);
    expect(client.getNegotiatedProtocolVersion()).toBe(protocol);
    return client;
  };
  return {
    library: `the client of 2.x, ${mode}`,
    protocol,
    namedByHttp: mode === 'auto' ? 'a test over MCP (http)' : older.namedByHttp,
    byHttp: (url, token) => open(new StreamableHTTPClientTransport(new URL(url), withToken(token))),
    byStdio: (started) => open(new StdioClientTransport(started)),
  };
}

export const NEWEST = current('auto', '2026-07-28');
export const GENERATIONS: readonly Generation[] = [older, NEWEST];
export const ALL_CLIENTS: readonly Generation[] = [...GENERATIONS, current('legacy', '2025-11-25')];

export interface Served {
  node: TestNode;
  url: string;
  token: string;
}

/** A node with its HTTP gateway. */
export async function serveMcp(
  settings: Partial<Record<ConfigKey, JsonValue>> = {},
  atEnd: AtEnd = onTestFinished,
): Promise<Served> {
  const layer = Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [
      key,
      { value, origin: { from: 'option', name: 'test' } },
    ]),
  ) as ConfigLayer;
  const log = { info: () => {}, warn: () => {} };
  const options = {
    config: mergeConfig([layer], null),
    openDoors: async (opened: MissionNode): Promise<OpenDoor[]> => [
      await openHttpDoor(opened, { host: '127.0.0.1', port: 0, isAskedFor: true, log }),
    ],
  };
  const node = await startNode(options, undefined, atEnd);
  const file = JSON.parse(readFileSync(node.node.layout.node, 'utf8')) as Record<string, string>;
  const token = readFileSync(file['http_token_file'] ?? '', 'utf8').trim();
  return { node, url: `${file['http']}/mcp`, token };
}

/** Ended with the test. From here on it holds answers against the schemas it was told. */
export async function ready(
  connecting: Promise<McpClient>,
  atEnd: AtEnd = onTestFinished,
): Promise<McpClient> {
  const client = await connecting;
  atEnd(() => client.close());
  await client.listTools();
  return client;
}

export const call = async (
  client: McpClient,
  name: string,
  args: JsonObject = {},
): Promise<CallToolResult> => (await client.callTool({ name, arguments: args })) as CallToolResult;

export function textOf({ content: [first] }: CallToolResult): string {
  if (first?.type !== 'text') throw new Error('no text');
  return first.text;
}

export async function read(client: McpClient, uri: string): Promise<string> {
  const { contents } = await client.readResource({ uri });
  return (contents[0] as { text: string }).text;
}

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES_KEY = 'io.modelcontextprotocol/clientCapabilities';
const CLIENT_KEY = 'io.modelcontextprotocol/clientInfo';

/** What each request since 2026-07-28 has in its `_meta`. */
export const envelope = (more: JsonObject = {}): JsonObject => ({
  [VERSION_KEY]: NEWEST.protocol,
  [CAPABILITIES_KEY]: {},
  [CLIENT_KEY]: { name: 'by hand', version: '1' },
  ...more,
});

export { VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY };

export interface RpcRequest {
  [key: string]: JsonValue;
  jsonrpc: string;
  id: number | string;
  method: string;
  params: JsonObject;
}

/** As before 2026-07-28. */
export const olderRequest = (
  method: string,
  params: JsonObject = {},
  id: number | string = 1,
): RpcRequest => ({ jsonrpc: '2.0', id, method, params });

export const request = (
  method: string,
  params: JsonObject = {},
  id: number | string = 1,
): RpcRequest => olderRequest(method, { ...params, _meta: envelope() }, id);

export const initialize = (protocolVersion: string, id = 1): RpcRequest =>
  olderRequest('initialize', { protocolVersion, capabilities: {}, clientInfo: ME }, id);
