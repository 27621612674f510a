import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import { WorldSource } from '../../actors/supervisor/world-source.ts';
import type { WorldLook } from '../../actors/supervisor/world-source.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLog } from '../support/source-log.ts';
import type { LoggedLine } from '../support/source-log.ts';

const NODES = {
  vps: { status: 'online', last_seen: 1_780_000_000, roles: ['ingress'], disk_pressure: 'normal' },
  piha: { status: 'offline', last_seen: 1_779_999_000, roles: [], disk_pressure: 'normal' },
};
const SERVICES = {
  'vps/web': { status: 'healthy', last_seen: 1_780_000_000 },
  'vps/db': { status: 'unhealthy', trigger: 'containers_not_running' },
  'piha/mosquitto': { status: 'healthy' },
};
const DEPLOYMENTS = {
  'c-1': { node: 'vps', service: 'web', status: 'failed', completed_at: 1_779_999_999 },
};
const INCIDENTS = {
  'inc-1-vps-db': { id: 'inc-1-vps-db', node: 'vps', service: 'db', status: 'active', type: 'x' },
};
const FILES = { nodes: NODES, services: SERVICES, deployments: DEPLOYMENTS, incidents: INCIDENTS };
type Name = keyof typeof FILES;
const T0 = 1_780_000_000_000;

interface At {
  folder: string;
  source: WorldSource;
  lines: LoggedLine[];
  path: (name: Name) => string;
  write: (name: Name, content: unknown) => void;
  look: (now?: number) => WorldLook;
}

function worldWith(files: Partial<Record<Name, unknown>> = FILES): At {
  const folder = join(temporaryFolder(), 'world');
  mkdirSync(folder);
  const { log, lines } = recordingLog();
  const source = new WorldSource(folder, { log, pollMs: 5 });
  const path = (name: Name): string => join(folder, `${name}.json`);
  const write = (name: Name, content: unknown): void => put(folder, `${name}.json`, content);
  for (const [name, content] of Object.entries(files)) write(name as Name, content);
  return { folder, source, lines, path, write, look: (now = T0) => source.look(now) };
}

const reasonOf = (look: WorldLook): string => (look.ok ? 'ok' : look.reason);
const warnings = ({ lines }: At): LoggedLine[] => lines.filter(({ level }) => level === 'warn');

describe('what is read', () => {
  test('is what the four files say, and which hosts are other than before', () => {
    const at = worldWith();
    const first = at.look();
    expect(first).toMatchObject({ ok: true, changedHosts: ['piha', 'vps'] });
    if (!first.ok) return;
    expect(first.value.hosts.get('vps')).toMatchObject({
      node: { condition: 'well' },
      incidents: [{ id: 'inc-1-vps-db' }],
    });
    expect(first.value.hosts.get('vps')?.services.get('db')).toMatchObject({ condition: 'ill' });
    expect(first.value.hosts.get('piha')?.node).toMatchObject({ condition: 'ill' });
    at.write('services', { ...SERVICES, 'piha/mosquitto': { status: 'unhealthy' } });
    const second = at.look();
    expect(second).toMatchObject({ ok: true });
    expect(second.ok && second.changedHosts).toContain('piha');
    expect(second.ok && second.value.hosts.get('piha')?.services.get('mosquitto')?.condition).toBe(
      'ill',
    );
  });

  test('a world that did not change is the very same value, and no host is other', () => {
    const at = worldWith();
    const first = at.look();
    const second = at.look();
    expect(second).toMatchObject({ ok: true, changedHosts: [] });
    expect(first.ok && second.ok && first.value === second.value).toBe(true);
  });

  test('only hosts that are other are told, and the rest are the very objects that they were', () => {
    const dated = { status: 'healthy', last_seen: 1_780_000_000 };
    const at = worldWith({ nodes: NODES, services: { 'vps/web': dated, 'piha/m': dated } });
    const first = at.look();
    at.write('services', { 'vps/web': { ...dated, status: 'unhealthy' }, 'piha/m': dated });
    const second = at.look();
    expect(second).toMatchObject({ ok: true, changedHosts: ['vps'] });
    expect(
      first.ok && second.ok && first.value.hosts.get('piha') === second.value.hosts.get('piha'),
    ).toBe(true);
  });

  test('a file that is written again as it was says that its writer lives', () => {
    const at = worldWith();
    at.look();
    const later = new Date(Date.now() + 60_000);
    for (const name of Object.keys(FILES) as Name[]) utimesSync(at.path(name), later, later);
    const look = at.look();
    expect(look.ok && look.value.at).toBeCloseTo(later.getTime(), -1);
  });

  test('hosts that are called otherwise are taken for what they are, from the look on that says so', () => {
    const at = worldWith({ nodes: { saturn: { status: 'online' } } });
    expect(at.look()).toMatchObject({ ok: true, changedHosts: ['saturn'] });
    const look = at.source.look(T0, new Map([['saturn', 'vps']]));
    expect(look).toMatchObject({ ok: true, changedHosts: ['saturn', 'vps'] });
  });

  test('files with a byte order mark, as lists, and under their own name', () => {
    const at = worldWith({
      nodes: `\uFEFF${JSON.stringify({ nodes: NODES })}`,
      services: [{ node: 'vps', service: 'web', status: 'healthy' }],
    });
    const look = at.look();
    expect(look.ok && look.value.hosts.get('vps')?.services.get('web')?.condition).toBe('well');
  });

  test('files that were never there are no evidence', () => {
    const look = worldWith({}).look();
    expect(look).toMatchObject({ ok: true, changedHosts: [] });
    expect(look.ok && look.value).toEqual({ hosts: new Map(), at: null });
    const noServices = worldWith({ nodes: NODES }).look();
    expect(noServices.ok && noServices.value.hosts.get('vps')).toMatchObject({
      servicesKnown: false,
    });
  });
});

