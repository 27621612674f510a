/** MCP over the gateway of a real node, by the official clients of both generations, and by hand where a client would not do it. */
import { readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ConfigKey } from '../../machines/daemon-config.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { call, GENERATIONS, read, ready, serveMcp, textOf } from '../support/mcp.ts';
import type { Generation, McpClient, Served } from '../support/mcp.ts';
import { shared } from '../support/shared.ts';
import type { AtEnd } from '../support/shared.ts';
import { agent, gate, mission, NEVER, step, task } from '../support/node.ts';

const waitsForPerson = { success_criteria: [{ name: 'looks good' }] };

/** A node and a client of it. */
async function serve(
  by: Generation,
  settings: Partial<Record<ConfigKey, JsonValue>> = {},
  atEnd: AtEnd = onTestFinished,
): Promise<Served & { client: McpClient }> {
  const served = await serveMcp(settings, atEnd);
  return { ...served, client: await ready(by.byHttp(served.url, served.token), atEnd) };
}

/** The same with a mission `c`, for tests that change nothing. */
const serveForReading = (by: Generation): (() => Served & { client: McpClient }) =>
  shared(async (atEnd) => {
    const served = await serve(by, {}, atEnd);
    served.node.drop(mission('c', [], { agents: [agent('lead')], ...waitsForPerson }));
    await served.node.cellIs('c', 'active');
    return served;
  });

async function result(client: McpClient, name: string, args: JsonObject = {}): Promise<JsonObject> {
  const answer = await call(client, name, args);
  if (answer.isError) throw new Error(textOf(answer));
  expect(JSON.parse(textOf(answer))).toEqual(answer.structuredContent);
  return answer.structuredContent as JsonObject;
}

async function refusal(client: McpClient, name: string, args: JsonObject = {}): Promise<string> {
  const answer = await call(client, name, args);
  expect(answer.isError).toBe(true);
  expect(answer._meta?.['lazarus.dev/error']).toMatchObject({ code: expect.any(String) });
  return textOf(answer);
}

const OPERATING = [
  'create_mission_cell',
  'add_agent_to_cell',
  'add_task_to_cell',
  'get_agent_health',
  'list_cells',
  'get_cell',
  'inject_event',
  'list_public_events',
  'list_revivals',
  'list_doubts',
];
const APPROVING = [
  'approve_revival',
  'reject_revival',
  'confirm_criterion',
  'settle_step_as_done',
  'settle_step_as_not_run',
  'settle_step_as_failed',
];

