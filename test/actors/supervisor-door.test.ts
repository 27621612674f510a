/** The supervisor on a real node, with real files: when it looks, what it tells, what it goes by, and what it does not fall over. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DriftContext } from '../../machines/drift-context.ts';
import { startNode } from '../support/node.ts';
import { eventFilesIn } from '../support/runtime-files.ts';
import { BRIDGE, publish } from '../support/planner.ts';
import { failingIo } from '../support/failing-io.ts';
import { homelabEvent } from '../support/incidents.ts';
import { never } from '../support/actions.ts';
import { DEAD, RESTARTS, SupervisedHomelab, WELL } from '../support/supervisor.ts';
import type { StartOptions } from '../support/supervisor.ts';
import { inShards } from '../../machines/shards.ts';
import type { JsonObject } from '../../machines/json.ts';
import { proposal } from '../support/action.ts';
import { put } from '../support/cell-files.ts';

const HOSTS = { vps: ['web', 'db'], nas: ['storage'] };
const RESTART = 'container-restart-vps-web';

describe('the policy', () => {
  test('given it cannot be read at the start, then drift is recommended only, until it can', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.policy({ rules: [RESTARTS] });
    lab.scribble('config/policy.json', '{"supervisor": {"rules": [{');
    lab.observe({ 'vps/web': DEAD });
    await lab.start();
    await lab.verb('reconcile');
    expect(lab.standing()).toEqual(['vps/web: recommended']);
    expect(lab.ids('pending')).toEqual([]);
    lab.policy({ rules: [{ mode: 'propose' }] });
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: proposed']));
  });

  test('given it changes while the node runs, then what it says now counts', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.observe({ 'vps/web': DEAD });
    await lab.start();
    expect(lab.standing()).toEqual(['vps/web: recommended']);
    lab.policy({ rules: [RESTARTS] });
    await lab.until(() => expect(lab.executor.ran).toEqual([RESTART]));
    lab.policy({ rules: [] });
    await lab.until(() => expect(lab.context.policy.rules).toEqual([]));
    lab.observe({ 'vps/db': DEAD });
    await lab.until(() => expect(lab.standing()[0]).toBe('vps/db: recommended'));
    expect(lab.executor.ran).toEqual([RESTART]);
  });

  test('given another one when the next life begins, when a place is free before that life was told of it, then nothing is approved by the old one', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.executor.answer = never;
    lab.policy({ rules: [RESTARTS] });
    lab.observe({ 'vps/web': DEAD });
    await lab.start();
    await lab.until(() => expect(lab.executor.ran).toEqual([RESTART]));
    lab.observe({ 'vps/db': DEAD });
    await lab.until(() => expect(lab.context.row).toMatchObject([{ key: 'vps/db' }]));
    const ended = { type: 'remedy.ended', key: 'vps/web', actionId: RESTART };
    await lab.restart(() => lab.policy({ rules: [] }), {
      between: async (node) => {
        const remedy = { remedy: 'container_restart', outcome: 'withdrawn' };
        await node.kernel.system.send('system/supervisor', { ...ended, ...remedy });
      },
    });
    await lab.verb('reconcile');
    expect(lab.context).toMatchObject({ granted: {}, frozen: false });
    expect(lab.ids('pending')).toEqual(['container-restart-vps-db']);
  });

  test('given a freeze before the first look, then nothing is approved until it is over', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.policy({ rules: [RESTARTS] });
    await lab.start();
    await lab.verb('freeze', { reason: 'moving house' });
    await lab.restart(() => lab.observe({ 'vps/web': DEAD }));
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: proposed']));
    await lab.verb('reconcile');
    expect(lab.part).toMatchObject({ frozen: true, waiting: [{ action_id: RESTART }] });
    expect(lab.ids('pending')).toEqual([RESTART]);
    await lab.verb('unfreeze');
    await lab.until(() => expect(lab.executor.ran).toEqual([RESTART]));
  });
});

describe('the autonomy file', () => {
  const CLASS = 'container_restart vps/web';
  const EARN = { name: 'earn', actions: ['container_restart'], mode: 'earn', after: 1 };

  /** With one success. */
  async function earned(options: StartOptions = {}): Promise<SupervisedHomelab> {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.policy({ rules: [{ ...EARN, hosts: ['nobody'] }] });
    await lab.start(options);
    const ended = { remedy: 'container_restart', outcome: 'verified', actionId: 'x' };
    await lab.tell({ type: 'remedy.ended', key: 'vps/web', ...ended });
    await lab.until(() => expect(lab.earned()[CLASS]).toMatchObject({ successes: 1 }));
    return lab;
  }
  const write = (lab: SupervisedHomelab, content: unknown): void =>
    put(dirname(lab.layout.autonomyFile), 'autonomy.json', content);

  test('given garbage, then nothing is taken back nor written over; mended, it is read; removed, it is written anew', async () => {
    const lab = await earned();
    for (const end of [
      () => write(lab, { [CLASS]: { successes: 7 } }),
      () => rmSync(lab.layout.autonomyFile),
    ]) {
      lab.scribble('state/autonomy.json', '{"container_restart vps/web": {"revoked": tru');
      await lab.verb('reconcile');
      expect(lab.part['autonomy_problem']).toMatch(/no JSON/);
      expect(readFileSync(lab.layout.autonomyFile, 'utf8')).toMatch(/tru$/);
      expect(lab.context.earned[CLASS]).toMatchObject({ successes: 1, revokedBy: null });
      end();
      await lab.verb('reconcile');
      expect(lab.part['autonomy_problem']).toBeNull();
      expect(lab.earned()[CLASS]).toMatchObject({ successes: 1 });
    }
  });

  test('given a pipe in its place, then nothing hangs, it is said, and nothing is taken back', async () => {
    const lab = await earned();
    rmSync(lab.layout.autonomyFile);
    execFileSync('mkfifo', [lab.layout.autonomyFile]);
    await lab.verb('reconcile');
    expect(lab.part['autonomy_problem']).toMatch(/cannot be read/);
    expect(lab.context.earned[CLASS]).toMatchObject({ successes: 1 });
  });

  test('given it is removed, then what was earned holds, and it is written anew', async () => {
    const lab = await earned();
    rmSync(lab.layout.autonomyFile);
    await lab.verb('reconcile');
    expect(lab.context.earned[CLASS]).toMatchObject({ successes: 1 });
    expect(lab.earned()[CLASS]).toMatchObject({ successes: 1 });
  });

  test('given a line is removed, then that class begins with nothing', async () => {
    const lab = await earned();
    write(lab, {});
    await lab.verb('reconcile');
    expect(lab.context.earned).toEqual({});
    expect(lab.earned()).toEqual({});
  });

  test('given more successes than are known, then they are not believed', async () => {
    const lab = await earned();
    write(lab, { [CLASS]: { successes: 99 }, 'redeploy nas/storage': { successes: 99 } });
    await lab.verb('reconcile');
    expect(lab.earned()).toMatchObject({ [CLASS]: { successes: 1 } });
    expect(Object.keys(lab.earned())).toEqual([CLASS]);
    expect(Object.keys(lab.context.earned)).toEqual([CLASS]);
  });

  test('given a person takes back what was earned, then that is heard without another look being asked for', async () => {
    const lab = await earned();
    write(lab, { [CLASS]: { successes: 1, revoked: true } });
    await lab.until(() => expect(lab.context.earned[CLASS]).toMatchObject({ successes: 0 }));
    await lab.until(() => expect(lab.earned()[CLASS]).toMatchObject({ revoked: true }));
  });

  test('given a person takes it back while the journal is held, then that is not forgotten', async () => {
    const disk = failingIo();
    const lab = await earned({ node: { kernel: { journalIo: disk.io } } });
    disk.fail('ENOSPC');
    write(lab, { [CLASS]: { successes: 1, revoked: true } });
    await lab.until(() => expect(lab.part).toMatchObject({ state: 'down' }));
    disk.mend();
    await lab.until(() => expect(lab.context.earned[CLASS]).toMatchObject({ successes: 0 }));
    await lab.until(() => expect(lab.earned()[CLASS]).toMatchObject({ revoked: true }));
  });

  test('given a person takes back what has earned nothing yet, then that counts too', async () => {
    const lab = await earned();
    const other = 'redeploy nas/storage';
    write(lab, { [CLASS]: { successes: 1 }, [other]: { revoked: true } });
    await lab.verb('reconcile');
    expect(lab.context.earned[other]).toMatchObject({ successes: 0, revokedBy: 'autonomy.json' });
    expect(lab.earned()).toMatchObject({ [CLASS]: { successes: 1 }, [other]: { revoked: true } });
    expect(lab.part['autonomy_problem']).toBeNull();
  });

  test('given a line that takes back what is no kind of action, then that is said until it is mended', async () => {
    const lab = await earned();
    write(lab, { [CLASS]: { successes: 1 }, 'restart vps/web': { revoked: true } });
    await lab.verb('reconcile');
    expect(lab.part['autonomy_problem']).toMatch(
      /"restart vps\/web" takes nothing back: write one of/,
    );
    await lab.verb('reconcile');
    expect(lab.part['autonomy_problem']).toMatch(/takes nothing back/);
    expect(Object.keys(lab.context.earned)).toEqual([CLASS]);
    write(lab, { [CLASS]: { successes: 1, revoked: true } });
    await lab.verb('reconcile');
    expect(lab.part['autonomy_problem']).toBeNull();
  });

  test('given it is edited while no node runs, then the next life takes back what was revoked', async () => {
    const lab = await earned();
    await lab.restart(() => write(lab, { [CLASS]: { successes: 1, revoked: true } }));
    expect(lab.context.earned[CLASS]).toMatchObject({ successes: 0, revokedBy: 'autonomy.json' });
    expect(lab.earned()[CLASS]).toMatchObject({ successes: 0, revoked: true });
  });

  test('given a folder that cannot be written, then it is said, looks go on, and it is written when it can be', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start();
    const { state } = lab.layout;
    renameSync(state, `${state}.away`);
    symlinkSync('/nowhere', state);
    const ended = { remedy: 'container_restart', outcome: 'verified', actionId: 'x' };
    await lab.tell({ type: 'remedy.ended', key: 'vps/web', ...ended });
    lab.observe({ 'vps/db': DEAD });
    await lab.until(() => expect(lab.standing()).toEqual(['vps/db: recommended']));
    expect(await lab.verb('reconcile')).toMatchObject({ looked: true });
    expect(lab.part['autonomy_problem']).toMatch(/cannot be written/);
    rmSync(state);
    renameSync(`${state}.away`, state);
    await lab.until(() => expect(lab.earned()[CLASS]).toMatchObject({ successes: 1 }));
    await lab.until(() => expect(lab.part).toMatchObject({ state: 'up', autonomy_problem: null }));
  });
});