describe('given a file that cannot be gone by', () => {
  const bad: [what: string, content: string | Buffer, reason: RegExp][] = [
    ['is empty', '', /services\.json: .*empty/],
    ['is blank', ' \n', /services\.json: .*empty/],
    ['is cut off', '{"vps/web": {"status": "heal', /services\.json: not JSON at line 1/],
    ['is null', 'null', /no object and no list/],
    ['is a number', '7', /no object and no list/],
    ['is full of zeros', Buffer.alloc(4096), /services\.json: /],
    ['is no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /UTF-8/],
    ['is two', '{}{}', /not JSON/],
    ['is endlessly deep', '['.repeat(100_000), /services\.json: /],
  ];

  it.each(bad)(
    'that %s: the look is skipped, what was known holds, and it is said once',
    (_what, content, reason) => {
      const at = worldWith();
      const before = at.look();
      at.write('services', content);
      at.write('nodes', {});
      expect(reasonOf(at.look(T0 + 1000))).toMatch(reason);
      expect(at.look(T0 + 2000)).toMatchObject({ ok: false, since: T0 + 1000 });
      expect(warnings(at)).toHaveLength(1);
      expect(at.source.view()).toMatchObject({
        problem: expect.stringMatching(reason),
        problem_since: new Date(T0 + 1000).toISOString(),
      });
      at.write('services', SERVICES);
      at.write('nodes', NODES);
      const after = at.look(T0 + 3000);
      expect(after.ok && before.ok && after.value.hosts.get('vps')?.node).toEqual(
        before.ok && before.value.hosts.get('vps')?.node,
      );
      expect(at.source.view()).toMatchObject({ problem: null, problem_since: null });
      expect(at.lines.at(-1)).toMatchObject({ level: 'info' });
    },
  );

  it.each(bad)(
    'that %s at the first look: there is no look before it is mended',
    (_what, content, reason) => {
      const at = worldWith({ ...FILES, services: content });
      expect(reasonOf(at.look())).toMatch(reason);
      at.write('services', SERVICES);
      expect(at.look()).toMatchObject({ ok: true, changedHosts: ['piha', 'vps'] });
    },
  );

  test('that is larger than 64 MB: it is not even read', () => {
    const at = worldWith();
    at.look();
    truncateSync(at.path('incidents'), 65 * 1024 * 1024);
    expect(reasonOf(at.look())).toMatch(/incidents\.json: .*67108864 bytes/);
  });

  test('that has more entries than anybody may look at: what was known holds', () => {
    const at = worldWith();
    at.look();
    const many = Array.from({ length: 250_001 }, (_, i) => `"h${i}/s":1`);
    writeFileSync(at.path('services'), `{${many.join(',')}}`);
    expect(reasonOf(at.look())).toMatch(/services\.json: it has more than 250000 entries/);
  });

  test('that is a link, a folder or a pipe: it is refused, and nothing hangs', async () => {
    const at = worldWith();
    at.look();
    put(at.folder, '../outside.json', SERVICES);
    rmSync(at.path('services'));
    symlinkSync('../outside.json', at.path('services'));
    expect(reasonOf(at.look())).toMatch(/services\.json: it is a symbolic link/);
    rmSync(at.path('services'));
    mkdirSync(at.path('services'));
    expect(reasonOf(at.look())).toMatch(/services\.json: .*not a regular file/);
    rmSync(at.path('services'), { recursive: true });
    await once(spawn('mkfifo', [at.path('services')]), 'exit');
    expect(reasonOf(at.look())).toMatch(/services\.json: .*not a regular file/);
  });

  test.skipIf(process.getuid?.() === 0)('that may not be read', () => {
    const at = worldWith();
    at.look();
    chmodSync(at.path('services'), 0);
    expect(reasonOf(at.look())).toMatch(/services\.json: this program may not read it/);
    chmodSync(at.path('services'), 0o600);
    expect(at.look()).toMatchObject({ ok: true, changedHosts: [] });
  });
});

test('no part of a file that is being written makes anything missing: each prefix, byte by byte', () => {
  const at = worldWith();
  const before = at.look();
  const whole = readFileSync(at.path('services'));
  for (let length = 0; length < whole.length - 1; length += 1) {
    writeFileSync(at.path('services'), whole.subarray(0, length));
    expect(at.look(T0 + length).ok).toBe(false);
  }
  writeFileSync(at.path('services'), whole);
  const after = at.look();
  expect(after.ok && before.ok && [...after.value.hosts.keys()]).toEqual(['vps', 'piha']);
  expect(after.ok && after.value.hosts.get('vps')?.services.size).toBe(2);
});

describe('given a file says suddenly that there is nothing', () => {
  it.each<[what: string, Name, ms: number, empty: (at: At) => void]>([
    ['an emptied services.json', 'services', 600_000, (at) => at.write('services', {})],
    ['an emptied list of services', 'services', 600_000, (at) => at.write('services', [])],
    [
      'services that are empty under their own name',
      'services',
      600_000,
      (at) => at.write('services', '{"services": {}}'),
    ],
    ['a services.json that is gone', 'services', 600_000, (at) => rmSync(at.path('services'))],
    ['an emptied nodes.json', 'nodes', 60_000, (at) => at.write('nodes', {})],
    ['emptied incidents', 'incidents', 60_000, (at) => at.write('incidents', {})],
    ['deployments that are gone', 'deployments', 60_000, (at) => rmSync(at.path('deployments'))],
  ])(
    '%s: it is believed when it stays so, at the third look at the earliest',
    (_what, name, ms, empty) => {
      const at = worldWith();
      at.look();
      empty(at);
      expect(reasonOf(at.look(T0))).toMatch(
        new RegExp(`${name}\\.json is (empty|gone), and was not`),
      );
      expect(at.look(T0 + ms)).toMatchObject({ ok: false, since: T0 });
      expect(at.look(T0 + ms + 1)).toMatchObject({ ok: true });
      expect(at.look(T0 + ms + 2)).toMatchObject({ ok: true, changedHosts: [] });
    },
  );

  test('and then something again: nothing was lost', () => {
    const at = worldWith();
    const before = at.look();
    at.write('services', {});
    expect(at.look(T0 + 1).ok).toBe(false);
    expect(at.look(T0 + 300_000).ok).toBe(false);
    at.write('services', SERVICES);
    expect(at.look(T0 + 300_001).ok).toBe(true);
    at.write('services', {});
    expect(at.look(T0 + 600_001).ok).toBe(false);
    expect(before.ok).toBe(true);
    expect(warnings(at)).toHaveLength(2);
  });

  test('the folder is gone: what was known holds', () => {
    const at = worldWith();
    at.look();
    rmSync(at.folder, { recursive: true });
    expect(at.look(T0).ok).toBe(false);
  });

  test('that was empty from the beginning is what it says', () => {
    const at = worldWith({ nodes: NODES, services: {}, deployments: {}, incidents: [] });
    const look = at.look();
    expect(look.ok && look.value.hosts.get('vps')?.services.size).toBe(0);
    expect(look.ok && look.value.hosts.get('vps')?.servicesKnown).toBeUndefined();
  });
});

/** Another program, which writes the same services again and again. */
async function startWriter(folder: string, how: 'in place' | 'by rename'): Promise<void> {
  const program = `
    const { writeFileSync, renameSync, openSync, writeSync, closeSync } = require('node:fs');
    const path = ${JSON.stringify(join(folder, 'services.json'))};
    const world = {};
    for (let i = 0; i < 1000; i += 1) world['vps/s' + i] = { status: 'healthy', last_seen: 1780000000 };
    for (let round = 0; ; round += 1) {
      const text = JSON.stringify({ ...world, 'vps/round': { status: round % 2 ? 'healthy' : 'unhealthy' } }, null, 1);
      if (${how === 'by rename'}) { writeFileSync(path + '.tmp', text); renameSync(path + '.tmp', path); continue; }
      const fd = openSync(path, 'w');
      for (let at = 0; at < text.length; at += 8192) writeSync(fd, text.slice(at, at + 8192));
      closeSync(fd);
      if (round === 0) process.stdout.write('begun');
    }`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    const isOver = once(child, 'exit');
    child.kill('SIGKILL');
    await isOver;
  });
  if (how === 'in place') await once(child.stdout, 'data');
}

