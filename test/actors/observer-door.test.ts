/** The observer on a real node and a real runtime folder: what other programs of the homelab see of it. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { OBSERVER, observedAddress } from '../../machines/addresses.ts';
import type { ObserverContext } from '../../machines/observer.machine.ts';
import { failingIo } from '../support/failing-io.ts';
import { homelabEvent } from '../support/incidents.ts';
import { startObserver, writeEvent } from '../support/observer.ts';
import type { ObserverFixture } from '../support/observer.ts';
import { BRIDGE, temporaryRuntime } from '../support/planner.ts';

/** Epoch seconds, a while ago. */
const T0 = Math.floor(Date.now() / 1000) - 3600;

const contextOf = (at: ObserverFixture): ObserverContext =>
  at.test.node.kernel.system.read(OBSERVER).snapshot.context as ObserverContext;

describe('from what is heard to the files of the world', () => {
  test('given an event of a bridge, then nodes, services and incidents say so, and the heartbeat beats', async () => {
    const at = await startObserver();
    await at.publish(homelabEvent(T0 * 1000));
    expect(await at.serviceIs('piha/mosquitto', 'unhealthy')).toMatchObject({
      node: 'piha',
      service: 'mosquitto',
      trigger: 'service_unhealthy',
      active_incidents: [`inc-${T0}-piha-mosquitto`],
    });
    expect(at.world('nodes')['piha']).toMatchObject({ status: 'online', last_seen: T0 });
    expect(at.world('incidents')).toMatchObject({
      [`inc-${T0}-piha-mosquitto`]: { status: 'active', occurrence_count: 1 },
    });
    expect(at.world('deployments')).toEqual({});
    expect(existsSync(at.layout.observerHeartbeat)).toBe(true);
    expect(at.status).toMatchObject({ state: 'up', mode: 'auto', hosts: 1, events: 1 });
  });

  test('given event files, then they are read and the checkpoint names the last of each host', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_unhealthy' });
    const last = at.write({ at: T0 + 10, type: 'service_healthy' });
    const other = at.write({ at: T0, type: 'node_offline', node: 'vps' });
    await at.serviceIs('piha/web', 'healthy');
    await at.until(() => expect(at.world('nodes')['vps']).toMatchObject({ status: 'offline' }));
    await at.until(() =>
      expect(JSON.parse(readFileSync(at.layout.observerCheckpoint, 'utf8'))).toMatchObject({
        node_checkpoints: { piha: last, vps: other },
      }),
    );
    expect(at.files).toMatchObject({ read: 3, refused: { count: 0 } });
  });

  test('given the same event by a bridge and as a file, then it counts once', async () => {
    const at = await startObserver();
    await at.publish({ ...homelabEvent(T0 * 1000 + 250), id: 'redis:health_events:n.1:7' });
    at.write({ at: T0, type: 'service_unhealthy', service: 'mosquitto' });
    await at.until(() => expect(at.files).toMatchObject({ read: 1 }));
    await at.serviceIs('piha/mosquitto', 'unhealthy');
    await at.until(() => expect(contextOf(at).events).toBe(2));
    expect(Object.values(at.world('incidents'))).toMatchObject([{ occurrence_count: 1 }]);
  });

  test('given what planner and supervisor say of themselves, then it is no observation', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'remediation_started', source: 'planner-agent' });
    at.write({ at: T0, type: 'drift_resolved', source: 'supervisor', node: 'vps' });
    at.write({ at: T0, type: 'node_online', node: 'real' });
    await at.until(() => expect(Object.keys(at.world('nodes'))).toEqual(['real']));
  });

  test('given a deployment with an id, then it is there by it', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'deployment_started', correlation_id: 'dep-1' });
    at.write({ at: T0 + 60, type: 'deployment_failed', correlation_id: 'dep-1' });
    await at.until(() =>
      expect(at.world('deployments')).toMatchObject({
        'dep-1': { status: 'failed', node: 'piha', service: 'web', started_at: T0 },
      }),
    );
  });

  test('given another name of a host, then there is one record, under the name in the inventory', async () => {
    const at = await startObserver({ aliases: { raspberry: 'piha' } });
    at.write({ at: T0, type: 'service_unhealthy', node: 'raspberry' });
    await at.publish(homelabEvent(T0 * 1000));
    await at.until(() =>
      expect(Object.keys(at.world('services'))).toEqual(['piha/mosquitto', 'piha/web']),
    );
  });

  test('given a host that gets another name, then what was known under the old one goes with the first word about it', async () => {
    let known = { hosts: new Set(['raspberry']), aliases: {} };
    const at = await startObserver({ inventory: () => Promise.resolve(known) });
    const old = (type: string, service: string): Promise<void> =>
      at.publish(homelabEvent(T0 * 1000, type, { host: 'raspberry', service }));
    await old('service_unhealthy', 'web');
    await old('service_healthy', 'db');
    await at.serviceIs('raspberry/web', 'unhealthy');
    await at.restart(() => (known = { hosts: new Set(['piha']), aliases: { raspberry: 'piha' } }));
    await at.serviceIs('raspberry/web', 'unhealthy');
    at.write({ at: T0 + 9, type: 'service_healthy', node: 'raspberry' });
    await at.serviceIs('piha/web', 'healthy');
    expect(Object.keys(at.world('services'))).toEqual(['piha/web', 'raspberry/db']);
    expect(Object.keys(at.world('nodes'))).toEqual(['piha']);
    expect(at.world('incidents')).toEqual({});
  });

  test('given other names while the journal cannot be written, then they count once it can', async () => {
    const disk = failingIo();
    let known = { hosts: new Set(['piha']), aliases: {} };
    const inventory = () => Promise.resolve(known);
    const at = await startObserver({ inventory, inventoryMs: 20, journalIo: disk.io });
    at.write({ at: T0, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    disk.fail('ENOSPC');
    known = { hosts: new Set(['piha']), aliases: { raspberry: 'piha' } };
    await at.until(() => expect(at.status).toMatchObject({ state: 'down' }));
    disk.mend();
    await at.until(() => expect(contextOf(at).aliases).toEqual(known.aliases));
    await at.publish(homelabEvent(T0 * 1000, 'service_unhealthy', { host: 'raspberry' }));
    await at.serviceIs('piha/mosquitto', 'unhealthy');
  });

  test('given two hosts whose incidents have one name, then there are two, and each service has its own', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_unhealthy', node: 'pi', service: 'hole-dns' });
    at.write({ at: T0, type: 'service_unhealthy', node: 'pi-hole', service: 'dns' });
    await at.until(() => expect(Object.keys(at.world('services'))).toHaveLength(2));
    const incidents = at.world('incidents');
    for (const key of ['pi/hole-dns', 'pi-hole/dns']) {
      const { node, service, active_incidents: ids } = at.world('services')[key] ?? {};
      expect(ids).toHaveLength(1);
      const [id] = ids as [string];
      expect(incidents[id]).toMatchObject({ id, node, service });
    }
  });

  test('given an inventory, then hosts that are not in it are known but not shown', async () => {
    const runtime = temporaryRuntime();
    const inventory = () => Promise.resolve({ hosts: new Set(['piha']), aliases: {} });
    const at = await startObserver({ runtime, inventory });
    at.write({ at: T0, type: 'node_online', node: 'ghost' });
    at.write({ at: T0, type: 'node_online' });
    await at.until(() => expect(Object.keys(at.world('nodes'))).toEqual(['piha']));
    await at.until(() => expect(at.status).toMatchObject({ hosts: 2 }));
    expect(at.test.node.kernel.system.has(observedAddress('ghost'))).toBe(true);
  });

  test('given many hosts, then those that are in no inventory make room for those that are', async () => {
    const known = { hosts: new Set(['piha']), aliases: { pi: 'piha' } };
    let answers = 0;
    const inventory = () => {
      answers += 1;
      return Promise.resolve(known);
    };
    const at = await startObserver({ inventory, inventoryMs: 20, crowd: 4 });
    for (const node of ['ghost-1', 'ghost-2', 'ghost-3', 'pi'])
      at.write({ at: T0, type: 'service_healthy', node });
    await at.until(() => expect(contextOf(at)).toMatchObject({ events: 4, roll: { size: 1 } }));
    expect(answers).toBeGreaterThan(6); // an inventory that is being checked out has few hosts for a moment
    expect(at.test.node.kernel.system.has(observedAddress('ghost-1'))).toBe(false);
    at.write({ at: T0 + 1, type: 'service_unhealthy' });
    await at.serviceIs('piha/web', 'unhealthy');
  });

  test('given nothing happens, then the files stay as they are, and their time goes on', async () => {
    const at = await startObserver({ touchMs: 30 });
    at.write({ at: T0, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    const file = join(at.layout.world, 'services.json');
    const { ino, mtimeMs } = statSync(file);
    await at.until(() => expect(statSync(file).mtimeMs).toBeGreaterThan(mtimeMs));
    expect(statSync(file).ino).toBe(ino);
  });

  test('given a file of ours is removed, then it is written again', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    rmSync(join(at.layout.world, 'services.json'));
    await at.serviceIs('piha/web', 'healthy');
  });
});

