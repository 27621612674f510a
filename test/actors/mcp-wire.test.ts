/** MCP over HTTP as bytes: every version of the protocol that is served, and what is none of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import {
  ALL_CLIENTS,
  CAPABILITIES_KEY,
  call,
  CLIENT_KEY,
  envelope,
  initialize,
  NEWEST,
  olderRequest,
  ready,
  request,
  serveMcp,
  VERSION_KEY,
} from '../support/mcp.ts';
import type { Served } from '../support/mcp.ts';
import { mission } from '../support/node.ts';

type Headers = Record<string, string>;

interface Answer {
  status: number;
  type: string | null;
  text: string;
  /** `{}` when there is none. */
  body: JsonObject;
}

async function post({ url, token }: Served, body: JsonValue, headers: Headers): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
  });
  const text = await response.text();
  const type = response.headers.get('content-type');
  const body_ = type?.startsWith('application/json') ? (JSON.parse(text) as JsonObject) : {};
  return { status: response.status, type, text, body: body_ };
}

/** The headers that a request since 2026-07-28 has. */
const said = (method: string, name?: string): Headers => ({
  'mcp-protocol-version': NEWEST.protocol,
  'mcp-method': method,
  ...(name !== undefined && { 'mcp-name': name }),
});

const listCells = request('tools/call', { name: 'list_cells', arguments: {} });
const saidListCells = said('tools/call', 'list_cells');
const error = (code: number): JsonObject => ({ error: expect.objectContaining({ code }) });

describe('versions', () => {
  test('2026-07-28 needs no handshake: each message says its version, and each answer who gave it', async () => {
    const served = await serveMcp();
    const found = await post(served, request('server/discover'), said('server/discover'));
    expect(found).toMatchObject({ status: 200, type: expect.stringMatching(/^application\/json/) });
    expect(found.body['result']).toMatchObject({
      supportedVersions: [NEWEST.protocol],
      capabilities: { tools: {}, resources: {} },
      instructions: expect.stringContaining('list_cells'),
      resultType: 'complete',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'lazarus', version: 'test' } },
    });
    expect((await post(served, listCells, saidListCells)).body['result']).toMatchObject({
      structuredContent: { cells: [] },
      resultType: 'complete',
    });
  });

  test.each(['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'])(
    '%s is agreed on by a handshake, and spoken then',
    async (version) => {
      const served = await serveMcp();
      const agreed = await post(served, initialize(version), {});
      expect(agreed.body['result']).toMatchObject({
        protocolVersion: version,
        serverInfo: { name: 'lazarus' },
      });
      const headers = { 'mcp-protocol-version': version };
      const done = { jsonrpc: '2.0', method: 'notifications/initialized' };
      expect((await post(served, done, headers)).status).toBe(202);
      const plain = olderRequest('tools/call', { name: 'list_cells' });
      const { status, body } = await post(served, plain, headers);
      expect(status).toBe(200);
      expect(body['result']).toMatchObject({ structuredContent: { cells: [] } });
      expect(body['result']).not.toHaveProperty('resultType');
      expect((await post(served, olderRequest('ping'), headers)).body['result']).toEqual({});
    },
  );

  test('a handshake for a version that is unknown, or has none, offers the newest that has one', async () => {
    const served = await serveMcp();
    for (const version of ['1999-01-01', NEWEST.protocol, '2099-01-01'])
      expect((await post(served, initialize(version), {})).body['result']).toMatchObject({
        protocolVersion: '2025-11-25',
      });
  });

  test.each<[what: string, body: JsonObject, headers: Headers, code: number]>([
    [
      'a later version than is known',
      olderRequest('tools/list', { _meta: envelope({ [VERSION_KEY]: '2027-01-01' }) }),
      { ...said('tools/list'), 'mcp-protocol-version': '2027-01-01' },
      -32_022,
    ],
    [
      'a version before there were messages like it',
      olderRequest('tools/list', { _meta: envelope({ [VERSION_KEY]: '2025-11-25' }) }),
      { ...said('tools/list'), 'mcp-protocol-version': '2025-11-25' },
      -32_022,
    ],
    [
      'a header of the newest, a message without',
      olderRequest('tools/list'),
      said('tools/list'),
      -32_602,
    ],
    [
      'a handshake under a header of the newest',
      initialize('2025-11-25'),
      said('initialize'),
      -32_020,
    ],
    [
      'an older version that never was',
      olderRequest('tools/list'),
      { 'mcp-protocol-version': '2020-01-01' },
      -32_000,
    ],
    [
      'no capabilities of the client',
      olderRequest('tools/list', { _meta: { [VERSION_KEY]: NEWEST.protocol } }),
      said('tools/list'),
      -32_602,
    ],
    [
      'a client whose name is no text',
      olderRequest('tools/list', { _meta: envelope({ [CLIENT_KEY]: { name: 7, version: '1' } }) }),
      said('tools/list'),
      -32_602,
    ],
    ['no header at all', listCells, {}, -32_020],
    ['no Mcp-Method', listCells, { 'mcp-protocol-version': NEWEST.protocol }, -32_020],
    ['no Mcp-Name', listCells, said('tools/call'), -32_020],
    ['another Mcp-Method', listCells, said('tools/list', 'list_cells'), -32_020],
    ['another Mcp-Name', listCells, said('tools/call', 'get_cell'), -32_020],
    ['an Mcp-Name that is no base64', listCells, said('tools/call', '=?base64?%%%?='), -32_020],
  ])('%s is refused, and what is right next is served', async (_what, body, headers, code) => {
    const served = await serveMcp();
    const refused = await post(served, body, headers);
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject(error(code));
    expect((await post(served, listCells, saidListCells)).status).toBe(200);
  });

  test.each(ALL_CLIENTS)('$library speaks $protocol', async (by) => {
    const { node, url, token } = await serveMcp();
    const client = await ready(by.byHttp(url, token));
    const asked = { mission_name: 'M', cell_id: 'm' };
    expect((await call(client, 'create_mission_cell', asked)).structuredContent).toMatchObject({
      cell_id: 'm',
    });
    expect(node.json('m', 'cell.json')['created_by']).toBe(by.namedByHttp);
  });
});

