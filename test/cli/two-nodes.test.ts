/**
 * Two nodes that were given one runtime folder, as the real command line: one acts, the other stands by, says whom it waits for,
 * leaves the folder alone, and takes over when that one is gone, however it went.
 */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { proposal } from '../support/action.ts';
import { eventually } from '../support/eventually.ts';
import { HomelabProcess, HOST } from '../support/homelab-process.ts';

const LONG = { timeoutMs: 40_000 };

function twoNodes(): [HomelabProcess, HomelabProcess] {
  const environment = { NATS_URL: 'off', LAZARUS_HTTP: 'off' };
  const one = new HomelabProcess(environment);
  onTestFinished(() => one.dispose());
  const other = new HomelabProcess(
    { ...environment, PATH: one.environment['PATH'] ?? '' },
    one.layout.root,
  );
  onTestFinished(() => other.dispose());
  one.docker.run('web', 'healthy');
  return [one, other];
}

/** As a program writes it that proposes something. */
function propose(lab: HomelabProcess, id: string): void {
  const folder = lab.layout.actions.pending;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${id}.json`), JSON.stringify(proposal(id, { node: HOST })));
}

const is = (lab: HomelabProcess, id: string, status: ActionStatus): Promise<void> =>
  eventually(() => expect(lab.everywhere()).toContainEqual({ id, status }), LONG);

const state = async (lab: HomelabProcess): Promise<unknown> =>
  Promise.all(
    ['actions', 'planner', 'executor'].map(async (name) => (await lab.part(name))['state']),
  );
const takesOver = (lab: HomelabProcess): Promise<void> =>
  eventually(async () => expect(await state(lab)).toEqual(['up', 'up', 'up']), LONG);
const knows = (lab: HomelabProcess, id: string): Promise<JsonObject> =>
  eventually(() => lab.verb('actions.show', { id }), LONG);

test('given a node acts on the folder, when a second one is started on it, then that stands by, and takes over from one that was killed, its freeze included', async () => {
  const [one, other] = twoNodes();
  const first = await one.up();
  const second = await other.up();
  expect(await state(other)).toEqual(['standby', 'standby', 'standby']);
  expect(await other.part('actions')).toMatchObject({
    reason: expect.stringContaining(`pid ${first.child.pid}`) as string,
    owner: { pid: first.child.pid, missions: one.missions },
  });
  expect(second.logged('another node acts on the runtime folder: this one stands by')).toHaveLength(
    1,
  );
  propose(one, 'a');
  await knows(one, 'a');
  const refused = { code: 'NODE_LOCKED', hint: `Ask that node: --missions ${one.missions}` };
  await expect(other.verb('actions.approve', { id: 'a' })).rejects.toMatchObject(refused);
  await expect(other.verb('freeze', { reason: 'x' })).rejects.toMatchObject(refused);
  await one.verb('actions.approve', { id: 'a' });
  await is(one, 'a', 'completed');
  expect(one.docker.restarts).toHaveLength(1);
  expect(await other.verb('actions.list')).toMatchObject({ actions: [] }); // it has not even looked

  await one.verb('freeze', { reason: 'moving house', by: 'alice (x)' });
  await first.kill();
  const beat = (): number => statSync(one.layout.plannerHeartbeat).mtimeMs;
  const last = beat();
  await takesOver(other);
  await eventually(() => expect(beat()).toBeGreaterThan(last), LONG);
  expect(await other.part('actions')).toMatchObject({
    frozen: { by: 'alice (x)', reason: 'moving house' },
  });
  propose(other, 'b');
  await knows(other, 'b');
  await other.verb('actions.approve', { id: 'b' });
  await eventually(
    async () => expect((await knows(other, 'b'))['waits']).toMatch(/frozen by alice/),
    LONG,
  );
  await other.verb('unfreeze', {});
  await is(other, 'b', 'completed');

  await one.up();
  expect(await state(one)).toEqual(['standby', 'standby', 'standby']);
  await second.stop();
  await takesOver(one);
  expect((await one.part('actions'))['frozen']).toBe(null); // somebody ended it at the other one
  expect(one.docker.restarts).toHaveLength(2);
  expect([...one.docker.strange, ...other.docker.restarts]).toEqual([]);
}, 120_000);

test('given a node was killed in the middle of an action and the other took over, when it comes back, then it waits, and goes on when it may', async () => {
  const [one, other] = twoNodes();
  const first = await one.up({ at: 'host:effect.planRun.before-run:1' });
  propose(one, 'a');
  await knows(one, 'a');
  one.move('a', 'pending', 'approved');
  expect(await first.exited).toBe('SIGKILL');
  const second = await other.up();
  await takesOver(other);
  expect(await knows(other, 'a')).toMatchObject({
    status: 'held',
    waits: expect.stringContaining('unseen proposal') as string,
  });
  const again = await one.up();
  expect(await state(one)).toEqual(['standby', 'standby', 'standby']);
  expect(await knows(one, 'a')).toMatchObject({ state: 'planning' });
  expect(one.docker.restarts).toEqual([]);
  await second.stop();
  await is(one, 'a', 'completed');
  expect(one.docker.restarts).toHaveLength(1);
  await again.stop();
}, 120_000);
