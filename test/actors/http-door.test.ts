/** The HTTP gateway of a real node, the report of its health, and the verbs about it. */
import {
  chmodSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AgentDirectory } from '../../actors/agent-directory.ts';
import { readVerb, VERBS } from '../../actors/control.ts';
import type { HealthReport } from '../../actors/health-report.ts';
import { HealthReporter } from '../../actors/health-report.ts';
import { openHttpDoor } from '../../actors/http-door.ts';
import { httpToken } from '../../actors/http-token.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { readOffline } from '../../actors/offline.ts';
import { mergeConfig } from '../../machines/daemon-config.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';
import type { Options, TestNode } from '../support/node.ts';

const log = { info: () => {}, warn: () => {} };
const remote = (id: string): JsonObject => agent(id, { runner: { kind: 'remote' } });
const waitsForPerson = { success_criteria: [{ name: 'looks good' }] };

interface Served {
  node: TestNode;
  url: string;
  token: string;
}

const withDoor = (port = 0): Options => ({
  openDoors: async (node): Promise<OpenDoor[]> => [
    await openHttpDoor(node, { host: '127.0.0.1', port, isAskedFor: true, log }),
  ],
});

async function serve(missions?: string): Promise<Served> {
  const node = await startNode(withDoor(), missions);
  return { node, ...facts(node) };
}

function facts({ node }: TestNode): { url: string; token: string } {
  const file = JSON.parse(readFileSync(node.layout.node, 'utf8')) as Record<string, string>;
  expect(file['http_token_file']).toBe(node.layout.httpToken);
  return {
    url: file['http'] ?? '',
    token: readFileSync(file['http_token_file'] ?? '', 'utf8').trim(),
  };
}

async function ask(
  { url, token }: Pick<Served, 'url' | 'token'>,
  path: string,
  body?: JsonObject,
): Promise<{ status: number; body: JsonObject }> {
  const response = await fetch(`${url}${path}`, {
    headers: path.startsWith('/verbs') ? { authorization: `Bearer ${token}` } : {},
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as JsonObject };
}

describe('heartbeats of a mission', () => {
  test('given a local, a remote agent and a guest, then all are listed, and only beats of the latter two count', async () => {
    const served = await serve();
    const { node } = served;
    const agents = [agent('here'), remote('far')];
    node.drop(mission('c', [], { agents, ...waitsForPerson }));
    await node.cellIs('c', 'active');
    expect((await ask(served, '/heartbeat/far', { metadata: { gateway: 'g' } })).status).toBe(200);
    expect((await ask(served, '/heartbeat/guest', {})).status).toBe(200);
    const refused = await ask(served, '/heartbeat/here', { metadata: { a: 1 } });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'CONFLICT' } } });
    expect((await ask(served, '/health')).body).toMatchObject({
      timestamp: expect.any(Number),
      total_agents: 3,
      healthy: 2,
      degraded: 0,
      unhealthy: 0,
      unknown: 1,
      agents: {
        here: { kind: 'local', status: 'unknown', metadata: {}, last_heartbeat: null },
        far: { kind: 'remote', status: 'healthy', metadata: { gateway: 'g' } },
        guest: { kind: 'guest', status: 'healthy' },
      },
    });
    expect((await ask(served, '/agent/far')).body).toMatchObject({
      agent_id: 'far',
      status: 'healthy',
      consecutive_failures: 0,
      error_message: null,
    });
    expect((await ask(served, '/agent/nobody')).status).toBe(404);
    expect(node.cell('c').agents).toMatchObject([{ health: 'healthy' }, { health: 'unknown' }]);
  });

  test('given an id in two cells, then 409 with the cells, and ?cell= selects', async () => {
    const served = await serve();
    for (const id of ['c1', 'c2'])
      served.node.drop(mission(id, [], { agents: [remote('twin')], ...waitsForPerson }));
    for (const id of ['c1', 'c2']) await served.node.cellIs(id, 'active');
    for (const body of [{}, undefined]) {
      const path = body ? '/heartbeat/twin' : '/agent/twin';
      expect(await ask(served, path, body)).toMatchObject({
        status: 409,
        body: { error: { code: 'AMBIGUOUS_ID', details: { cells: ['c1', 'c2'] } } },
      });
    }
    expect((await ask(served, '/heartbeat/twin?cell=c2', {})).status).toBe(200);
    expect((await ask(served, '/agent/twin?cell=c2')).body['status']).toBe('healthy');
    expect((await ask(served, '/agent/twin?cell=c1')).body['status']).toBe('unknown');
    expect((await ask(served, '/agent/twin?cell=c3')).status).toBe(404);
    expect((await ask(served, '/agent/twin?cell=c1&cell=c2')).status).toBe(400);
  });

  test('given cells asleep on disk, then their agents are known, and nobody is woken', async () => {
    const served = await serve();
    const { node } = served.node;
    const agents = [agent('lead'), remote('far')];
    const done = task('t', [step('s')], { assigned_to: 'lead' });
    served.node.drop(mission('c', [done], { agents }));
    await served.node.cellIs('c', 'completed');
    await eventually(async () => {
      await node.kernel.passivateIdle();
      expect(awake(node)).toEqual([]);
    });
    const directory = new AgentDirectory(node.kernel.system);
    onTestFinished(() => directory.close());
    await directory.ready();
    expect([...directory.all()].map(({ agentId }) => agentId).toSorted()).toEqual(['far', 'lead']);
    expect((await ask(served, '/health')).body['total_agents']).toBe(2);
    expect((await ask(served, '/heartbeat/far', {})).status).toBe(200);
    expect(awake(node)).toEqual([]);
  });
});