describe('event files as they come', () => {
  test('given a file half written, then it counts when it is whole, and once', async () => {
    const at = await startObserver();
    const file = at.write({ at: T0, type: 'service_unhealthy' });
    const text = readFileSync(file, 'utf8');
    const other = join(dirname(file), `evt-piha-${T0 + 5}-service_unhealthy-web.json`);
    writeFileSync(other, text.slice(0, 20));
    await at.serviceIs('piha/web', 'unhealthy');
    writeFileSync(other, text.replace(/"timestamp":"[^"]+"/, `"timestamp":${T0 + 5}`));
    await at.until(() =>
      expect(Object.values(at.world('incidents'))).toMatchObject([{ occurrence_count: 2 }]),
    );
    expect(at.files).toMatchObject({ read: 2, refused: { count: 0 } });
  });

  test('given garbage, then it is named once, and what comes after it counts', async () => {
    const at = await startObserver({
      prepare: (layout) => {
        const file = writeEvent(layout, { at: T0, type: 'service_unhealthy' });
        for (const [name, text] of [
          ['a', '{"type": '],
          ['b', '[]'],
          ['c', '{"type": "x", "node": ""}'],
          ['d', ''],
          ['e', '\0\0\0'],
        ] as const) {
          const path = join(dirname(file), `${name}.json`);
          writeFileSync(path, text);
          utimesSync(path, T0, T0);
        }
      },
    });
    await at.serviceIs('piha/web', 'unhealthy');
    await at.until(() => expect(at.files).toMatchObject({ read: 1, refused: { count: 5 } }));
    at.write({ at: T0 + 1, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    expect(at.files).toMatchObject({ refused: { count: 5 } });
    expect(
      at.lines.filter(({ message }) => message === 'an event file is passed over'),
    ).toHaveLength(5);
  });

  test('given links, then none is followed', async () => {
    const secret = temporaryRuntime();
    const outside = writeEvent({ events: secret }, { at: T0, type: 'service_unhealthy' });
    const at = await startObserver({
      prepare: (layout) => {
        const file = writeEvent(layout, { at: T0, type: 'node_online', node: 'real' });
        symlinkSync(outside, join(dirname(file), 'evt-link.json'));
        symlinkSync(dirname(outside), join(dirname(dirname(file)), 'piha'));
      },
    });
    await at.until(() => expect(Object.keys(at.world('nodes'))).toEqual(['real']));
    expect(at.files).toMatchObject({
      refused: { count: 1, first: [expect.stringContaining('symbolic link')] },
    });
  });

  test('given files that come late, under names before what was read and on days before, then none is lost', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_unhealthy' });
    await at.serviceIs('piha/web', 'unhealthy');
    at.write({ at: T0 - 50, type: 'healthcheck_failed' });
    at.write({ at: T0 - 9 * 86_400, type: 'service_healthy', service: 'old' });
    await at.serviceIs('piha/old', 'healthy');
    await at.until(() =>
      expect(Object.values(at.world('incidents'))).toMatchObject([{ occurrence_count: 2 }]),
    );
  });

  /** Every folder was looked at since. */
  async function lookedAt(at: ObserverFixture, service: string): Promise<void> {
    at.write({ at: T0 - 5 * 86_400, type: 'service_healthy', service });
    await at.serviceIs(`piha/${service}`, 'healthy');
  }

  test('given a folder whose date is set back after something new came into it, as by rsync -t, then that is read', async () => {
    const at = await startObserver();
    const folder = dirname(at.write({ at: T0 - 9 * 86_400, type: 'service_unhealthy' }));
    await at.serviceIs('piha/web', 'unhealthy');
    utimesSync(folder, T0 - 9 * 86_400, T0 - 9 * 86_400);
    await lookedAt(at, 'one');
    at.write({ at: T0 - 9 * 86_400 + 60, type: 'service_healthy' });
    utimesSync(folder, T0 - 9 * 86_400, T0 - 9 * 86_400);
    await at.serviceIs('piha/web', 'healthy');
  });

  test('given a folder of a date to come, when something comes while no node runs, then it is read', async () => {
    const at = await startObserver();
    const folder = dirname(at.write({ at: T0 - 9 * 86_400, type: 'service_unhealthy' }));
    await at.serviceIs('piha/web', 'unhealthy');
    utimesSync(folder, T0 + 86_400, T0 + 86_400);
    await lookedAt(at, 'one');
    await at.restart(() => at.write({ at: T0 - 9 * 86_400 + 60, type: 'service_healthy' }));
    await at.serviceIs('piha/web', 'healthy');
  });

  test('given garbage of a date to come, then it is named all the same', async () => {
    const at = await startObserver({ youngMs: 50 });
    const file = at.write({ at: T0, type: 'service_healthy' });
    writeFileSync(join(dirname(file), 'future.json'), '{"type": ');
    utimesSync(join(dirname(file), 'future.json'), T0 + 86_400, T0 + 86_400);
    await at.until(() => expect(at.files).toMatchObject({ read: 1, refused: { count: 1 } }));
  });

  test('given they come while no node runs, then they are read, and none counts twice', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_unhealthy' });
    await at.serviceIs('piha/web', 'unhealthy');
    await at.restart(() => {
      at.write({ at: T0 - 60, type: 'service_unhealthy' }); // sorts before
      const moved = at.write({ at: T0 - 3 * 86_400, type: 'service_healthy', service: 'moved' });
      const away = join(at.layout.state, 'away.json');
      renameSync(moved, away);
      utimesSync(away, T0 - 3 * 86_400, T0 - 3 * 86_400); // its own time is old, as after rsync -t
      renameSync(away, moved);
    });
    await at.serviceIs('piha/moved', 'healthy');
    await at.until(() =>
      expect(Object.values(at.world('incidents'))).toMatchObject([{ occurrence_count: 2 }]),
    );
  });

  test('given an older events.jsonl, then its lines are read as they are added', async () => {
    const at = await startObserver();
    const folder = join(at.layout.events, new Date(T0 * 1000).toISOString().slice(0, 10), 'piha');
    const line = (n: number, type: string): string =>
      JSON.stringify({
        id: `e${n}`,
        timestamp: T0 + n,
        node: 'piha',
        type,
        details: { service: 'web' },
      });
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'events.jsonl');
    writeFileSync(
      file,
      `${line(0, 'service_unhealthy')}\nno json\n${line(1, 'healthcheck_failed')}\n`,
    );
    await at.serviceIs('piha/web', 'unhealthy');
    const half = line(2, 'service_healthy');
    appendFileSync(file, half.slice(0, 30));
    await at.until(() => expect(at.files).toMatchObject({ read: 2, refused: { count: 1 } }));
    appendFileSync(file, `${half.slice(30)}\n`);
    await at.serviceIs('piha/web', 'healthy');
    await at.restart(() => appendFileSync(file, `${line(3, 'service_unhealthy')}\n`));
    await at.serviceIs('piha/web', 'unhealthy');
    expect(contextOf(at)).toMatchObject({ events: 4 });
    expect(Object.values(at.world('incidents')).map((one) => one['occurrence_count'])).toEqual([
      2, 1,
    ]);
  });

  test('given thousands at the first start, then hosts take turns, and half a world is never shown', async () => {
    const at = await startObserver({
      filesPerSecond: 2000,
      prepare: (layout) => {
        for (let n = 0; n < 1000; n += 1)
          writeEvent(layout, {
            at: T0 - 5000 + n,
            type: 'service_healthy',
            node: 'aaa',
            service: `s${n % 50}`,
          });
        writeEvent(layout, { at: T0 - 5000, type: 'node_online', node: 'zzz' });
      },
    });
    const seen: number[] = [];
    await at.until(() => {
      const context = contextOf(at);
      const hasZ = at.test.node.kernel.system.has(observedAddress('zzz'));
      if (existsSync(join(at.layout.world, 'nodes.json')))
        seen.push(Object.keys(at.world('nodes')).length);
      expect(hasZ).toBe(true);
      expect(context.events).toBeLessThan(1001);
    });
    await at.until(() => expect(Object.keys(at.world('services'))).toHaveLength(50));
    expect(seen.every((count) => count === 2)).toBe(true);
    expect(contextOf(at).events).toBe(1001);
  });
});

