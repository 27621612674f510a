/** The list of verbs and the socket they are served on, in one process with the node. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, onTestFinished, test } from 'vitest';
import { findVerb, readVerb, runVerb, VERBS } from '../../actors/control.ts';
import { openControlDoor } from '../../actors/control-door.ts';
import { MissionNode } from '../../actors/node.ts';
import { readOffline } from '../../actors/offline.ts';
import { nearNames, resolveCell, resolveDoubt, resolveMember } from '../../actors/verbs/ids.ts';
import type { StatusView } from '../../actors/status.ts';
import { callVerb } from '../../bus/control-client.ts';
import { controlSocketPath, openControlSocket } from '../../bus/control-socket.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonValue } from '../../machines/json.ts';
import { PUBLIC_EVENTS } from '../../machines/public-events.ts';
import { slowStep, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

const log = { info: () => {}, warn: () => {}, error: () => {} };

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'lazarus-control-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function startNode(missionsDir = folder()): Promise<{ node: MissionNode; socket: string }> {
  const node = await MissionNode.start({
    missionsDir,
    log,
    version: 'test',
    openDoors: async (started) => [await openControlDoor(started, log)],
  });
  onTestFinished(() => node.stop());
  await node.scanned;
  return { node, socket: controlSocketPath(node.layout.own) };
}

interface Reply {
  status: number | undefined;
  text: string;
}

function send(socketPath: string, method: string, path: string, body = ''): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

const codeOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no error',
    (error: unknown) => (error instanceof RuntimeError ? error.code : error),
  );

describe('the list of verbs', () => {
  test('names each once, with a summary and a closed schema', () => {
    expect(new Set(VERBS.map(({ name }) => name)).size).toBe(VERBS.length);
    for (const { name, summary, input } of VERBS) {
      expect(name).toMatch(/^[a-z]+(\.[a-z]+)?$/);
      expect(summary).toMatch(/\.$/);
      expect(input).toMatchObject({ type: 'object', additionalProperties: false });
    }
  });

  test('an unknown verb is told what is near', () => {
    expect(() => findVerb('cell.puase')).toThrow(
      expect.objectContaining({ hint: 'Did you mean cell.pause?' }),
    );
  });

  test.each<[string, JsonValue]>([
    ['cell.pause', {}],
    ['cell.pause', { cell: 7 }],
    ['cell.pause', { cell: 'c', force: 'yes' }],
    ['status', []],
    ['agent.kill', { agent: '' }],
  ])('%s refuses the input %j', async (name, input) => {
    const { node } = await startNode();
    expect(await codeOf(runVerb(node, name, input))).toBe('INVALID_ARGUMENT');
  });

  test('what changes something is refused where there is no node', async () => {
    const reader = await readOffline(folder());
    expect(readVerb(reader, 'cell.list', {})).toEqual({ cells: [] });
    expect(() => readVerb(reader, 'cell.pause', { cell: 'c' })).toThrow(
      expect.objectContaining({ code: 'NOT_RUNNING' }),
    );
  });
});

describe('ids that people type', () => {
  const cell = (cellId: string, agents: string[], tasks: string[]) => ({
    cell_id: cellId,
    agents: agents.map((id) => ({ agent_id: id })),
    tasks: tasks.map((id) => ({ task_id: id })),
  });
  const doubt = (cellId: string, task: string) => ({
    key: `cell/${cellId}/agent/a#3#step`,
    cell_id: cellId,
    agent_id: 'a',
    task_id: task,
  });
  const view = {
    cells: [cell('abcd-1', ['a', 'lead'], ['t']), cell('abcd-2', ['a'], ['t', 'u'])],
    in_doubt: [doubt('abcd-1', 't'), doubt('abcd-2', 't')],
  } as unknown as StatusView;

  test('a whole id, or the beginning of one cell only', () => {
    expect(resolveCell(view, 'abcd-2').cell_id).toBe('abcd-2');
    expect(() => resolveCell(view, 'abcd')).toThrow('abcd-1, abcd-2');
    expect(() => resolveCell(view, 'abc')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });

  test('a bare id when it is unique, else with its cell', () => {
    expect(resolveMember(view, 'agent', 'lead')).toEqual({ cellId: 'abcd-1', id: 'lead' });
    expect(resolveMember(view, 'task', 'abcd-1/t')).toEqual({ cellId: 'abcd-1', id: 't' });
    expect(() => resolveMember(view, 'agent', 'a')).toThrow(
      expect.objectContaining({
        code: 'AMBIGUOUS_ID',
        details: { candidates: ['abcd-1/a', 'abcd-2/a'] },
      }),
    );
    expect(() => resolveMember(view, 'task', 'abcd-1/u')).toThrow('has no task u');
  });

  test('a step in doubt by its key, its task or its agent', () => {
    expect(resolveDoubt(view, 'cell/abcd-2/agent/a#3#step').cell_id).toBe('abcd-2');
    expect(resolveDoubt(view, 'abcd-1/t').cell_id).toBe('abcd-1');
    expect(() => resolveDoubt(view, 't')).toThrow(
      expect.objectContaining({ code: 'AMBIGUOUS_ID' }),
    );
  });

  test('near names: slips of the keyboard, parts, the nearest first, three at most', () => {
    expect(nearNames('writter', ['writer', 'reader', 'writer_2'])).toEqual(['writer']);
    expect(nearNames('note', ['release-notes', 'x'])).toEqual(['release-notes']);
    expect(nearNames('a1', ['a2', 'a3', 'a4', 'a5'])).toHaveLength(3);
    expect(nearNames('zzz', ['abc'])).toEqual([]);
  });
});

describe('the control socket', () => {
  test('serves every verb, and says what there is', async () => {
    const { node, socket } = await startNode();
    expect(await callVerb(socket, 'status', {})).toMatchObject({
      node: { state: 'running', pid: process.pid },
    });
    const { status, text } = await send(socket, 'GET', '/verbs');
    expect(status).toBe(200);
    const { result } = JSON.parse(text) as { result: { name: string }[] };
    expect(result.map(({ name }) => name)).toEqual(VERBS.map(({ name }) => name));
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700);
    expect(await callVerb(socket, 'cell.list', {})).toEqual({ cells: [] });
    expect(node.layout.own).toBe(dirname(socket));
  });

  test.each<[string, string, string, number, string]>([
    ['an unknown verb', '/verbs/nope', '{}', 404, 'NOT_FOUND'],
    ['another path', '/etc/passwd', '{}', 404, 'NOT_FOUND'],
    ['a body that is no JSON', '/verbs/status', '{', 400, 'INVALID_ARGUMENT'],
    [
      'a body that is too long',
      '/verbs/status',
      ' '.repeat((1 << 20) + 1),
      400,
      'INVALID_ARGUMENT',
    ],
    ['an id that is not there', '/verbs/cell.pause', '{"cell":"c"}', 404, 'NOT_FOUND'],
  ])('%s is refused without a stack', async (_what, path, body, status, code) => {
    const { socket } = await startNode();
    const reply = await send(socket, 'POST', path, body);
    expect(reply.status).toBe(status);
    expect(JSON.parse(reply.text)).toMatchObject({ ok: false, error: { code, retryable: false } });
    expect(reply.text).not.toMatch(/\.ts:|node_modules|stack/);
    expect(await callVerb(socket, 'cell.list', {})).toEqual({ cells: [] });
  });

  test('a defect in a verb is said to be one, and logged', async () => {
    const warned: string[] = [];
    const broken = {
      name: 'broken',
      summary: '',
      input: {},
      run: () => Promise.reject(new TypeError('x is not a function')),
    };
    const socket = await openControlSocket({
      path: join(folder(), 's'),
      verbs: [broken],
      log: { warn: (_fields, message) => warned.push(message) },
    });
    onTestFinished(() => socket.close());
    await expect(callVerb(socket.path, 'broken', {})).rejects.toMatchObject({
      code: 'INTERNAL',
      message: 'x is not a function',
    });
    expect(warned).toEqual(['control verb failed']);
  });

  test('one that a dead node left is replaced, one that somebody answers on is not', async () => {
    const dir = folder();
    chmodSync(dir, 0o700);
    const path = join(dir, 'control.sock');
    writeFileSync(path, '');
    const first = await openControlSocket({ path, verbs: [], log });
    onTestFinished(() => first.close());
    expect(await codeOf(openControlSocket({ path, verbs: [], log }))).toBe('CONFLICT');
    await first.close();
    expect(existsSync(path)).toBe(false);
  });

  test('a folder that others may write to is refused', async () => {
    const dir = folder();
    chmodSync(dir, 0o777);
    expect(await codeOf(openControlSocket({ path: join(dir, 's'), verbs: [], log }))).toBe(
      'CONFLICT',
    );
  });

  test('a missions folder with a long path has its socket in a private temporary folder', async () => {
    const deep = join(folder(), 'x'.repeat(60), 'y'.repeat(60));
    mkdirSync(deep, { recursive: true });
    const { socket } = await startNode(deep);
    onTestFinished(() => rmSync(dirname(socket), { recursive: true, force: true }));
    expect(socket.startsWith(tmpdir())).toBe(true);
    expect(Buffer.byteLength(socket)).toBeLessThanOrEqual(100);
    expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700);
    expect(await callVerb(socket, 'cell.list', {})).toEqual({ cells: [] });
  });

  test('nobody there, and somebody who does not answer, are told apart', async () => {
    const dir = folder();
    expect(await codeOf(callVerb(join(dir, 'none'), 'status', {}))).toBe('NOT_RUNNING');
    const mute = createServer(() => {}).listen(join(dir, 'mute'));
    onTestFinished(() => void mute.close());
    await eventually(() => expect(existsSync(join(dir, 'mute'))).toBe(true));
    expect(await codeOf(callVerb(join(dir, 'mute'), 'status', {}, { timeoutMs: 50 }))).toBe('BUSY');
  });

  test('closes last: a node that drains can be watched', async () => {
    const { node, socket } = await startNode();
    const dir = writeCell(node.layout.root, 'c', {
      tasks: [{ task_id: 't', steps: [slowStep('go', 1, 'safe')] }],
    });
    await eventually(() => expect(existsSync(join(dir, 'artifacts/ran.txt'))).toBe(true));
    const stopping = node.stop();
    expect(await callVerb(socket, 'status', {})).toMatchObject({ node: { state: 'stopping' } });
    await stopping;
    expect(existsSync(socket)).toBe(false);
  });

  test('a node that goes away in the middle leaves it open whether it did what was asked', async () => {
    const path = join(folder(), 's');
    const rude = createServer((socket) => socket.on('data', () => socket.destroy())).listen(path);
    onTestFinished(() => void rude.close());
    await eventually(() => expect(existsSync(path)).toBe(true));
    expect(await codeOf(callVerb(path, 'cell.cancel', { cell: 'c' }))).toBe('OUTCOME_UNKNOWN');
  });
});

describe('held actors', () => {
  test('only a held one can be released, and only one that lives', async () => {
    const { node } = await startNode();
    expect(await codeOf(runVerb(node, 'actor.release', { address: 'cell/none' }))).toBe(
      'ACTOR_UNKNOWN',
    );
    await node.kernel.system.spawn('cell/c', 'cell', { cellId: 'c' });
    expect(await codeOf(runVerb(node, 'actor.release', { address: 'cell/c' }))).toBe('CONFLICT');
    const actor = node.kernel.system.actors.get('cell/c');
    if (actor === undefined) throw new Error('it was just spawned');
    node.kernel.system.holdActor(actor, { code: 'BUSY', reason: 'a loop' });
    expect(await runVerb(node, 'actor.release', { address: 'cell/c' })).toEqual({
      address: 'cell/c',
      released: true,
    });
    expect(actor.hold).toBeUndefined();
  });
});

test('the schemas of verbs and of public events are sound: a node does not check its own', () => {
  const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true });
  const ofVerbs = VERBS.flatMap(({ input, output }) => [input, ...(output ? [output] : [])]);
  for (const schema of [...ofVerbs, ...PUBLIC_EVENTS.map(({ data }) => data)]) {
    expect([ajv.validateSchema(schema), ajv.errorsText(ajv.errors)]).toEqual([true, 'No errors']);
    expect(() => ajv.compile(schema)).not.toThrow();
  }
});