const awake = ({ kernel }: MissionNode): string[] =>
  [...kernel.system.actors.values()].flatMap(({ resident, address }) =>
    resident && address.startsWith('cell/') ? [address] : [],
  );

describe('verbs', () => {
  test('given the token, then those that may be called from elsewhere are there, and the record says by which door', async () => {
    const served = await serve();
    const { node } = served;
    node.drop(mission('c', [task('t', [step('s')])], waitsForPerson));
    await eventually(() => expect(node.cell('c').phase).toBe('confirming'));
    const { result } = (await ask(served, '/verbs')).body as { result: { name: string }[] };
    const remoteNames = VERBS.filter((verb) => verb.remote).map(({ name }) => name);
    expect(result.map(({ name }) => name)).toEqual(remoteNames);
    expect((await ask(served, '/verbs/actor.release', { address: 'cell/c' })).status).toBe(404);
    const confirmed = await ask(served, '/verbs/criterion.confirm', {
      cell: 'c',
      name: 'looks good',
    });
    expect(confirmed).toMatchObject({
      status: 200,
      body: { ok: true, result: { confirmed_by: 'bearer of the token (http)' } },
    });
    await node.cellIs('c', 'completed');
    expect(await ask(served, '/verbs/cell.pause', { cel: 'c' })).toMatchObject({
      status: 400,
      body: { error: { code: 'INVALID_ARGUMENT' } },
    });
  });

  test('health tells the report; unregister forgets a guest, and refuses the agent of a mission', async () => {
    const served = await serve();
    served.node.drop(mission('c', [], { agents: [remote('far')], ...waitsForPerson }));
    await served.node.cellIs('c', 'active');
    await ask(served, '/heartbeat/guest', {});
    await ask(served, '/heartbeat/far', {});
    const report = await ask(served, '/verbs/health', {});
    expect(report.body['result']).toMatchObject({
      total_cells: 1,
      total_agents: 2,
      healthy_agents: 2,
      unhealthy_agents: 0,
    });
    const unregister = (id: string): Promise<{ status: number }> =>
      ask(served, '/verbs/agent.unregister', { agent: id });
    expect((await unregister('guest')).status).toBe(200);
    expect((await unregister('guest')).status).toBe(404);
    expect((await unregister('far')).status).toBe(409);
    expect((await ask(served, '/agent/guest')).status).toBe(404);
  });
});