describe('the world anew', () => {
  const history = (at: ObserverFixture): void => {
    for (let n = 0; n < 200; n += 1)
      at.write({
        at: T0 + n,
        type: ['service_unhealthy', 'service_healthy', 'healthcheck_failed'][n % 3] ?? '',
        node: ['piha', 'vps'][n % 2] ?? '',
        service: ['web', 'db', 'mqtt', 'cache'][n % 4] ?? '',
      });
    at.write({ at: T0 + 201, type: 'deployment_failed', correlation_id: 'd' });
    at.write({ at: T0 + 202, type: 'node_offline', node: 'vps' });
  };

  test('given another node with nothing but the event files, then its world is the same', async () => {
    const at = await startObserver();
    history(at);
    await at.until(() => expect(contextOf(at).events).toBe(202));
    await at.test.stop();
    const before = at.whole();
    const next = await startObserver({ runtime: at.layout.root });
    await next.isIdle();
    await next.until(() => expect(contextOf(next).events).toBe(202));
    await next.until(() => expect(next.whole() === before).toBe(true));
  });

  test("given what is told of a host stands in another's folder as well, then it is read in its time, and none of it is too late", async () => {
    const day = T0 - 3 * 86_400;
    const at = await startObserver({
      prepare: (layout) => {
        for (let n = 0; n < 200; n += 1)
          writeEvent(layout, { at: day + n, type: 'service_healthy', node: 'vps' });
        for (const [second, type] of [
          [300, 'service_unhealthy'],
          [310, 'service_healthy'],
        ] as const) {
          const file = writeEvent(layout, { at: day + second, type });
          mkdirSync(file.replace(/\/piha\/[^/]*$/, '/vps'), { recursive: true });
          renameSync(file, file.replace('/piha/', '/vps/').replace('evt-piha', 'evt-vps'));
        }
        for (let n = 0; n < 100; n += 1)
          writeEvent(layout, { at: day + 86_400 + n, type: 'service_healthy' });
      },
    });
    await at.isIdle();
    await at.until(() => expect(at.status).toMatchObject({ late: 0 }));
    await at.until(() =>
      expect(Object.keys(at.world('incidents'))).toEqual([`inc-${day + 300}-piha-web`]),
    );
  });

  test('given the checkpoint is removed, running or not, then what only a bridge said is gone, and the rest is as it was', async () => {
    const at = await startObserver();
    history(at);
    await at.until(() => expect(contextOf(at).events).toBe(202));
    await at.restart();
    await at.isIdle();
    const before = at.whole();
    await at.publish(homelabEvent(T0 * 1000));
    await at.serviceIs('piha/mosquitto', 'unhealthy');
    rmSync(at.layout.observerCheckpoint);
    await at.until(() => expect(at.whole() === before).toBe(true));
    await at.isIdle();
    await at.publish(homelabEvent(T0 * 1000 + 5000));
    await at.serviceIs('piha/mosquitto', 'unhealthy');
    await at.restart(() => rmSync(at.layout.observerCheckpoint));
    await at.until(() => expect(at.whole() === before).toBe(true));
  });

  test('given a checkpoint of another program, then everything is read, and nothing is forgotten', async () => {
    const at = await startObserver({
      prepare: (layout) => {
        const file = writeEvent(layout, { at: T0, type: 'service_unhealthy' });
        mkdirSync(layout.state, { recursive: true });
        const content = { node_checkpoints: { piha: file } };
        writeFileSync(layout.observerCheckpoint, JSON.stringify(content));
      },
    });
    await at.serviceIs('piha/web', 'unhealthy');
  });
});