describe('when it looks', () => {
  test('given the journal is held, then it says so and goes on by itself', async () => {
    const disk = failingIo();
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start({ node: { kernel: { journalIo: disk.io } } });
    disk.fail('ENOSPC');
    lab.observe({ 'vps/web': DEAD });
    await lab.until(() => expect(lab.part).toMatchObject({ state: 'down' }));
    await expect(lab.verb('reconcile')).rejects.toThrow(/journal|ENOSPC/i);
    disk.mend();
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: recommended']));
    await lab.until(() => expect(lab.part).toMatchObject({ state: 'up' }));
  });

  test('given many who ask while a look is under way, then one more look answers them all', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start();
    lab.observe({ 'vps/web': DEAD });
    const answers = await Promise.all(Array.from({ length: 30 }, () => lab.verb('reconcile')));
    expect(new Set(answers.map(({ at }) => at)).size).toBeLessThanOrEqual(2);
    expect(answers.every(({ looked }) => looked === true)).toBe(true);
    expect(answers.at(-1)).toMatchObject({ drifts: [{ key: 'vps/web' }] });
    const rehearsed = await lab.verb('reconcile', { dry_run: true });
    expect(rehearsed).toMatchObject({ dry_run: true, opened: [], drifts: [{ key: 'vps/web' }] });
  });

  test('given looks that find the same, then the journal has one of them', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.observe({ 'vps/web': DEAD });
    await lab.start();
    await lab.verb('reconcile');
    const before = lab.records.length;
    for (let i = 0; i < 10; i += 1) {
      lab.observe({});
      await lab.verb('reconcile');
    }
    expect(lab.records.slice(before)).toEqual([]);
    const opened = lab.told('supervisor.looked').flatMap(({ event }) => event['opened'] as []);
    expect(opened).toHaveLength(1);
    expect(lab.said()).toEqual(['reconcile_required vps/web']);
  });

  test('given a world that changes all the time, then looks are joined and the last word is heard', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start();
    const stop = Date.now() + 1500;
    let changes = 0;
    while (Date.now() < stop) {
      lab.observe({ 'vps/web': changes % 2 === 0 ? DEAD : WELL });
      changes += 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    lab.observe({ 'vps/web': WELL, 'nas/storage': DEAD });
    await lab.until(() => expect(lab.standing()).toEqual(['nas/storage: recommended']));
    expect(lab.told('supervisor.looked').length).toBeLessThan(changes / 2);
    await lab.until(() => expect(lab.summary()).toMatchObject({ drifts: { total: 1 } }));
  });

  test('given a bridge tells of the world, then it looks', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start({ pollMs: 3_600_000 });
    lab.observe({ 'vps/web': DEAD });
    const told = homelabEvent(Date.now(), 'service_unhealthy', { host: 'vps', service: 'web' });
    await publish(lab.at.node, { ...told, data: { ...told.data, channel: 'world_updates' } });
    expect(BRIDGE).toMatch(/^system\/bridge\//);
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: recommended']));
  });

  test('given aliases, then a host of either name is one, and its events bear its own', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start({ aliases: { saturn: 'vps' } });
    lab.observe({ 'vps/web': null, 'saturn/web': DEAD });
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: recommended']));
    expect(lab.context.look?.counts).toMatchObject({ services: { missing: 0, unhealthy: 1 } });
    await lab.until(() => expect(lab.said()).toEqual(['reconcile_required vps/web']));
  });
});