describe('messages', () => {
  test.each(['no/such', 'ping', 'initialize', 'resources/subscribe', '__proto__', 'constructor'])(
    'there is no method %s in 2026-07-28',
    async (method) => {
      const { status, body } = await post(await serveMcp(), request(method), said(method));
      expect(status).toBe(404);
      expect(body).toMatchObject({ id: 1, ...error(-32_601) });
    },
  );

  test('there is no tool and no resource of an unknown name', async () => {
    const served = await serveMcp();
    const tool = request('tools/call', { name: '__proto__', arguments: {} });
    const { body } = await post(served, tool, said('tools/call', '__proto__'));
    expect(body).toMatchObject(error(-32_602));
    const uri = 'lazarus://cell/none';
    const missing = await post(
      served,
      request('resources/read', { uri }),
      said('resources/read', uri),
    );
    expect(missing.body['error']).toEqual({
      code: -32_602,
      message: expect.stringMatching(/^NOT_FOUND: /),
      data: { uri },
    });
  });

  test('who wants to be told of changes is told that there is nothing to hear, and the stream ends', async () => {
    const listen = request('subscriptions/listen', { notifications: { toolsListChanged: true } });
    const answer = await post(await serveMcp(), listen, said('subscriptions/listen'));
    expect(answer).toMatchObject({
      status: 200,
      type: expect.stringMatching(/^text\/event-stream/),
    });
    const messages = answer.text.split('\n').flatMap((line) => {
      return line.startsWith('data: ') ? [JSON.parse(line.slice(6)) as JsonObject] : [];
    });
    expect(messages).toMatchObject([
      { method: 'notifications/subscriptions/acknowledged', params: { notifications: {} } },
      { id: 1, result: { resultType: 'complete' } },
    ]);
  });

  test('what answers a question that was never asked changes nothing', async () => {
    const served = await serveMcp();
    const params = {
      name: 'list_cells',
      arguments: {},
      requestState: 'forged',
      inputResponses: { a: {} },
    };
    const answered = await post(served, request('tools/call', params), saidListCells);
    expect(answered.body['result']).toMatchObject({ structuredContent: { cells: [] } });
    const response = { jsonrpc: '2.0', id: 1, result: {} };
    expect((await post(served, response, {})).status).toBe(202);
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };
    expect((await post(served, cancel, {})).status).toBe(202);
  });

  test('older batches are answered whole, also when something in them is cancelled; newer ones are refused', async () => {
    const served = await serveMcp();
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };
    const plain = olderRequest('tools/call', { name: 'list_cells' });
    const { body } = await post(served, [plain, cancel, olderRequest('ping', {}, 2)], {});
    expect(body).toMatchObject([{ id: 1, result: { structuredContent: {} } }, { id: 2 }]);
    for (const batch of [
      [],
      [listCells],
      [plain, listCells],
      [plain, 7],
      [initialize('2025-03-26'), plain],
    ])
      expect((await post(served, batch, {})).status).toBe(400);
  });

  test('what is nested too deeply is refused wherever it stands, and the next message is served', async () => {
    const served = await serveMcp();
    const deep = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    const places: ((value: string) => string)[] = [
      (value) =>
        JSON.stringify({ ...listCells, params: { ...listCells.params, more: '#' } }).replace(
          '"#"',
          value,
        ),
      (value) =>
        JSON.stringify(
          olderRequest('tools/list', {
            _meta: envelope({ [CAPABILITIES_KEY]: { experimental: '#' } }),
          }),
        ).replace('"#"', value),
      (value) =>
        JSON.stringify(
          olderRequest('initialize', {
            protocolVersion: '2025-11-25',
            clientInfo: { name: 'x', version: '1' },
            capabilities: { experimental: '#' },
          }),
        ).replace('"#"', value),
      (value) => `[${value}]`,
    ];
    for (const place of places)
      for (const depth of [100, 50_000]) {
        const refused = await post(served, place(deep(depth)), said('tools/list'));
        expect(refused.status).toBe(400);
        expect(refused.body).toMatchObject(error(-32_600));
      }
    const asked = JSON.stringify(request('tools/call', { name: 'list_cells', arguments: '#' }));
    const { body } = await post(served, asked.replace('"#"', deep(50_000)), saidListCells);
    expect(body['result']).toMatchObject({ isError: true });
    expect(JSON.stringify(body)).toContain('INVALID_ARGUMENT: the arguments are nested');
    expect((await post(served, listCells, saidListCells)).status).toBe(200);
  });

  test('who shows no token, comes from another page or says too much is refused in every version', async () => {
    const served = await serveMcp();
    for (const [body, headers] of [
      [listCells, saidListCells],
      [olderRequest('tools/list'), {}],
    ] as const) {
      const tried = (more: Headers): Promise<Answer> => post(served, body, { ...headers, ...more });
      expect((await tried({ authorization: 'Bearer no' })).status).toBe(401);
      expect((await tried({ origin: 'http://evil.example' })).status).toBe(403);
      expect((await tried({ 'x-much': 'x'.repeat(20_000) })).status).toBe(431);
      expect((await tried({})).status).toBe(200);
    }
    const long = request('tools/call', {
      name: 'get_cell',
      arguments: { cell_id: 'x'.repeat(2 << 20) },
    });
    expect((await post(served, long, said('tools/call', 'get_cell'))).status).toBe(413);
  });
});