describe.each(GENERATIONS)('tools, by $library', (by) => {
  test('given no approvals, then those that work with missions are offered, each with schemas and annotations', async () => {
    const { client } = await serve(by);
    const { tools } = await client.listTools();
    const names = tools.map(({ name }) => name);
    expect(OPERATING.filter((name) => !names.includes(name))).toEqual([]);
    expect(names.filter((name) => APPROVING.includes(name))).toEqual([]);
    const ajv = new Ajv({ strict: true, allowUnionTypes: true, strictRequired: false });
    for (const { name, title, description, inputSchema, outputSchema, annotations } of tools) {
      expect(title).toBeTruthy();
      expect(description).toMatch(/\.$/);
      expect(() => ajv.compile(inputSchema), name).not.toThrow();
      expect(inputSchema).toMatchObject({ type: 'object', additionalProperties: false });
      expect(inputSchema.properties).not.toHaveProperty('by');
      expect(outputSchema).toMatchObject({ type: 'object' });
      expect(annotations).toMatchObject({ openWorldHint: false });
      const isReading = /^(get|list)_/.test(name);
      expect(annotations?.readOnlyHint).toBe(isReading);
    }
    const docs = readFileSync(join(import.meta.dirname, '../../docs/mcp.md'), 'utf8');
    const undocumented = [...names, ...APPROVING].filter((name) => !docs.includes(`\`${name}\``));
    expect(undocumented).toEqual([]);
    expect(client.getServerVersion()).toMatchObject({ name: 'lazarus', version: 'test' });
    expect(client.getInstructions()).toContain('list_cells');
  });

  test('a mission is made, gets an agent and a task, and is looked at; what is recorded names the client', async () => {
    const { node, client } = await serve(by, { remote_commands: true });
    const made = await result(client, 'create_mission_cell', {
      mission_name: 'From afar',
      cell_id: 'afar',
      isolation_level: 'none',
      agents: [{ agent_id: 'lead', role: 'lead' }],
      success_criteria: [{ name: 'looks good' }],
    });
    expect(made).toMatchObject({ cell_id: 'afar', taken_in: true });
    expect(node.json('afar', 'cell.json')['created_by']).toBe(by.namedByHttp);
    expect(
      await result(client, 'add_agent_to_cell', { cell_id: 'afar', agent_id: 'two' }),
    ).toMatchObject({ agent_id: 'two', taken_in: true });
    const added = await result(client, 'add_task_to_cell', {
      cell_id: 'afar',
      task_id: 't',
      title: 'Say it',
      assigned_to: 'lead',
      steps: [{ name: 'say', run: ['echo', 'said it'], retry: 'safe' }],
    });
    expect(added).toMatchObject({ cell_id: 'afar', task_id: 't', taken_in: true });
    await node.taskIs('afar', 't', 'completed');
    expect(await result(client, 'list_cells')).toMatchObject({
      cells: [{ cell_id: 'afar', agents: 2, tasks: 1, tasks_completed: 1 }],
    });
    expect(await result(client, 'get_cell', { cell_id: 'afar' })).toMatchObject({
      status: 'active',
      tasks: [{ task_id: 't', status: 'completed' }],
      success_criteria: [{ name: 'looks good', met: false }],
    });
    expect(await result(client, 'get_agent_health', { agent_id: 'two' })).toMatchObject({
      agent_id: 'two',
      cell_id: 'afar',
      status: 'unknown',
      consecutive_failures: 0,
    });
    expect(await result(client, 'list_revivals')).toEqual({ running: true, revivals: [] });
    expect(await result(client, 'list_doubts')).toEqual({ in_doubt: [] });
  });

  test('an event is injected once by its id, and what is not public is refused', async () => {
    const { node, client } = await serve(by);
    node.drop(mission('c', [], waitsForPerson));
    await node.cellIs('c', 'active');
    const { events } = await result(client, 'list_public_events');
    expect((events as { type: string }[]).map(({ type }) => type)).toContain('cell.pause');
    const pause = { to: 'cell/c', event: { type: 'cell.pause', id: 'once' } };
    const first = await result(client, 'inject_event', pause);
    expect(await result(client, 'inject_event', pause)).toMatchObject({ duplicate: true });
    expect(first).not.toHaveProperty('duplicate');
    await node.cellIs('c', 'paused');
    for (const event of [{ type: 'task.finished' }, { type: 'xstate.done.actor.deadline' }])
      expect(await refusal(client, 'inject_event', { to: 'cell/c', event })).toMatch(
        /^EVENT_NOT_PUBLIC/,
      );
    const system = { to: 'system/lazarus/c/lead', event: { type: 'revival.approve' } };
    expect(await refusal(client, 'inject_event', system)).toMatch(/^EVENT_NOT_PUBLIC/);
  });

  test('a long list comes in pages, and none is listed twice', async () => {
    const { node, client } = await serve(by);
    for (const id of ['a', 'b', 'c', 'd', 'e']) node.drop(mission(id, [], waitsForPerson));
    for (const id of ['a', 'b', 'c', 'd', 'e']) await node.cellIs(id, 'active');
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const args = { limit: 2, ...(after && { after }) };
      const page = await result(client, 'list_cells', args);
      seen.push(...(page['cells'] as { cell_id: string }[]).map(({ cell_id: id }) => id));
      after = page['next'] as string | undefined;
    } while (after !== undefined);
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'e']);
    const paused = await result(client, 'list_cells', { status: 'paused' });
    expect(paused['cells']).toEqual([]);
  });

  test('a revival that waits for a person is listed with its story', async () => {
    const { node, client } = await serve(by);
    const steps = [step('a', gate('g'), NEVER)];
    node.drop(
      mission('c', [task('t', steps)], {
        isolation_level: 'level_1',
        policies: { auto_revive: 'ask' },
      }),
    );
    await node.waitsAt('c', 'g');
    await node.killWorker('c');
    await eventually(async () => {
      const { revivals } = await result(client, 'list_revivals', { status: 'pending_approval' });
      expect(revivals).toMatchObject([{ agent_id: 'lead', needs_person: true }]);
    });
    await eventually(async () => {
      const { in_doubt: doubts } = await result(client, 'list_doubts');
      expect(doubts).toMatchObject([{ task_id: 't', step: 'a' }]);
    });
    expect(await result(client, 'get_agent_health', { agent_id: 'lead' })).toMatchObject({
      status: 'unhealthy',
    });
  });
});