describe('who else acts', () => {
  test("given another's action is open for the service, then it is recommended only until that has ended", async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.policy({ rules: [{ mode: 'propose' }] });
    await lab.start();
    put(lab.layout.actions.pending, 'plan-vps-web-1.json', {
      ...proposal('plan-vps-web-1'),
      node: 'vps',
      service: 'web',
    });
    await lab.until(() => expect(lab.part).toMatchObject({ state: 'up' }));
    await lab.until(async () =>
      expect(await lab.verb('actions.show', { id: 'plan-vps-web-1' })).toMatchObject({
        status: 'pending',
      }),
    );
    lab.observe({ 'vps/web': DEAD });
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: recommended']));
    expect(inShards(lab.context.standing, 'vps/web')?.decision.because).toBe(
      'action plan-vps-web-1 is open for it',
    );
    await lab.verb('actions.reject', { id: 'plan-vps-web-1', reason: 'no' });
    await lab.until(() => expect(lab.ids('pending')).toEqual([RESTART]));
  });
});

describe('what it writes', () => {
  test('given a drift that went while no node ran, when its action had ended, then the first look counts that and writes it down', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.policy({ rules: [RESTARTS] });
    lab.observe({ 'vps/web': DEAD });
    await lab.start();
    await lab.until(() => expect(lab.standing()).toEqual(['vps/web: verifying']));
    await lab.restart(() => lab.observe({ 'vps/web': WELL }));
    await lab.until(() =>
      expect(lab.earned()['container_restart vps/web']).toMatchObject({ successes: 1 }),
    );
    await lab.until(() => expect(lab.checkpoint()).toMatchObject({ drifts: [] }));
  });

  test('given a reader who reads all the time, then summary and checkpoint are whole', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start();
    const states = new Set<unknown>();
    let reads = 0;
    const reading = setInterval(() => {
      states.add(lab.summary()['state']); // throws, were it not whole
      expect(Array.isArray(lab.checkpoint()['drifts'])).toBe(true);
      reads += 1;
    }, 1);
    try {
      for (let i = 0; i < 20; i += 1) {
        lab.observe({ 'vps/web': i % 2 === 0 ? DEAD : WELL });
        await lab.verb('reconcile');
      }
    } finally {
      clearInterval(reading);
    }
    expect(reads).toBeGreaterThan(5);
    expect(states).toEqual(new Set(['degraded', 'nominal']));
    expect(readdirSync(lab.layout.world).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('given a proposal is made, then the checkpoint says so', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    lab.policy({ rules: [{ mode: 'propose' }] });
    await lab.start();
    lab.observe({ 'vps/web': DEAD });
    await lab.until(() =>
      expect(lab.checkpoint()).toMatchObject({
        drifts: [{ key: 'vps/web', status: 'proposed', action_id: RESTART }],
      }),
    );
  });

  test('given places of their own for log and checkpoint, then they are there and nowhere else', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    const folder = join(lab.layout.root, 'elsewhere');
    mkdirSync(folder);
    const [eventsLog, checkpoint] = [join(folder, 'events.log'), join(folder, 'checkpoint.json')];
    lab.observe({ 'vps/web': DEAD });
    await lab.start({ eventsLog, checkpoint });
    await lab.until(() => expect(readFileSync(eventsLog, 'utf8')).toMatch(/reconcile_required/));
    await lab.until(() => expect(readFileSync(checkpoint, 'utf8')).toMatch(/"vps\/web"/));
    expect(existsSync(lab.layout.agentEventsLog)).toBe(false);
    expect(existsSync(lab.layout.supervisorCheckpoint)).toBe(false);
  });

  test('given a summary that cannot be written, then that is said, and drift is looked after', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    await lab.start();
    rmSync(lab.layout.worldSummary);
    mkdirSync(lab.layout.worldSummary);
    lab.observe({ 'vps/web': DEAD });
    expect(await lab.verb('reconcile')).toMatchObject({ looked: true });
    expect(lab.standing()).toEqual(['vps/web: recommended']);
    expect(lab.part).toMatchObject({
      state: 'down',
      reason: expect.stringMatching(/EISDIR/) as string,
    });
    rmSync(lab.layout.worldSummary, { recursive: true });
    await lab.until(() => expect(lab.summary()).toMatchObject({ state: 'degraded' }));
    await lab.until(() => expect(lab.part).toMatchObject({ state: 'up' }));
  });
});

