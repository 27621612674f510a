/** New missions, agents and tasks by verb: what is written, what is refused, and that schemas and answers keep their word. */
import { mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readVerb, runVerb, VERBS } from '../../actors/control.ts';
import { openHttpDoor } from '../../actors/http-door.ts';
import { readOffline } from '../../actors/offline.ts';
import { AGENT_FIELDS, CELL_FIELDS, TASK_FIELDS } from '../../actors/verbs/file-fields.ts';
import { pageOf } from '../../actors/verbs/page.ts';
import { schemaOf } from '../../cells/validate.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isDeeperThan, isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { findCommand } from '../../machines/remote-commands.ts';
import { eventually } from '../support/eventually.ts';
import { mission, startNode, step, task } from '../support/node.ts';

const waitsForPerson = { success_criteria: [{ name: 'looks good' }] };

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no error',
    (error: unknown) => (error instanceof RuntimeError ? error.code : error),
  );

describe('what is added', () => {
  test('given a whole mission, then its files stand, defaults filled in, and work begins', async () => {
    const node = await startNode();
    const made = await runVerb(node.node, 'cell.create', {
      mission_name: 'All at once',
      isolation_level: 'none',
      agents: [{ agent_id: 'a', role: 'lead' }],
      tasks: [{ task_id: 't', steps: [step('s')] }],
      config: { policies: { max_retries: 1 } },
      by: 'ann',
    });
    const { cell_id: id } = made as { cell_id: string };
    expect(made).toMatchObject({ path: node.path(id).replace(/\/$/, ''), taken_in: true });
    await node.cellIs(id, 'completed');
    expect(node.json(id, 'cell.json')).toMatchObject({
      $schema: 'https://lazarus.dev/schemas/cell.json',
      mission_name: 'All at once',
      created_by: 'ann',
    });
    expect(node.json(id, 'agents/a.json')).toMatchObject({ name: 'a', role: 'lead' });
    expect(node.json(id, 'tasks/t.json')).toMatchObject({ title: 't', priority: 'medium' });
    expect(node.json(id, 'config/policies.json')).toEqual({ max_retries: 1 });
    expect(node.runs(id)).toEqual(['t/s']);
  });

  test('given a file and single fields, then the fields win and what is unknown stays', async () => {
    const node = await startNode();
    node.drop(mission('c', [], waitsForPerson));
    await node.cellIs('c', 'active');
    const file = { title: 'from the file', priority: 'low', ours: { kept: true }, _rev: 7 };
    const asked = { cell: 'c', task_id: 't', priority: 'high', file };
    expect(await runVerb(node.node, 'task.add', asked)).toMatchObject({ taken_in: true });
    expect(node.json('c', 'tasks/t.json')).toMatchObject({
      task_id: 't',
      title: 'from the file',
      priority: 'high',
      ours: { kept: true },
    });
    const shown = await runVerb(node.node, 'task.show', { task: 'c/t' });
    expect(shown).toMatchObject({ task_id: 't', file: { priority: 'high' } });
  });

  test('many asked for at once with one id: one is made, the others hear of it, and nothing is left behind', async () => {
    const node = await startNode();
    const asks = Array.from({ length: 8 }, (_, n) =>
      codeOf(runVerb(node.node, 'cell.create', { mission_name: `m${n}`, cell_id: 'one' })),
    );
    const codes = await Promise.all(asks);
    expect(codes.filter((code) => code === 'no error')).toHaveLength(1);
    expect(new Set(codes)).toEqual(new Set(['no error', 'CELL_DUPLICATE']));
    const agents = Array.from({ length: 8 }, () =>
      codeOf(runVerb(node.node, 'agent.add', { cell: 'one', agent_id: 'a' })),
    );
    expect((await Promise.all(agents)).filter((code) => code === 'no error')).toHaveLength(1);
    const isOurs = (name: string): boolean => name !== '.lazarus' && name.startsWith('.');
    expect(readdirSync(node.missions).filter(isOurs)).toEqual([]);
    expect(readdirSync(node.path('one', 'agents')).filter(isOurs)).toEqual([]);
  });

  test('given a cell that is held, then the file stands and the answer says that it waits', async () => {
    const node = await startNode();
    node.drop(mission('c', [], { isolation_level: 'level_3' }));
    await eventually(() => expect(node.cell('c').phase).toBe('held'));
    const added = await runVerb(node.node, 'task.add', { cell: 'c', task_id: 't' });
    expect(added).toMatchObject({ cell_id: 'c', task_id: 't', taken_in: expect.any(Boolean) });
    expect(node.exists('c', 'tasks/t.json')).toBe(true);
  });
});