describe.each(GENERATIONS)('what is not taken, by $library', (by) => {
  const reading = serveForReading(by);

  test.each<[string, string, JsonObject]>([
    [
      'steps',
      'add_task_to_cell',
      { task_id: 't', title: 't', steps: [{ name: 's', run: ['id'] }] },
    ],
    ['a runner', 'add_agent_to_cell', { agent_id: 'x', runner: { kind: 'command', run: ['id'] } }],
    ['MCP servers', 'add_agent_to_cell', { agent_id: 'x', mcp_servers: { m: { command: 'id' } } }],
  ])('%s: a command that comes from outside', async (_what, tool, more) => {
    const { node, client } = reading();
    const said = await refusal(client, tool, { cell_id: 'c', ...more });
    expect(said).toMatch(/^FORBIDDEN: .* is a command/);
    expect(said).toContain('"remote_commands": true');
    expect(node.exists('c', 'tasks/t.json')).toBe(false);
    expect(node.exists('c', 'agents/x.json')).toBe(false);
  });

  test('a command inside a whole mission', async () => {
    const { node, client } = await serve(by);
    for (const more of [
      { success_criteria: [{ name: 'x', run: ['id'] }] },
      { tasks: [{ task_id: 't', steps: [] }] },
      { agents: [{ agent_id: 'a', runner: { kind: 'command', run: ['id'] } }] },
    ])
      expect(await refusal(client, 'create_mission_cell', { mission_name: 'm', ...more })).toMatch(
        /^FORBIDDEN/,
      );
    expect(node.node.status().cells).toEqual([]);
  });

  test('an approval, unless the configuration allows it', async () => {
    const { node, client } = await serve(by);
    const done = mission('c', [task('t', [step('s')])], waitsForPerson);
    node.drop(done);
    await eventually(() => expect(node.cell('c').phase).toBe('confirming'));
    const confirming = { cell_id: 'c', name: 'looks good' };
    expect(await refusal(client, 'confirm_criterion', confirming)).toMatch(/^FORBIDDEN/);
    expect(node.cell('c').phase).toBe('confirming');

    const allowed = await serve(by, { mcp_approvals: true });
    const names = (await allowed.client.listTools()).tools.map(({ name }) => name);
    expect(APPROVING.filter((name) => !names.includes(name))).toEqual([]);
    allowed.node.drop(done);
    await eventually(() => expect(allowed.node.cell('c').phase).toBe('confirming'));
    expect(await result(allowed.client, 'confirm_criterion', confirming)).toMatchObject({
      confirmed_by: by.namedByHttp,
    });
  });

  test.each<[string, JsonObject, RegExp]>([
    ['get_cell', {}, /INVALID_ARGUMENT: .*'cell_id'[^]*Try: get_cell takes cell_id/],
    ['get_cell', { cell_id: 7 }, /INVALID_ARGUMENT: \/cell_id must be string/],
    ['get_cell', { cell_id: 'c', cell: 'd' }, /INVALID_ARGUMENT: .*"cell"/],
    ['get_cell', { cell_id: '../../etc' }, /NOT_FOUND/],
    ['get_cell', { cell_id: '__proto__' }, /NOT_FOUND/],
    ['get_agent_health', { agent_id: '../x' }, /NOT_FOUND|INVALID_ARGUMENT/],
    ['get_agent_health', { agent_id: 'constructor' }, /NOT_FOUND/],
    ['list_cells', { limit: 0 }, /INVALID_ARGUMENT/],
    ['list_cells', { limit: 1e9 }, /INVALID_ARGUMENT/],
    ['create_mission_cell', {}, /INVALID_ARGUMENT/],
    ['create_mission_cell', { mission_name: '' }, /INVALID_ARGUMENT/],
    ['create_mission_cell', { mission_name: 'm', cell_id: '../m' }, /INVALID_ARGUMENT/],
    ['create_mission_cell', { mission_name: 'm', cell_id: 'mission' }, /INVALID_ARGUMENT|FILE_INV/],
    ['create_mission_cell', { mission_name: 'm', isolation_level: 'strong' }, /INVALID_ARGUMENT/],
    ['create_mission_cell', { mission_name: 'm', file: {} }, /INVALID_ARGUMENT/],
    ['create_mission_cell', { mission_name: 'm', timeout: -1 }, /INVALID_ARGUMENT/],
    ['add_task_to_cell', { cell_id: 'c', task_id: 'a/b', title: 'x' }, /INVALID_ARGUMENT/],
    ['add_task_to_cell', { cell_id: 'none', task_id: 't', title: 'x' }, /NOT_FOUND/],
    ['add_agent_to_cell', { cell_id: 'c', agent_id: 'lead' }, /CONFLICT: .*is there already/],
    [
      'add_agent_to_cell',
      { cell_id: 'c', agent_id: 'x', role: 'root' },
      /INVALID_ARGUMENT: .*lead/,
    ],
  ])('%s %j', async (tool, args, expected) => {
    const { node, client } = reading();
    expect(await refusal(client, tool, args)).toMatch(expected);
    expect(node.node.status().cells).toHaveLength(1);
  });

  test('a tool that is none, and arguments nested a thousand deep', async () => {
    const { node, client } = await serve(by);
    await expect(client.callTool({ name: 'rm_rf', arguments: {} })).rejects.toThrow('no tool');
    let deep: JsonObject = {};
    for (let depth = 0; depth < 1000; depth += 1) deep = { deep };
    const said = await refusal(client, 'create_mission_cell', {
      mission_name: 'm',
      config: { isolation: deep },
    });
    expect(said).toMatch(/INVALID_ARGUMENT: .*nested/);
    expect(node.node.status().cells).toEqual([]);
  });
});