describe('a node that looks after no homelab', () => {
  test('given a step that was not told when the node stopped, then it waits for a node that can tell it, and is told once', async () => {
    const lab = SupervisedHomelab.make(HOSTS);
    writeFileSync(lab.layout.events, 'in the place of the folder');
    lab.observe({ 'vps/web': DEAD });
    await lab.start();
    const drift = (): { writes: boolean; tries: number } => {
      const { value, context } = lab.at.node.kernel.system.read(
        'system/supervisor/vps/web',
      ).snapshot;
      const { telling } = value as { telling: string };
      return { writes: telling === 'writing', tries: (context as DriftContext).tellTries };
    };
    await lab.until(() => expect(drift()).toEqual({ writes: false, tries: 1 }));
    await lab.at.stop();
    rmSync(lab.layout.events);
    const without = await startNode({}, lab.missions);
    const { system } = without.node.kernel;
    const value = (): unknown => system.read('system/supervisor/vps/web').snapshot.value;
    await lab.until(() => expect(value()).toMatchObject({ telling: 'writing' }));
    await new Promise((resolve) => setTimeout(resolve, 200)); // long enough to be given up
    expect(value()).toMatchObject({ telling: 'writing' });
    await without.stop();
    await lab.start();
    await lab.until(() => expect(eventFilesIn(lab.layout)).toHaveLength(1));
    expect(lab.said()).toEqual(['reconcile_required vps/web']);
  });
});