describe('given another program writes all the time', () => {
  it.each(['in place', 'by rename'] as const)(
    '%s: each look has all of the services, or is skipped',
    async (how) => {
      const at = worldWith({ nodes: NODES });
      await startWriter(at.folder, how);
      await eventually(() => {
        expect(at.look().ok).toBe(true);
        expect(at.source.view()).toMatchObject({ entries: { services: 1001 } });
      });
      let good = 0;
      for (let round = 0; round < 100; round += 1) {
        const look = at.look(T0 + round);
        if (!look.ok) continue;
        good += 1;
        expect(look.value.hosts.get('vps')?.services.size).toBe(1001);
        expect(look.value.hosts.get('vps')?.services.get('s999')?.condition).toBe('well');
      }
      if (how === 'by rename') expect(good).toBe(100);
    },
  );
});

describe('watching', () => {
  test('tells of a change, by whatever way it came, and ends with its signal', async () => {
    const at = worldWith();
    at.look();
    const enough = new AbortController();
    let changes = 0;
    at.source.watch(() => {
      changes += 1;
      at.look();
    }, enough.signal);
    await eventually(() => expect(at.look()).toMatchObject({ changedHosts: [] }));
    at.write('services', { 'vps/web': { status: 'unhealthy' } });
    await eventually(() => expect(at.source.view()).toMatchObject({ entries: { services: 1 } }));
    put(at.folder, 'next.json', { 'vps/web': { status: 'healthy' }, 'vps/db': {} });
    renameSync(join(at.folder, 'next.json'), at.path('services'));
    await eventually(() => expect(at.source.view()).toMatchObject({ entries: { services: 2 } }));
    expect(changes).toBeGreaterThan(0);
    enough.abort();
    at.write('services', SERVICES);
    await new Promise((done) => setTimeout(done, 100));
    expect(at.source.view()).toMatchObject({ entries: { services: 2 } });
  });

  test('a folder that comes later is seen', async () => {
    const at = worldWith({});
    rmSync(at.folder, { recursive: true });
    const enough = new AbortController();
    onTestFinished(() => enough.abort());
    at.source.watch(() => void at.look(), enough.signal);
    mkdirSync(at.folder);
    at.write('nodes', NODES);
    await eventually(() => expect(at.source.view()).toMatchObject({ hosts: 2 }));
  });
});