test('an approval is refused in 2026-07-28 as before, and a name with control characters is recorded without', async () => {
  const served = await serveMcp();
  served.node.drop(mission('c', [], { success_criteria: [{ name: 'looks good' }] }));
  await served.node.cellIs('c', 'active');
  const confirm = { name: 'confirm_criterion', arguments: { cell_id: 'c', name: 'looks good' } };
  const refused = await post(
    served,
    request('tools/call', confirm),
    said('tools/call', confirm.name),
  );
  expect(refused.body['result']).toMatchObject({
    isError: true,
    _meta: { 'lazarus.dev/error': { code: 'FORBIDDEN' } },
  });
  const create = { name: 'create_mission_cell', arguments: { mission_name: 'M', cell_id: 'm' } };
  const clientInfo = { name: 'evil\u001b[2J\nname', version: '1' };
  const named = olderRequest('tools/call', {
    ...create,
    _meta: envelope({ [CLIENT_KEY]: clientInfo }),
  });
  expect((await post(served, named, said('tools/call', create.name))).status).toBe(200);
  expect(served.node.json('m', 'cell.json')['created_by']).toBe('evil [2J name over MCP (http)');
});

test('the documentation names the versions that are spoken', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/mcp.md'), 'utf8');
  for (const version of [NEWEST.protocol, '2025-11-25', '2025-06-18', '2025-03-26'])
    expect(docs).toContain(version);
});