describe('bounds', () => {
  test('given 6,000 drifts at once, then 5,000 are looked after, the rest is counted, and no event is large', async () => {
    const hosts = Object.fromEntries(
      Array.from({ length: 130 }, (_, h) => [
        `h${h}`,
        Array.from({ length: 100 }, (_service, s) => `s${s}`),
      ]),
    );
    const lab = SupervisedHomelab.make(hosts);
    await lab.start();
    expect(lab.context.look?.counts.services.healthy).toBe(13_000);
    const ill: Record<string, JsonObject> = {};
    for (let h = 0; h < 60; h += 1) for (let s = 0; s < 100; s += 1) ill[`h${h}/s${s}`] = DEAD;
    const before = lab.records.length;
    lab.observe(ill);
    await lab.verb('reconcile');
    expect(lab.context.standing.size).toBe(5000);
    expect(lab.part).toMatchObject({ drifts: 5000, not_looked_after: 1000 });
    const looks = lab.records
      .slice(before)
      .filter(({ event }) => event.type === 'supervisor.looked');
    for (const { event } of looks) {
      const { opened, changed, closed } = event as unknown as Record<string, unknown[]>;
      expect(
        (opened?.length ?? 0) + (changed?.length ?? 0) + (closed?.length ?? 0),
      ).toBeLessThanOrEqual(200);
      expect(JSON.stringify(event).length).toBeLessThan(256 * 1024);
    }
    expect(looks.length).toBeGreaterThanOrEqual(25);
    expect(lab.summary()).toMatchObject({ drifts: { total: 6000, unhealthy_service: 5000 } });
    lab.observe(Object.fromEntries(Object.keys(ill).map((key) => [key, WELL])));
    await lab.verb('reconcile');
    await lab.until(() => expect(lab.standing()).toEqual([]));
    await lab.until(() => expect(lab.summary()).toMatchObject({ state: 'nominal' }));
    await lab.at.node.kernel.halt(); // without 5,000 checkpoints
  }, 60_000);
});