describe('whose the world is', () => {
  const foreign = (
    at: { layout: { world: string } },
    text = '{"vps/web": {"status": "ok"}}',
  ): string => {
    mkdirSync(at.layout.world, { recursive: true });
    const file = join(at.layout.world, 'services.json');
    writeFileSync(file, text);
    return file;
  };

  test('given another program writes it, then auto is off, says why, and hears nothing', async () => {
    const at = await startObserver({ prepare: (layout) => void foreign({ layout }) });
    expect(at.status).toMatchObject({
      state: 'off',
      reason: expect.stringContaining('services.json'),
    });
    const { subscribers } = at.test.node.kernel.system.read(BRIDGE).snapshot.context as {
      subscribers: object;
    };
    expect(subscribers).toEqual({});
    expect(readFileSync(join(at.layout.world, 'services.json'), 'utf8')).toContain('vps/web');
  });

  test('given another program begins while we write it, then we give way', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    const file = foreign(at);
    await at.until(() => expect(at.status).toMatchObject({ state: 'off' }));
    at.write({ at: T0 + 1, type: 'service_unhealthy' });
    await at.publish(homelabEvent(T0 * 1000));
    utimesSync(at.layout.observerHeartbeat, T0, T0);
    await sleep(300); // several looks and beats
    expect(at.files['read']).toBe(1);
    expect(statSync(at.layout.observerHeartbeat).mtimeMs).toBe(T0 * 1000);
    await at.test.stop();
    expect(readFileSync(file, 'utf8')).toBe('{"vps/web": {"status": "ok"}}');
  });

  test('given it writes in the very moment in which we do, then we do not take its file for ours', async () => {
    const at = await startObserver();
    const others: string[] = [];
    const file = join(at.layout.world, 'services.json');
    at.write({ at: T0, type: 'service_healthy' });
    const watching = watch(dirname(file), (_event, name) => {
      if (name !== 'services.json' || others.length > 0) return;
      if (readFileSync(file, 'utf8').includes('piha/web')) others.push(foreign(at));
    });
    await at.until(() => expect(at.status).toMatchObject({ state: 'off' }));
    watching.close();
    await at.test.stop();
    expect(readFileSync(file, 'utf8')).toBe('{"vps/web": {"status": "ok"}}');
  });

  test('given a pipe in the place of what we wrote, then nobody waits for it, and we give way', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    const file = join(at.layout.world, 'services.json');
    rmSync(file);
    execFileSync('mkfifo', [file]);
    await at.until(() => expect(at.status).toMatchObject({ state: 'off' }));
    await at.restart();
    expect(at.status).toMatchObject({ state: 'off', reason: expect.stringContaining(file) });
  });

  test('given what is there is ours, then the next life goes on with it', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_healthy' });
    await at.serviceIs('piha/web', 'healthy');
    await at.restart();
    expect(at.status).toMatchObject({ state: 'up' });
    at.write({ at: T0 + 1, type: 'service_unhealthy' });
    await at.serviceIs('piha/web', 'unhealthy');
  });

  test('given on, then it is ours, whoever wrote it, but not before something is known', async () => {
    const at = await startObserver({ mode: 'on', prepare: (layout) => void foreign({ layout }) });
    await at.isIdle();
    expect(at.world('services')).toHaveProperty('vps/web');
    at.write({ at: T0, type: 'service_unhealthy' });
    await at.serviceIs('piha/web', 'unhealthy');
    expect(at.world('services')['vps/web']).toEqual({ status: 'unknown' });
  });

  test('given another node goes on with the folder, then what it was never told is unknown, not missing', async () => {
    const at = await startObserver();
    at.write({ at: T0, type: 'service_healthy', service: 'in-a-file' });
    await at.publish(homelabEvent(T0 * 1000));
    await at.publish(homelabEvent(T0 * 1000, 'service_healthy', { service: 'old' }));
    await at.serviceIs('piha/mosquitto', 'unhealthy');
    await at.serviceIs('piha/old', 'healthy');
    await at.serviceIs('piha/in-a-file', 'healthy');
    await at.test.stop();
    const next = await startObserver({ runtime: at.layout.root });
    expect(await next.serviceIs('piha/mosquitto', 'unknown')).toMatchObject({ last_event_at: T0 });
    await next.serviceIs('piha/in-a-file', 'healthy');
    expect(Object.keys(next.world('incidents'))).toEqual([`inc-${T0}-piha-mosquitto`]);
    await next.publish(homelabEvent(T0 * 1000 + 60_000, 'service_healthy'));
    await next.serviceIs('piha/mosquitto', 'healthy');
    await next.serviceIs('piha/old', 'unknown');
    await next.until(() => expect(next.world('incidents')).toEqual({}));
  });

  test('given off, then nothing is written', async () => {
    const at = await startObserver({ mode: 'off' });
    at.write({ at: T0, type: 'service_unhealthy' });
    await at.publish(homelabEvent(T0 * 1000));
    expect(at.status).toEqual({ state: 'off', reason: 'observer: off' });
    expect(existsSync(at.layout.world)).toBe(false);
  });
});