describe('what is refused', () => {
  test.each<[string, JsonObject, string]>([
    ['cell.create', {}, 'FILE_INVALID'],
    ['cell.create', { mission_name: 'm', cell_id: 'c' }, 'CELL_DUPLICATE'],
    ['cell.create', { mission_name: 'm', cell_id: 'mission' }, 'FILE_INVALID'],
    ['cell.create', { file: { mission_name: 'm', cell_id: '../x' } }, 'FILE_INVALID'],
    ['cell.create', { mission_name: 'm', tasks: [{ task_id: '../x' }] }, 'INVALID_ARGUMENT'],
    ['cell.create', { file: { mission_name: 'm', agents: { '../x': {} } } }, 'FILE_INVALID'],
    ['cell.create', { mission_name: 'm', depends: 1 }, 'INVALID_ARGUMENT'],
    ['agent.add', { cell: 'c' }, 'INVALID_ARGUMENT'],
    ['agent.add', { cell: 'c', agent_id: 'lead' }, 'CONFLICT'],
    ['agent.add', { cell: 'c', file: { agent_id: '../../x' } }, 'INVALID_ARGUMENT'],
    ['agent.add', { cell: 'c', agent_id: 'x', runner: { kind: 'command' } }, 'FILE_INVALID'],
    ['task.add', { cell: 'c', task_id: 't', dependencies: ['t'] }, 'FILE_INVALID'],
    ['task.add', { cell: 'c', task_id: 't', steps: [{ name: 's' }] }, 'INVALID_ARGUMENT'],
    ['task.add', { cell: 'nowhere', task_id: 't' }, 'NOT_FOUND'],
  ])('%s %j', async (name, input, code) => {
    const node = await startNode();
    node.drop(mission('c', [], waitsForPerson));
    await node.cellIs('c', 'active');
    expect(await codeOf(runVerb(node.node, name, input))).toBe(code);
    expect(node.node.status().cells).toHaveLength(1);
    const names = ['.lazarus', '00000000-0000-4000-8000-6c617a617275', 'c'];
    await eventually(() => expect(readdirSync(node.missions).toSorted()).toEqual(names.toSorted()));
  });

  test('given ten thousand unknown fields, then a few are named', async () => {
    const node = await startNode();
    const fields = Array.from({ length: 10_000 }, (_, n) => [`field${n}${'x'.repeat(50)}`, n]);
    const asked = { mission_name: 'm', ...(Object.fromEntries(fields) as JsonObject) };
    const said = await runVerb(node.node, 'cell.create', asked).catch((error: Error) => error);
    expect((said as Error).message.length).toBeLessThan(2000);
  });

  test('given tasks/ became a link, then nothing is written where it leads', async () => {
    const node = await startNode();
    node.drop(mission('c', [], waitsForPerson));
    await node.cellIs('c', 'active');
    const elsewhere = mkdtempSync(join(tmpdir(), 'lazarus-elsewhere-'));
    onTestFinished(() => rmSync(elsewhere, { recursive: true }));
    renameSync(node.path('c', 'tasks'), node.path('c', 'tasks.away'));
    symlinkSync(elsewhere, node.path('c', 'tasks'));
    const adding = runVerb(node.node, 'task.add', { cell: 'c', task_id: 't' });
    expect(await codeOf(adding)).toBe('PATH_ESCAPES_CELL');
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  test('given commands over HTTP, then they are refused wherever they stand, and what has none is taken', async () => {
    const log = { info: () => {}, warn: () => {} };
    let url = '';
    let token = '';
    await startNode({
      openDoors: async (opened) => {
        const options = { host: '127.0.0.1', port: 0, isAskedFor: true, log };
        const door = await openHttpDoor(opened, options);
        url = door.gateway.url;
        ({ token } = door);
        return [door];
      },
    });
    const ask = async (verb: string, input: JsonObject): Promise<number> => {
      const headers = { authorization: `Bearer ${token}` };
      const body = JSON.stringify(input);
      return (await fetch(`${url}/verbs/${verb}`, { method: 'POST', headers, body })).status;
    };
    const run = ['id'];
    const named = { mission_name: 'm', cell_id: 'm' };
    const tasks = [{ task_id: 't', steps: [{ name: 's', run }] }];
    expect(await ask('cell.create', { ...named, tasks })).toBe(403);
    expect(await ask('cell.create', { file: { ...named, tasks } })).toBe(403);
    expect(await ask('cell.create', { ...named, success_criteria: [{ name: 'x', run }] })).toBe(
      403,
    );
    expect(await ask('cell.create', named)).toBe(200);
    const x = { cell: 'm', agent_id: 'x' };
    expect(await ask('agent.add', { ...x, runner: { kind: 'command', run } })).toBe(403);
    expect(await ask('agent.add', { ...x, file: { mcp_servers: { m: {} } } })).toBe(403);
    expect(await ask('agent.add', { ...x, description: 'x'.repeat(2 << 20) })).toBe(413);
    expect(await ask('agent.add', x)).toBe(200);
  });
});

describe('schemas', () => {
  const propertiesOf = (kind: 'agent' | 'cell' | 'task'): JsonObject => {
    const { definitions } = schemaOf(kind) as { definitions: { body: { properties: JsonObject } } };
    return definitions.body.properties;
  };
  const enumOf = (schema: JsonValue | undefined): JsonValue =>
    isJsonObject(schema) ? (schema['enum'] ?? resolved(schema)['enum'] ?? null) : null;
  const resolved = (schema: JsonObject): JsonObject => {
    const { $ref, allOf } = schema as { $ref?: string; allOf?: { $ref: string }[] };
    const name = ($ref ?? allOf?.[0]?.$ref)?.split('#/definitions/')[1];
    const { definitions } = schemaOf('common') as { definitions: Record<string, JsonObject> };
    return (name === undefined ? undefined : definitions[name]) ?? {};
  };

  test.each([
    ['agent', AGENT_FIELDS],
    ['cell', CELL_FIELDS],
    ['task', TASK_FIELDS],
  ] as const)('the fields of %s that a door takes are those of its file', (kind, fields) => {
    const known = propertiesOf(kind);
    for (const [name, schema] of Object.entries(fields)) {
      expect(Object.keys(known)).toContain(name);
      if (enumOf(schema) !== null) expect(enumOf(schema), name).toEqual(enumOf(known[name]));
    }
  });

  test('every verb that promises an answer keeps to it, with a node and without', async () => {
    const node = await startNode();
    node.drop(mission('c', [task('t', [step('s')])], waitsForPerson));
    await eventually(() => expect(node.cell('c').phase).toBe('confirming'));
    await eventually(() => expect(node.exists('c', 'logs/mission.log')).toBe(true));
    const inputs: Record<string, JsonObject> = {
      'cell.show': { cell: 'c' },
      'task.show': { task: 't' },
      'agent.health': { agent: 'lead' },
      logs: { cell: 'c', agent: 'lead' },
      'cell.create': { mission_name: 'n', cell_id: 'n' },
      'agent.add': { cell: 'c', agent_id: 'x' },
      'task.add': { cell: 'c', task_id: 'x' },
      inject: { to: 'cell/c', event: { type: 'cell.pause' } },
    };
    const ajv = new Ajv({ strict: true, allowUnionTypes: true });
    // Those of revivals and actions need some of them: their own tests look.
    const promising = VERBS.filter(
      ({ output, name }) => output && !/^(revivals|actions)\./.test(name),
    );
    for (const { name, output } of promising) {
      const answer = await runVerb(node.node, name, inputs[name] ?? {});
      const check = ajv.compile(output as object);
      expect(check(answer), `${name}: ${ajv.errorsText(check.errors)}`).toBe(true);
    }
    await node.stop();
    const reader = await readOffline(node.missions);
    for (const { name, output } of promising.filter(({ kind }) => kind === 'reads')) {
      const check = ajv.compile(output as object);
      const answer = readVerb(reader, name, inputs[name] ?? {});
      expect(check(answer), `${name}: ${ajv.errorsText(check.errors)}`).toBe(true);
    }
  });

  test('whoever changes something says with what right, and only people approve', () => {
    const approving = VERBS.filter((verb) => verb.kind === 'writes' && verb.rights === 'approve');
    expect(approving.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['revivals.approve', 'revivals.reject', 'agent.revive', 'doubt.done']),
    );
    for (const name of ['cell.create', 'agent.add', 'task.add', 'cell.pause'])
      expect(approving.map((verb) => verb.name)).not.toContain(name);
  });
});

describe('small parts', () => {
  test('pages: every item once, in the order of the keys, whatever comes and goes between them', () => {
    const items = ['d', 'b', 'a', 'c'];
    const keyOf = (item: string): string => item;
    expect(pageOf(items, keyOf, {})).toEqual({ items });
    expect(pageOf(items, keyOf, { limit: 2 })).toEqual({ items: ['a', 'b'], next: 'b' });
    expect(pageOf(['b', 'd', 'e'], keyOf, { limit: 2, after: 'b' })).toEqual({ items: ['d', 'e'] });
    expect(pageOf(items, keyOf, { after: 'z' })).toEqual({ items: [] });
  });

  test('depth is told without recursion, and an MCP server is a command', () => {
    let deep: JsonValue = 1;
    for (let depth = 0; depth < 100_000; depth += 1) deep = [deep];
    expect(isDeeperThan(deep, 64)).toBe(true);
    expect(isDeeperThan({ a: [{ b: 1 }] }, 3)).toBe(false);
    expect(isDeeperThan({ a: [{ b: 1 }] }, 2)).toBe(true);
    expect(findCommand({ file: { mcp_servers: { x: { command: 'id' } } } })).toBe(
      '/file/mcp_servers',
    );
  });
});