describe('the report', () => {
  test('is written at each poll with the fields of the source, and nobody is unhealthy that nothing is known of', async () => {
    const origin = { from: 'option', name: 'test' } as const;
    const config = mergeConfig([{ poll_interval: { value: 0.05, origin } }], null);
    const node = await startNode({ config });
    const agents = [agent('idle'), { ...remote('far'), gateway: 'gw' }];
    node.drop(mission('c', [], { agents, ...waitsForPerson }));
    await node.cellIs('c', 'active');
    const read = (): HealthReport =>
      JSON.parse(readFileSync(node.node.layout.health, 'utf8')) as HealthReport;
    await eventually(() => expect(read().total_agents).toBe(2));
    const { timestamp, agent_health: all, ...counts } = read();
    expect(counts).toEqual({
      total_cells: 1,
      total_agents: 2,
      healthy_agents: 2,
      unhealthy_agents: 0,
    });
    expect(all['far']).toEqual({
      agent_id: 'far',
      cell_id: 'c',
      gateway: 'gw',
      healthy: true,
      status: 'unknown',
      timestamp,
      response_time: null,
    });
    await eventually(() => expect(read().timestamp).toBeGreaterThan(timestamp));
    await node.node.kernel.system.send('cell/c/agent/far', { type: 'agent.silent', message: 'm' });
    await eventually(() => {
      expect(read()).toMatchObject({ healthy_agents: 1, unhealthy_agents: 1 });
      expect(read().agent_health['far']).toMatchObject({ healthy: false, status: 'unhealthy' });
    });
  });

  test('is said in the log when something changed, and not when nothing did', async () => {
    const node = await startNode();
    const lines: [string, Record<string, unknown>][] = [];
    const { directory, heartbeats } = node.node.health;
    await directory.ready();
    const reporter = new HealthReporter({
      directory,
      heartbeats,
      path: join(node.node.layout.own, 'own-health.json'),
      intervalMs: () => 1000,
      log: {
        debug: (fields) => void lines.push(['debug', fields]),
        info: (fields) => void lines.push(['info', fields]),
        warn: (fields) => void lines.push(['warn', fields]),
      },
    });
    await reporter.report();
    await reporter.report();
    heartbeats.beat('guest', { responseTimeMs: 1 });
    await reporter.report();
    await reporter.report();
    expect(lines.map(([level, fields]) => [level, fields['total_agents']])).toEqual([
      ['info', 0],
      ['debug', 0],
      ['info', 1],
      ['debug', 1],
    ]);
    node.drop(mission('c', [], { agents: [remote('far')], ...waitsForPerson }));
    await node.cellIs('c', 'active');
    await node.node.kernel.system.send('cell/c/agent/far', { type: 'agent.silent', message: 'm' });
    await eventually(() => expect(node.agent('c', 'far').status).toBe('failed'));
    await reporter.report();
    expect(lines.at(-1)).toMatchObject(['warn', { unhealthy_agents: 1, unhealthy: ['far'] }]);
  });

  test('of a folder without a node tells who has failed, and of nobody else anything', async () => {
    const { node } = await serve();
    const agents = [agent('idle'), remote('far')];
    node.drop(mission('c', [], { agents, policies: { auto_revive: 'no' }, ...waitsForPerson }));
    await node.cellIs('c', 'active');
    await node.node.kernel.system.send('cell/c/agent/far', { type: 'agent.silent', message: 'm' });
    await eventually(() => expect(node.agent('c', 'far').status).toBe('failed'));
    await node.stop();
    expect(readVerb(await readOffline(node.missions), 'health', {})).toMatchObject({
      total_cells: 1,
      total_agents: 2,
      healthy_agents: 1,
      unhealthy_agents: 1,
      agent_health: { far: { status: 'unhealthy' }, idle: { status: 'unknown', healthy: true } },
    });
  });
});

describe('the token', () => {
  test('is made at the first start for its user alone, and stays the same', async () => {
    const served = await serve();
    const { node, token } = served;
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(statSync(node.node.layout.httpToken).mode & 0o777).toBe(0o600);
    await node.restart(withDoor());
    expect(facts(node).token).toBe(token);
  });

  const spoilt: [string, (path: string) => void][] = [
    ['others could read it', (path) => chmodSync(path, 0o644)],
    ['it is empty', (path) => writeFileSync(path, '')],
    ['it is short', (path) => writeFileSync(path, 'secret\n')],
    [
      'it is a link',
      (path) => {
        rmSync(path);
        writeFileSync(`${path}.elsewhere`, 'x'.repeat(40), { mode: 0o600 });
        symlinkSync(`${path}.elsewhere`, path);
      },
    ],
  ];
  test.each(spoilt)('given %s, then another is made and the reason is told', async (_, spoil) => {
    const path = join(temporaryMissions(), 'http-token');
    const { token } = await httpToken(path);
    expect(await httpToken(path)).toEqual({ token, replaced: null });
    spoil(path);
    const anew = await httpToken(path);
    expect(anew.replaced).toMatch(/^(other|it)/);
    expect(anew.token).not.toBe(token);
    expect(anew.token).toHaveLength(43);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await httpToken(path)).toEqual({ token: anew.token, replaced: null });
  });
});

test('given a port that was asked for and is taken, then the node does not start, and leaves nothing behind', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  onTestFinished(() => void taken.close());
  const missions = temporaryMissions();
  const { port } = taken.address() as AddressInfo;
  await expect(startNode(withDoor(port), missions)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(existsSync(join(missions, '.lazarus/node.json'))).toBe(false);
  const served = await serve(missions);
  expect((await ask(served, '/healthz')).status).toBe(200);
});
