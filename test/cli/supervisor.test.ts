/**
 * The closed loop as a person meets it: an inventory and a world folder beside it, a service that dies in the world, and what
 * comes of it, on the real command line with a docker on PATH. Kills: supervisor-crash.test.ts.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { eventFilesIn } from '../support/runtime-files.ts';
import { HOST, ReconciledHomelab } from '../support/reconciled-homelab.ts';

const DEAD: JsonObject = { status: 'unhealthy', trigger: 'containers_not_running' };
const WELL: JsonObject = { status: 'healthy' };
const WEB = `${HOST}/web`;
const RESTART = `container-restart-${HOST}-web`;
const hosts = { [HOST]: [{ name: 'web', depends_on: 'db' }, 'db'], nas: ['storage'] };

test('given the default policy, when a service dies in the world, then it is recommended, once, and no action is written', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  await homelab.lab.up();
  await homelab.until(() => expect(homelab.summary()['state']).toBe('nominal'));
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(async () =>
    expect(await homelab.standing()).toEqual([`${WEB}: recommended`]),
  );
  homelab.observe({ 'nas/storage': null });
  await homelab.until(async () => expect(await homelab.drifts()).toHaveLength(2));
  await homelab.until(() =>
    expect(homelab.said().toSorted()).toEqual([
      'reconcile_required nas/storage',
      `reconcile_required ${WEB}`,
    ]),
  );
  await homelab.until(() =>
    expect(homelab.summary()).toMatchObject({
      state: 'degraded',
      services: { desired: 3, healthy: 1, unhealthy: 1, missing: 1 },
      recommendations: expect.arrayContaining([
        expect.objectContaining({ id: 'redeploy-nas-storage', action: 'redeploy' }),
        expect.objectContaining({ id: RESTART, action: 'container_restart' }),
      ]) as unknown,
    }),
  );
  await homelab.until(() =>
    expect(eventFilesIn(homelab.lab.layout).map(({ source }) => source)).toEqual([
      'supervisor',
      'supervisor',
    ]),
  );
  expect(homelab.lab.everywhere()).toEqual([]);
  const why = await homelab.cli('why', WEB);
  expect(why.out).toMatch(/Only recommended: no rule of the policy fits/);
  homelab.observe({ [WEB]: WELL, 'nas/storage': WELL });
  await homelab.until(() => expect(homelab.summary()['state']).toBe('nominal'));
  const again = await homelab.cli('reconcile');
  expect(again.out).toMatch(/nominal: 0 drifts\nNothing changed/);
  await homelab.until(() =>
    expect(homelab.said().filter((line) => line.startsWith('drift_resolved'))).toHaveLength(2),
  );
  const told = await homelab.cli('why', WEB);
  expect(told.out).toMatch(/nothing is known to be wrong with .*web/i);
  expect(told.out).toMatch(/reconcile_required/);
});

test('given a rule that approves, when a service dies, then it is proposed, approved, run, verified, and the whole is nominal again', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  homelab.policy({
    rules: [{ name: 'restarts', actions: ['container_restart'], mode: 'approve' }],
  });
  homelab.lab.docker.run('web', 'starting');
  await homelab.lab.up();
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(() => expect(homelab.lab.docker.restarts).toHaveLength(1));
  homelab.observe({ [WEB]: WELL });
  await homelab.until(() => expect(homelab.lab.ids('completed')).toEqual([RESTART]));
  await homelab.until(async () => expect(await homelab.drifts()).toEqual([]));
  await homelab.until(() => expect(homelab.summary()['state']).toBe('nominal'));
  await homelab.until(() =>
    expect(homelab.said()).toEqual(
      [
        'reconcile_required',
        'action_proposed',
        'action_approved',
        'action_ended',
        'remedy_verified',
        'drift_resolved',
      ].map((type) => `${type} ${WEB}`),
    ),
  );
  const file = homelab.lab.action('completed', RESTART);
  expect(file).toMatchObject({
    requires_human: false,
    expected_effect: { removes: `unhealthy_service ${WEB}`, dependants: [] },
    transition_history: [
      { to: 'approved', by: 'policy restarts' },
      { to: 'running' },
      { to: 'completed' },
    ],
  });
  await homelab.until(() =>
    expect(homelab.earned()[`container_restart ${WEB}`]).toMatchObject({
      successes: 1,
      revoked: false,
    }),
  );
  const why = await homelab.cli('why', RESTART);
  expect(why.out).toMatch(/approved by +policy restarts, by policy/);
  expect(why.out).toMatch(/it is not as it should be/);
});

test('given a rule that proposes, when the drift is gone before anybody answered, then the proposal is cancelled with the reason', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  homelab.policy({ rules: [{ mode: 'propose' }] });
  await homelab.lab.up();
  homelab.observe({ [WEB]: DEAD, 'nas/storage': { status: 'failed' } });
  await homelab.until(() =>
    expect(homelab.lab.ids('pending')).toEqual([RESTART, 'redeploy-nas-storage']),
  );
  expect(homelab.lab.action('pending', RESTART)).toMatchObject({ requires_human: true });
  homelab.observe({ [WEB]: WELL });
  homelab.desire('nas', []);
  await homelab.until(() =>
    expect(homelab.lab.ids('cancelled')).toEqual([RESTART, 'redeploy-nas-storage']),
  );
  await homelab.until(async () => {
    const reasons = [RESTART, 'redeploy-nas-storage'].map(async (id) => {
      return (await homelab.lab.verb('actions.show', { id }))['reason'];
    });
    expect(await Promise.all(reasons)).toEqual([
      'drift_resolved_auto',
      'service_removed_from_desired_state',
    ]);
  });
  expect(homelab.lab.docker.restarts).toEqual([]);
});

test('given an action that does not help, then a person is asked to look, nothing more is tried, and what was earned is lost', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  homelab.policy({
    rules: [{ name: 'earn', actions: ['container_restart'], mode: 'earn', after: 1 }],
    verify_within: 1,
  });
  homelab.lab.docker.run('web', 'healthy');
  await homelab.lab.up();
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(() => expect(homelab.lab.ids('pending')).toEqual([RESTART]));
  homelab.lab.move(RESTART, 'pending', 'approved');
  await homelab.until(async () => expect(await homelab.standing()).toEqual([`${WEB}: escalated`]));
  expect(await homelab.drifts()).toMatchObject([{ advised: { remedy: 'diagnostics' } }]);
  await homelab.until(() => expect(homelab.summary()['state']).toBe('unstable'));
  expect(homelab.lab.docker.restarts).toHaveLength(1);
  await homelab.until(() =>
    expect(homelab.earned()[`container_restart ${WEB}`]).toMatchObject({ successes: 0 }),
  );
});

test('given autonomy that was earned once, when a person takes it back in the file, then the next action waits for a person', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  const rule = { name: 'earn', actions: ['container_restart'], mode: 'earn', after: 1 };
  homelab.policy({ rules: [rule] });
  homelab.lab.docker.run('web', 'starting');
  await homelab.lab.up();
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(() => expect(homelab.lab.ids('pending')).toEqual([RESTART]));
  homelab.lab.move(RESTART, 'pending', 'approved');
  await homelab.until(() => expect(homelab.lab.docker.restarts).toHaveLength(1));
  homelab.observe({ [WEB]: WELL });
  const earned = (): JsonObject => homelab.earned();
  const name = `container_restart ${WEB}`;
  await homelab.until(() => expect(earned()[name]).toMatchObject({ successes: 1 }));
  await homelab.until(async () => expect(await homelab.drifts()).toEqual([]));
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(() => expect(homelab.lab.docker.restarts).toHaveLength(2)); // earned
  homelab.observe({ [WEB]: WELL });
  await homelab.until(() => expect(earned()[name]).toMatchObject({ successes: 2 }));
  await homelab.until(async () => expect(await homelab.drifts()).toEqual([]));
  writeFileSync(
    homelab.lab.layout.autonomyFile,
    JSON.stringify({ [name]: { ...(earned()[name] as JsonObject), revoked: true } }),
  );
  await homelab.lab.verb('reconcile');
  expect(earned()[name]).toMatchObject({
    successes: 0,
    revoked: true,
    revoked_by: 'autonomy.json',
  });
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(() => expect(homelab.lab.ids('pending')).toHaveLength(1));
  expect(homelab.lab.docker.restarts).toHaveLength(2);
});

test('given world files that are half written, emptied or gone, then nothing drifts, and the status says what holds since when', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  homelab.policy({ rules: [{ mode: 'propose' }] });
  await homelab.lab.up();
  await homelab.until(() => expect(homelab.summary()['state']).toBe('nominal'));
  const path = join(homelab.lab.layout.world, 'services.json');
  const whole = readFileSync(path, 'utf8');
  for (const text of [whole.slice(0, 30), '', '{}', '[]', 'null', '{"solaria/web"']) {
    homelab.scribble('world/services.json', text);
    const looked = await homelab.cli('reconcile', '--json');
    expect(looked.json()).toMatchObject({ looked: false });
    expect(await homelab.drifts()).toEqual([]);
  }
  rmSync(path);
  expect((await homelab.cli('reconcile')).out).toMatch(/Nothing was found out: world/);
  expect(await homelab.lab.part('supervisor')).toMatchObject({ state: 'down', summary: 'nominal' });
  expect((await homelab.cli('drift')).out).toMatch(/The last look found nothing out/);
  homelab.observe({});
  await homelab.until(async () =>
    expect(await homelab.lab.part('supervisor')).toMatchObject({ state: 'up' }),
  );
  expect(homelab.lab.everywhere()).toEqual([]);
});

test('given an inventory with mistakes, then each is named with file, line and key, and what that file said last holds', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  await homelab.lab.up();
  homelab.observe({ 'nas/storage': null });
  await homelab.until(async () => expect(await homelab.drifts()).toHaveLength(1));
  homelab.scribble(
    'inventory/hosts/nas/services.yaml',
    'services:\n  - name: storage\n    monitor: nope\n',
  );
  await homelab.until(async () =>
    expect((await homelab.cli('reconcile')).out).toMatch(
      /hosts\/nas\/services\.yaml:3 .*monitor must be true or false/,
    ),
  );
  expect(await homelab.standing()).toEqual(['nas/storage: recommended']);
  expect((await homelab.cli('status')).out).toMatch(
    /inventory: hosts\/nas\/services\.yaml:3 .*monitor must be true or false/,
  );
  homelab.scribble(
    'inventory/hosts/nas/services.yaml',
    'services:\n  - name: storage\n    monitor: false\n',
  );
  await homelab.until(async () => expect(await homelab.drifts()).toEqual([]));
  await homelab.until(() =>
    expect(homelab.lines().at(-1)).toMatchObject({
      type: 'drift_resolved',
      payload: { because: 'service_removed_from_desired_state' },
    }),
  );
});

test('given a host of which nobody says how it is, then that is said wherever all is not called well', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  const life = await homelab.lab.up();
  homelab.observe({}, { nas: { status: 'odd' } });
  await homelab.until(() =>
    expect(homelab.summary()).toMatchObject({ state: 'degraded', unknown: ['nas'] }),
  );
  const said = async (verb: string): Promise<string> => (await homelab.cli(verb)).out;
  expect(await said('drift')).toMatch(/^Nothing is known to drift; nobody says how nas is; 2 serv/);
  expect(await said('reconcile')).toMatch(/^degraded: 0 drifts; nobody says how nas is\n/);
  expect(await said('status')).toMatch(/homelab degraded: 0 drifts; .*nobody says how nas is: `/);
  await life.stop();
  expect(await said('drift')).toMatch(/unknown are hosts: 1, services: 1; 2 services are well/);
});

test('given no node, then a rehearsal says what a look would find, and writes nothing', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  homelab.observe(
    { [WEB]: DEAD, 'nas/storage': { status: 'odd' } },
    { nas: { status: 'offline' } },
  );
  const { root } = homelab.lab.layout;
  const rehearsed = await homelab.cli('reconcile', '--dry-run', '--runtime', root, '--json');
  expect(rehearsed).toMatchObject({ code: 0, err: '' });
  expect(rehearsed.json()).toMatchObject({
    dry_run: true,
    state: 'unstable',
    opened: [
      { key: 'nas', kind: 'offline_node', recommendation: { id: 'failover-review-nas' } },
      { key: WEB, kind: 'unhealthy_service' },
    ],
  });
  expect(existsSync(homelab.lab.layout.state)).toBe(false);
  expect((await homelab.cli('reconcile')).code).toBe(1);
  const nobody = await homelab.cli('drift');
  expect([nobody.code, nobody.out]).toEqual([
    0,
    'Nobody has looked yet: lazarus up --runtime DIR\n',
  ]);
});

test('given a freeze, then a policy approves nothing until it is over', async () => {
  const homelab = ReconciledHomelab.open(hosts);
  homelab.policy({
    rules: [{ name: 'restarts', actions: ['container_restart'], mode: 'approve' }],
  });
  homelab.lab.docker.run('web', 'starting');
  await homelab.lab.up();
  await homelab.lab.verb('freeze', { reason: 'moving house' });
  homelab.observe({ [WEB]: DEAD });
  await homelab.until(async () => {
    const [row] = await homelab.drifts();
    expect(row).toMatchObject({
      status: 'proposed',
      waits: expect.stringMatching(/frozen/) as string,
    });
  });
  expect(homelab.lab.ids('pending')).toEqual([RESTART]);
  await homelab.lab.verb('unfreeze');
  await homelab.until(() => expect(homelab.lab.docker.restarts).toHaveLength(1));
});

test('given aliases and places from the environment, then a host of either name is one, and log and checkpoint stand there', async () => {
  const folder = temporaryFolder();
  const [log, checkpoint] = [join(folder, 'not/there/events.log'), join(folder, 'checkpoint.json')];
  const homelab = ReconciledHomelab.open(hosts, {
    NODE_ALIAS_MAP: JSON.stringify({ saturn: HOST }),
    AGENT_EVENTS_LOG: log,
    SUPERVISOR_CHECKPOINT: checkpoint,
  });
  await homelab.lab.up();
  homelab.observe({ [WEB]: null, 'saturn/web': DEAD });
  await homelab.until(async () =>
    expect(await homelab.standing()).toEqual([`${WEB}: recommended`]),
  );
  await homelab.until(() => expect(readFileSync(log, 'utf8')).toMatch(/"node":"solaria"/));
  await homelab.until(() => expect(readFileSync(checkpoint, 'utf8')).toMatch(/solaria\/web/));
  expect(existsSync(homelab.lab.layout.agentEventsLog)).toBe(false);
  expect((await homelab.cli('status')).out).toMatch(
    /homelab degraded: 1 drift; services: 1 unhealthy: `lazarus drift`/,
  );
});