describe('by hand', () => {
  const rpc = (method: string, params: JsonObject = {}): string =>
    JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const post = async (
    { url, token }: Served,
    body: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: JsonObject }> => {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...headers,
      },
    });
    return { status: response.status, body: (await response.json()) as JsonObject };
  };

  test('who shows no token, comes from another page, or asks for a stream is refused', async () => {
    const served = await serveMcp();
    const list = rpc('tools/list');
    expect((await post(served, list)).status).toBe(200);
    expect((await post(served, list, { authorization: 'Bearer no' })).status).toBe(401);
    expect((await post(served, list, { origin: 'http://evil.example' })).status).toBe(403);
    const headers = { authorization: `Bearer ${served.token}`, accept: 'text/event-stream' };
    for (const method of ['GET', 'DELETE'])
      expect((await fetch(served.url, { method, headers })).status).toBe(405);
    expect((await fetch(served.url)).status).toBe(401);
  });

  test('what is no message, too long, or a batch beyond bounds is refused, and the next one is served', async () => {
    const served = await serveMcp();
    expect((await post(served, '{"jsonrpc":')).status).toBe(400);
    expect((await post(served, '{"id":1}')).status).toBe(400);
    expect(
      (
        await post(
          served,
          rpc('tools/call', { name: 'get_cell', arguments: { cell_id: 'x'.repeat(2 << 20) } }),
        )
      ).status,
    ).toBe(413);
    expect((await post(served, `${'['.repeat(100_000)}${']'.repeat(100_000)}`)).status).toBe(400);
    const batch = JSON.stringify(
      Array.from({ length: 500 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'tools/list' })),
    );
    expect((await post(served, batch)).status).toBe(400);
    expect((await post(served, rpc('no/such'))).body).toMatchObject({ error: { code: -32_601 } });
    expect((await post(served, rpc('tools/list'))).status).toBe(200);
  });
});

