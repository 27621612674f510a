/** `lazarus fsck` on a folder whose node runs and holds an actor: what it says of it must be so. */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Finding } from '../../actors/fsck/finding.ts';
import { eventually } from '../support/eventually.ts';
import { isUp, lazarus, missionsFolder, Running, writeCell } from '../support/cli.ts';

const ADDRESS = 'cell/m/agent/worker';
const TASKS = [{ task_id: 't', steps: [{ name: 's', run: ['sleep', '600'], retry: 'safe' }] }];
const MORE = { isolation_level: 'none', policies: { auto_revive: 'no' } };

async function started(missions: string): Promise<Running> {
  const node = Running.of(missions, 'up', '--http', 'off');
  await isUp(missions, node);
  return node;
}

async function stopped(node: Running): Promise<void> {
  node.child.kill('SIGTERM');
  node.child.kill('SIGINT');
  await node.ended;
}

const agentIs = (missions: string, status: string): Promise<unknown> =>
  eventually(
    async () => {
      const { cells } = (await lazarus(missions, 'status', '--json')).json();
      expect(cells).toMatchObject([{ agents: [{ status }] }]);
    },
    { timeoutMs: 20_000 },
  );

async function findings(missions: string): Promise<Finding[]> {
  const { json } = await lazarus(missions, 'fsck', '--json');
  return json()['findings'] as Finding[];
}

test('given checkpoints and records of an agent damaged, when its node runs and holds it, then fsck says so, and not that the node has its state', async () => {
  const missions = missionsFolder();
  writeCell(missions, 'm', { tasks: TASKS, more: MORE });
  const first = await started(missions);
  await agentIs(missions, 'active');
  first.child.kill('SIGTERM');
  await first.ended;
  const folder = join(missions, 'm/checkpoints/worker');
  for (const name of readdirSync(folder).filter((known) => known.startsWith('state')))
    writeFileSync(join(folder, name), 'garbage');
  rmSync(join(missions, 'm/.lazarus/journal'), { recursive: true });
  const second = await started(missions);
  await agentIs(missions, 'failed');
  const found = await findings(missions);
  expect(found.find(({ code }) => code === 'actor-held')).toMatchObject({
    severity: 'error',
    where: ADDRESS,
    what: expect.stringContaining('no older checkpoint is sound') as string,
    todo: expect.stringContaining(`lazarus cell release ${ADDRESS}`) as string,
  });
  expect(found.find(({ code }) => code === 'checkpoint-damaged')).toMatchObject({
    severity: 'error',
    means: expect.stringContaining('The running node holds the actor') as string,
  });
  expect(JSON.stringify(found)).not.toContain('The running node has the state');
  expect((await lazarus(missions, 'fsck')).code).toBe(1);
  await stopped(second);
}, 90_000);

test('given a node that runs and the checkpoint of an agent at work damaged, then nobody is called held', async () => {
  const missions = missionsFolder();
  writeCell(missions, 'm', { tasks: TASKS, more: MORE });
  const node = await started(missions);
  await agentIs(missions, 'active');
  const path = join(missions, 'm/checkpoints/worker/state.json');
  await eventually(() => expect(existsSync(path)).toBe(true));
  // The node may just be writing the next one.
  const found = await eventually(async () => {
    writeFileSync(path, 'garbage');
    const all = await findings(missions);
    expect(all.map(({ code, severity }) => [code, severity])).toEqual([
      ['checkpoint-damaged', 'warning'],
    ]);
    return all;
  });
  expect(found[0]?.means).toContain('awake');
  await stopped(node);
}, 60_000);
