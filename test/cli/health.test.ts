/** `lazarus health`, with a node and without one. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { isUp, lazarus, missionsFolder, nodeFileOf, Running, writeCell } from '../support/cli.ts';

const FIELDS = [
  'timestamp',
  'total_cells',
  'total_agents',
  'healthy_agents',
  'unhealthy_agents',
  'agent_health',
  'summary',
  'running',
];
/** Works on for ever: its worker is there to be heard. */
const LASTING = [{ task_id: 't', steps: [{ name: 's', run: ['sleep', '600'], retry: 'safe' }] }];
const LEVEL_1 = { isolation_level: 'level_1', policies: { auto_revive: 'no' } };

async function started(missions: string): Promise<Running> {
  const node = Running.of(missions, 'up', '--http', 'off');
  await isUp(missions, node);
  return node;
}

describe('given a node with an agent at work and one of two missions', () => {
  test('then the report has the fields of the source, counts by status, and both are named by their missions', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'one', { tasks: LASTING, more: LEVEL_1 });
    writeCell(missions, 'two', { agents: ['worker', 'other'], more: LEVEL_1 });
    await started(missions);
    const json = await eventually(async () => {
      const said = await lazarus(missions, 'health', '--json');
      expect(said).toMatchObject({ code: 0, err: '' });
      expect(said.json()['agent_health']).toMatchObject({ 'one/worker': { status: 'healthy' } });
      return said.json();
    });
    expect(Object.keys(json)).toEqual(FIELDS);
    expect(json).toMatchObject({
      total_cells: 2,
      total_agents: 3,
      healthy_agents: 3,
      unhealthy_agents: 0,
      running: true,
      summary: { healthy: 1, degraded: 0, unhealthy: 0, unknown: 2 },
      agent_health: { other: { agent_id: 'other', cell_id: 'two', gateway: null, healthy: true } },
    });
    expect(Math.abs(Number(json['timestamp']) - Date.now() / 1000)).toBeLessThan(60);
    const { out } = await lazarus(missions, 'health');
    expect(out).toContain('3 agents in 2 missions: 1 healthy, 2 unknown, 0 degraded, 0 unhealthy');
    expect(out).toMatch(/one\/worker +healthy/);
    expect(out).not.toContain('No node runs');
  }, 60_000);
});

test('given an agent that failed and a node that is down, then it stands first, with what explains it', async () => {
  const missions = missionsFolder();
  const dies = { name: 's', run: ['sh', '-c', 'kill -9 $PPID; sleep 9'] };
  const tasks = [{ task_id: 't', assigned_to: 'worker', steps: [dies] }];
  writeCell(missions, 'm', { agents: ['a', 'worker'], tasks, more: LEVEL_1 });
  const node = await started(missions);
  await eventually(
    async () => {
      const { agent_health: agents } = (await lazarus(missions, 'health', '--json')).json();
      expect(agents).toMatchObject({ worker: { status: 'unhealthy', healthy: false } });
    },
    { timeoutMs: 20_000 },
  );
  node.child.kill('SIGTERM');
  await node.ended;
  const json = (await lazarus(missions, 'health', '--json')).json();
  expect(json).toMatchObject({
    total_agents: 2,
    unhealthy_agents: 1,
    running: false,
    summary: { unhealthy: 1, unknown: 1 },
  });
  const { out, code } = await lazarus(missions, 'health');
  expect(code).toBe(0);
  const lines = out.split('\n');
  const at = (pattern: RegExp): number => lines.findIndex((line) => pattern.test(line));
  expect(at(/worker +unhealthy .*lazarus why worker/)).toBeGreaterThan(0);
  expect(at(/worker +unhealthy/)).toBeLessThan(at(/a +unknown/));
  expect(out).toContain('No node runs here');
}, 60_000);

test('given no missions, then it says so; given no such folder, or an option it does not have, then it fails as other verbs do', async () => {
  const missions = missionsFolder();
  expect((await lazarus(missions, 'health')).out).toContain('0 agents in 0 missions');
  rmSync(nodeFileOf(missions), { force: true });
  const none = await lazarus(join(missions, 'none'), 'health', '--json');
  expect(none.code).not.toBe(0);
  expect(none.json()).toHaveProperty('error');
  expect((await lazarus(missions, 'health', '--nothing')).code).toBe(2);
  const { out } = await lazarus(null, 'health', '--help');
  expect(out).toContain('lazarus health --json');
});