describe.each(GENERATIONS)('resources, by $library', (by) => {
  const reading = serveForReading(by);

  test('missions, tasks and logs are listed and read', async () => {
    const { node, client } = await serve(by);
    node.drop(mission('c', [task('t', [step('say', 'echo said it')])], waitsForPerson));
    await node.taskIs('c', 't', 'completed');
    await eventually(async () => {
      const { resources } = await client.listResources();
      expect(resources.map(({ uri }) => uri)).toEqual([
        'lazarus://cell/c',
        'lazarus://cell/c/agent/lead',
        'lazarus://cell/c/agent/lead/log',
        'lazarus://cell/c/log',
        'lazarus://cell/c/task/t',
        'lazarus://cells',
      ]);
    });
    const { resourceTemplates } = await client.listResourceTemplates();
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toContain(
      'lazarus://cell/{cell_id}/agent/{agent_id}/log',
    );
    expect(JSON.parse(await read(client, 'lazarus://cells'))).toMatchObject({
      cells: [{ cell_id: 'c' }],
    });
    expect(JSON.parse(await read(client, 'lazarus://cell/c'))).toMatchObject({ cell_id: 'c' });
    expect(JSON.parse(await read(client, 'lazarus://cell/c/task/t'))).toMatchObject({
      task_id: 't',
      status: 'completed',
      file: { title: 'Task t' },
    });
    expect(JSON.parse(await read(client, 'lazarus://cell/c/agent/lead'))).toMatchObject({
      agent_id: 'lead',
    });
    await eventually(async () => {
      expect(await read(client, 'lazarus://cell/c/agent/lead/log')).toContain('out| said it');
      expect(await read(client, 'lazarus://cell/c/log')).toContain('task t: completed');
    });
  });

  test('many are listed page by page, each once', async () => {
    const { node, client } = await serve(by);
    const tasks = Array.from({ length: 700 }, (_, n) => task(`t${n}`, [], { assigned_to: 'no' }));
    node.drop(mission('c', tasks, waitsForPerson));
    await eventually(() => expect(node.cell('c').tasks).toHaveLength(700), { timeoutMs: 20_000 });
    const uris: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.listResources(cursor === undefined ? {} : { cursor });
      uris.push(...page.resources.map(({ uri }) => uri));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(new Set(uris).size).toBe(uris.length);
    expect(uris).toHaveLength(700 + 5);
    await expect(client.listResources({ cursor: 'nonsense' })).rejects.toThrow('cursor');
  });

  test.each<[name: string, uri: string]>([
    ['a very long one', 'x'.repeat(10_000)],
    ['an unknown mission', 'lazarus://cell/none'],
    ['an unknown task', 'lazarus://cell/c/task/none'],
    ['a path above a log', 'lazarus://cell/c/agent/lead/log/..'],
    ['a path above the missions', 'lazarus://cell/../../etc/passwd'],
    ['an encoded path', 'lazarus://cell/c/agent/..%2F..%2Fetc/log'],
    ['a name of the language', 'lazarus://cell/c/agent/__proto__/log'],
    ['the log of a task', 'lazarus://cell/c/task/t/log'],
    ['a file', 'file:///etc/passwd'],
  ])('%s is no resource', async (_name, uri) => {
    const { client } = reading();
    await expect(client.readResource({ uri })).rejects.toMatchObject({ code: -32_602 });
  });

  test('a log that became a link leads nowhere', async () => {
    const { node, client } = await serve(by);
    node.drop(mission('c', [task('t', [step('s')])], waitsForPerson));
    await node.taskIs('c', 't', 'completed');
    await eventually(() => expect(node.exists('c', 'logs/lead.log')).toBe(true));
    rmSync(join(node.path('c'), 'logs/lead.log'));
    symlinkSync('/etc/hostname', join(node.path('c'), 'logs/lead.log'));
    await expect(client.readResource({ uri: 'lazarus://cell/c/agent/lead/log' })).rejects.toThrow(
      'PATH_ESCAPES_CELL',
    );
  });
});
