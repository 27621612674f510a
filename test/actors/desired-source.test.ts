import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import { DesiredSource } from '../../actors/supervisor/desired-source.ts';
import type { DesiredLook, DesiredSourceOptions } from '../../actors/supervisor/desired-source.ts';
import type { JsonObject } from '../../machines/json.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';
import { recordingLog } from '../support/source-log.ts';
import type { LoggedLine } from '../support/source-log.ts';

const T0 = 1_780_000_000_000;
const SETTLE_MS = 30;
const FILES = {
  'topology.yaml': 'nodes:\n  vps: {aliases: [saturn]}\n  nas: {critical: false}\n',
  'hosts/vps/services.yaml': 'services:\n  - name: web\n    depends_on: [db]\n  - db\n',
  'hosts/piha/services.yaml': 'services:\n  mosquitto: {monitor: false}\n  grafana: {}\n',
};

interface At {
  root: string;
  source: DesiredSource;
  lines: LoggedLine[];
  put: (path: string, content: string | Buffer) => void;
  look: (now?: number) => Promise<DesiredLook>;
  /** Of a look that must be ok: services by host. */
  services: (now?: number) => Promise<Record<string, string[]>>;
  problems: () => JsonObject[];
}

function inventoryWith(
  files: Record<string, string | Buffer> = FILES,
  options: Partial<DesiredSourceOptions> = {},
): At {
  const root = join(temporaryFolder(), 'inventory');
  mkdirSync(root);
  for (const [path, content] of Object.entries(files)) put(root, path, content);
  return sourceOf(root, options);
}

function sourceOf(root: string, options: Partial<DesiredSourceOptions> = {}): At {
  const { log, lines } = recordingLog();
  const source = new DesiredSource(root, { log, settleMs: SETTLE_MS, pollMs: 5, ...options });
  const look = (now = T0): Promise<DesiredLook> => source.look(now);
  return {
    root,
    source,
    lines,
    look,
    put: (path, content) => put(root, path, content),
    async services(now) {
      const found = await look(now);
      if (!found.ok) throw new Error(found.reason);
      return Object.fromEntries(
        [...found.value.hosts].map(([host, { services }]) => [host, [...services.keys()]]),
      );
    },
    problems: () => source.view()['problems'] as JsonObject[],
  };
}

const ALL = { vps: ['web', 'db'], nas: [], piha: ['mosquitto', 'grafana'] };
const warnings = ({ lines }: At): LoggedLine[] => lines.filter(({ level }) => level === 'warn');

describe('what is read', () => {
  test('is what the files say together', async () => {
    const at = inventoryWith();
    const look = await at.look();
    expect(look).toMatchObject({ ok: true, changedHosts: ['nas', 'piha', 'vps'], unread: [] });
    if (!look.ok) return;
    const { hosts, aliases, dependants } = look.value;
    expect(hosts.get('vps')?.services.get('web')).toMatchObject({ dependsOn: ['vps/db'] });
    expect(hosts.get('piha')?.services.get('mosquitto')).toMatchObject({ monitored: false });
    expect(hosts.get('nas')).toMatchObject({ critical: false });
    expect(aliases.get('saturn')).toBe('vps');
    expect(dependants.get('vps/db')).toEqual(['vps/web']);
    expect(at.source.view()).toMatchObject({
      hosts: 3,
      services: 4,
      problem: null,
      problem_count: 0,
    });
  });

  test('aliases that the node was started with count beside those of the topology', async () => {
    const at = inventoryWith(FILES, {
      aliases: new Map([
        ['pi', 'piha'],
        ['x', 'nobody'],
      ]),
    });
    const look = await at.look();
    expect(look.ok && [...look.value.aliases]).toEqual(
      expect.arrayContaining([
        ['pi', 'piha'],
        ['saturn', 'vps'],
      ]),
    );
    expect(at.problems()).toMatchObject([{ file: 'NODE_ALIAS_MAP' }]);
  });

  test('what did not change is the very same, and no host is told', async () => {
    const at = inventoryWith();
    const first = await at.look();
    const second = await at.look();
    expect(second).toMatchObject({ ok: true, changedHosts: [] });
    expect(first.ok && second.ok && first.value === second.value).toBe(true);
  });

  test('of a changed file its host is told, and those whose services depend on it', async () => {
    const at = inventoryWith({
      ...FILES,
      'hosts/nas/services.yaml': 'services: {files: {depends_on: vps/db}}\n',
    });
    await at.look();
    at.put('hosts/vps/services.yaml', 'services: [web]\n');
    expect(await at.look()).toMatchObject({ ok: true, changedHosts: ['nas', 'vps'] });
    expect(at.problems()).toMatchObject([
      { file: 'hosts/nas/services.yaml', line: 1, pointer: '/services/files/depends_on' },
    ]);
  });

  test('a file that is written again as it was is no news', async () => {
    const at = inventoryWith();
    await at.look();
    at.put('hosts/vps/services.yaml', FILES['hosts/vps/services.yaml']);
    expect(await at.look()).toMatchObject({ ok: true, changedHosts: [] });
  });

  test('folders of other things are left alone', async () => {
    const at = inventoryWith(FILES);
    at.put('hosts/.git/services.yaml', 'services: [no]\n');
    at.put('hosts/README.md', '# hosts\n');
    at.put('hosts/empty/paths.yaml', 'a: 1\n');
    expect(await at.services()).toEqual(ALL);
    expect(at.problems()).toEqual([]);
  });

  test('an inventory without a topology', async () => {
    const at = inventoryWith({ 'hosts/vps/services.yaml': 'services: [web]\n' });
    expect(await at.services()).toEqual({ vps: ['web'] });
  });
});

describe('given a file that is no good', () => {
  const bad: [what: string, text: string | Buffer, problems: JsonObject[]][] = [
    ['is empty', '', [{ line: 1, problem: 'the file is empty' }]],
    ['has only comments', '# soon\n', [{ problem: 'the file says nothing' }]],
    [
      'was cut off before the services',
      'owner: me\n',
      [{ problem: 'the file does not say which services run' }],
    ],
    ['has a tab', 'services:\n\t- web\n', [{ line: 2, fix: 'Indent by spaces.' }]],
    [
      'has one name twice',
      'services:\n  web: {}\n  web: {}\n',
      [{ line: 3, pointer: '/services/web' }],
    ],
    [
      'has several things wrong',
      'services:\n  - name: web\n    monitor: no\n  - name: 7\n  - depends_on: db\n',
      [
        { line: 3, pointer: '/services/0/monitor' },
        { line: 4, pointer: '/services/1/name' },
        { line: 5, pointer: '/services/2' },
      ],
    ],
    [
      'is too large',
      `# ${'x'.repeat(300_000)}\nservices: []\n`,
      [{ problem: 'it has more than 262144 bytes' }],
    ],
    [
      'has too many services',
      `services: [${Array.from({ length: 501 }, (_, i) => `s${i}`).join()}]\n`,
      [{ pointer: '/services' }],
    ],
    ['is no UTF-8', Buffer.from([0x73, 0xff]), [{ problem: expect.stringContaining('UTF-8') }]],
    [
      'is a bomb',
      `services: &a [${'[x],'.repeat(400)}]\nb: &b [${'*a,'.repeat(400)}]\nc: [${'*b,'.repeat(400)}]\n`,
      [{ problem: expect.stringContaining('values') }],
    ],
  ];

  it.each(bad)(
    'that %s: what it said last holds, and the place is told once',
    async (_what, text, problems) => {
      const at = inventoryWith();
      await at.look();
      at.put('hosts/vps/services.yaml', text);
      at.put('hosts/piha/services.yaml', 'services: [grafana]\n');
      expect(await at.services()).toEqual({ ...ALL, piha: ['grafana'] });
      expect(await at.look()).toMatchObject({ ok: true, changedHosts: [], unread: [] });
      const file = 'hosts/vps/services.yaml';
      expect(at.problems()).toEqual(problems.map((it) => expect.objectContaining({ file, ...it })));
      expect(warnings(at).map(({ fields }) => fields)).toEqual(at.problems());
      at.put('hosts/vps/services.yaml', 'services: [mended]\n');
      expect(await at.look()).toMatchObject({ changedHosts: ['vps'] });
      expect(at.problems()).toEqual([]);
      expect(at.lines.at(-1)).toMatchObject({ level: 'info', message: 'inventory: mended' });
    },
  );

  it.each(bad)(
    'that %s from the beginning: nobody knows what its host should run',
    async (_what, text) => {
      const at = inventoryWith({ ...FILES, 'hosts/piha/services.yaml': text });
      expect(await at.look()).toMatchObject({ ok: true, unread: ['piha'] });
      expect(await at.services()).toEqual({ vps: ['web', 'db'], nas: [] });
      at.put('hosts/piha/services.yaml', 'services: [grafana]\n');
      expect(await at.look()).toMatchObject({ ok: true, unread: [], changedHosts: ['piha'] });
    },
  );

  test('and then as it was before: the problem is over, and nothing changed', async () => {
    const at = inventoryWith();
    await at.look();
    at.put('hosts/vps/services.yaml', '{');
    await at.look();
    at.put('hosts/vps/services.yaml', FILES['hosts/vps/services.yaml']);
    expect(await at.services()).toEqual(ALL);
    expect(at.problems()).toEqual([]);
  });

  test('a topology: what it said last holds', async () => {
    const at = inventoryWith();
    await at.look();
    at.put('topology.yaml', 'nodes: 7\n');
    const look = await at.look();
    expect(look).toMatchObject({ ok: true, changedHosts: [] });
    expect(look.ok && look.value.aliases.get('saturn')).toBe('vps');
    expect(at.problems()).toMatchObject([{ file: 'topology.yaml', line: 1, pointer: '/nodes' }]);
  });

  test('a topology from the beginning: nobody knows whom to leave alone, and no look is made before it is mended', async () => {
    const at = inventoryWith({ ...FILES, 'topology.yaml': 'nodes:\n  vps: {monitor: 7}\n' });
    expect(await at.look()).toEqual({
      ok: false,
      reason: 'topology.yaml:2 /nodes/vps/monitor: monitor must be true or false, not 7',
    });
    at.put('topology.yaml', FILES['topology.yaml']);
    expect(await at.look()).toMatchObject({ ok: true, changedHosts: ['nas', 'piha', 'vps'] });
  });

  test('names between files are told with their lines', async () => {
    const at = inventoryWith({
      'hosts/a/services.yaml':
        'services:\n  web:\n    depends_on:\n      - cache\n      - nowhere\n',
      'hosts/b/services.yaml': 'services: [cache]\n',
      'hosts/c/services.yaml': 'services: [cache]\n',
    });
    await at.look();
    expect(at.problems()).toMatchObject([
      { file: 'hosts/a/services.yaml', line: 4, pointer: '/services/web/depends_on/0' },
      { file: 'hosts/a/services.yaml', line: 5, pointer: '/services/web/depends_on/1' },
    ]);
  });
});

describe('given links and odd files', () => {
  test('that lead out of the inventory, or stand in for its folders: they are refused', async () => {
    const at = inventoryWith();
    await at.look();
    put(at.root, '../outside/services.yaml', 'services: [secret]\n');
    mkdirSync(join(at.root, 'hosts/evil'));
    symlinkSync('../../../outside/services.yaml', join(at.root, 'hosts/evil/services.yaml'));
    symlinkSync('../../outside', join(at.root, 'hosts/evil2'));
    rmSync(join(at.root, 'topology.yaml'));
    symlinkSync('../outside/services.yaml', join(at.root, 'topology.yaml'));
    expect(await at.look()).toMatchObject({
      ok: true,
      changedHosts: [],
      unread: ['evil', 'evil2'],
    });
    expect(await at.services()).toEqual(ALL);
    expect(at.problems().map(({ file, problem }) => [file, problem])).toEqual(
      ['hosts/evil/services.yaml', 'hosts/evil2/services.yaml', 'topology.yaml'].map((file) => [
        file,
        'it is a symbolic link, or stands behind one',
      ]),
    );
  });

  test('a link in the place of a host that was known: what it said last holds', async () => {
    const at = inventoryWith();
    await at.look();
    put(at.root, '../outside/services.yaml', 'services: [other]\n');
    rmSync(join(at.root, 'hosts/vps'), { recursive: true });
    symlinkSync('../../outside', join(at.root, 'hosts/vps'));
    expect(await at.services()).toEqual(ALL);
  });

  test('an inventory that is itself a link is one', async () => {
    const { root } = inventoryWith();
    const link = join(root, '../link');
    symlinkSync(root, link);
    expect(await sourceOf(link).services()).toEqual(ALL);
  });

  test('a folder in the place of a file, and a name that no host can have', async () => {
    const at = inventoryWith();
    mkdirSync(join(at.root, 'hosts/odd/services.yaml'), { recursive: true });
    at.put('hosts/a\u202Eb/services.yaml', 'services: []\n');
    expect(await at.look()).toMatchObject({ ok: true, unread: ['odd'] });
    expect(at.problems()).toMatchObject([
      { file: 'hosts/a\\u202eb', fix: 'Rename the folder.' },
      {
        file: 'hosts/odd/services.yaml',
        problem: expect.stringContaining('not a regular file') as unknown,
      },
    ]);
  });

  test.skipIf(process.getuid?.() === 0)('a file and a folder that may not be read', async () => {
    const at = inventoryWith();
    await at.look();
    chmodSync(join(at.root, 'hosts/vps/services.yaml'), 0);
    expect(await at.services()).toEqual(ALL);
    expect(at.problems()).toMatchObject([{ problem: 'this program may not read it' }]);
    chmodSync(join(at.root, 'hosts/vps/services.yaml'), 0o600);
    chmodSync(join(at.root, 'hosts'), 0);
    expect(await at.services()).toEqual(ALL);
    expect(at.source.view()['problem']).toMatch(/EACCES/);
    chmodSync(join(at.root, 'hosts'), 0o700);
    expect(await at.services()).toEqual(ALL);
    expect(at.source.view()['problem']).toBeNull();
  });
});

describe('given things that are gone', () => {
  test('the file of a host: so is the host', async () => {
    const at = inventoryWith();
    await at.look();
    rmSync(join(at.root, 'hosts/piha/services.yaml'));
    expect(await at.look()).toMatchObject({ ok: true, changedHosts: ['piha'] });
    expect(await at.services()).toEqual({ vps: ['web', 'db'], nas: [] });
  });

  test('the file of a host that is in the topology: nothing is desired to run there', async () => {
    const at = inventoryWith();
    await at.look();
    rmSync(join(at.root, 'hosts/vps'), { recursive: true });
    expect(await at.services()).toEqual({ ...ALL, vps: [] });
  });

  test('a file that was bad: so is its problem', async () => {
    const at = inventoryWith({ ...FILES, 'hosts/bad/services.yaml': '{' });
    await at.look();
    rmSync(join(at.root, 'hosts/bad'), { recursive: true });
    expect(await at.look()).toMatchObject({ ok: true, unread: [] });
    expect(at.problems()).toEqual([]);
  });

  test('for a moment only: nothing is', async () => {
    const at = inventoryWith(FILES, { settleMs: 1000 });
    await at.look();
    const path = join(at.root, 'hosts/piha/services.yaml');
    renameSync(path, `${path}~`);
    const looking = at.services();
    await sleep(100);
    renameSync(`${path}~`, path);
    expect(await looking).toEqual(ALL);
  });

  test('the folder: what was read holds, and the status says so', async () => {
    const at = inventoryWith();
    await at.look();
    renameSync(at.root, `${at.root}.away`);
    expect(await at.services()).toEqual(ALL);
    expect(await at.look()).toMatchObject({ ok: true, changedHosts: [] });
    expect(at.source.view()['problem']).toMatch(/inventory: ENOENT/);
    expect(warnings(at)).toHaveLength(1);
    renameSync(`${at.root}.away`, at.root);
    expect(await at.look()).toMatchObject({ ok: true, changedHosts: [] });
    expect(at.source.view()['problem']).toBeNull();
  });

  test('the folder, from the beginning: no look is made', async () => {
    const at = sourceOf(join(temporaryFolder(), 'inventory'));
    expect(await at.look()).toMatchObject({
      ok: false,
      reason: expect.stringContaining('ENOENT') as unknown,
    });
    put(at.root, 'hosts/vps/services.yaml', 'services: [web]\n');
    expect(await at.services()).toEqual({ vps: ['web'] });
  });

  test('all hosts at once: it is believed at the third look, a second apart', async () => {
    const at = inventoryWith();
    await at.look(T0);
    rmSync(join(at.root, 'hosts'), { recursive: true });
    rmSync(join(at.root, 'topology.yaml'));
    for (const now of [T0 + 1000, T0 + 1001, T0 + 1002, T0 + 2000]) {
      expect(await at.look(now)).toMatchObject({ ok: true, changedHosts: [] });
      expect(await at.services(now)).toEqual(ALL);
    }
    expect(at.source.view()['problem']).toMatch(/names no host any more; seen so by 2 of 3 looks/);
    expect(await at.look(T0 + 3000)).toMatchObject({
      ok: true,
      changedHosts: ['nas', 'piha', 'vps'],
    });
    expect(await at.services(T0 + 3001)).toEqual({});
    expect(at.source.view()['problem']).toBeNull();
  });

  test('all hosts at once, and back: nothing happened', async () => {
    const at = inventoryWith();
    await at.look(T0);
    renameSync(join(at.root, 'hosts'), join(at.root, '.hosts'));
    renameSync(join(at.root, 'topology.yaml'), join(at.root, '.topology'));
    expect(await at.services(T0 + 1000)).toEqual(ALL);
    expect(await at.services(T0 + 2000)).toEqual(ALL);
    renameSync(join(at.root, '.hosts'), join(at.root, 'hosts'));
    renameSync(join(at.root, '.topology'), join(at.root, 'topology.yaml'));
    expect(await at.services(T0 + 3000)).toEqual(ALL);
    expect(at.source.view()['problem']).toBeNull();
  });

  test('an empty folder while something was desired before the start: it is believed at the third look', async () => {
    const at = inventoryWith({}, { hadHosts: true });
    expect(await at.look(T0)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('no host') as unknown,
    });
    expect((await at.look(T0 + 1000)).ok).toBe(false);
    expect((await at.look(T0 + 2000)).ok).toBe(true);
  });

  test('an empty folder from the beginning: nothing is desired', async () => {
    expect(await inventoryWith({}).services()).toEqual({});
  });
});

describe('given a file that is being written', () => {
  test('its beginning is not taken for the whole', async () => {
    const at = inventoryWith(FILES, { settleMs: 2000 });
    await at.look();
    const whole = 'services:\n  - web\n  - db\n  - cache\n';
    let length = 'services:\n  - web\n'.length;
    const write = (): void => at.put('hosts/vps/services.yaml', whole.slice(0, (length += 1)));
    write();
    const looking = at.services();
    const writing = setInterval(() => (length < whole.length ? write() : undefined), 5);
    onTestFinished(() => clearInterval(writing));
    expect(['web,db', 'web,db,cache']).toContain(String((await looking)['vps']));
    await eventually(() => expect(length).toBe(whole.length));
    expect((await at.services())['vps']).toEqual(['web', 'db', 'cache']);
    expect(warnings(at)).toEqual([]);
  });

  test('one that changes all the time is left, and what it said last holds', async () => {
    const at = inventoryWith(FILES, { settleMs: 1000 });
    await at.look();
    let round = 0;
    const writing = setInterval(
      () => at.put('hosts/vps/services.yaml', `services: [s${(round += 1)}]\n`),
      20,
    );
    onTestFinished(() => clearInterval(writing));
    await sleep(30);
    expect(await at.services()).toEqual(ALL);
    clearInterval(writing);
    expect(await at.services()).toMatchObject({ vps: [`s${round}`] });
  });

  test('a date in the future does not keep it from being read', async () => {
    const at = inventoryWith();
    const later = new Date(Date.now() + 3_600_000);
    utimesSync(join(at.root, 'hosts/vps/services.yaml'), later, later);
    expect(await at.services()).toEqual(ALL);
  });
});

describe('bounds', () => {
  test('many bad files are told in part, and counted', async () => {
    const at = inventoryWith({});
    for (let i = 0; i < 50; i += 1) at.put(`hosts/h${i}/services.yaml`, '{');
    await at.look();
    expect(at.problems()).toHaveLength(20);
    expect(at.source.view()).toMatchObject({ problem_count: 50 });
    expect(warnings(at)).toHaveLength(21);
  });
});

describe('watching', () => {
  test('tells of changed, new and removed files, and ends with its signal', async () => {
    const at = inventoryWith();
    await at.look();
    const enough = new AbortController();
    at.source.watch(async () => void (await at.look(Date.now())), enough.signal);
    at.put('hosts/vps/services.yaml', 'services: [web]\n');
    await eventually(() => expect(at.source.view()).toMatchObject({ services: 3 }));
    at.put('hosts/nas/services.yaml', 'services: [files, photos]\n');
    await eventually(() => expect(at.source.view()).toMatchObject({ services: 5 }));
    rmSync(join(at.root, 'hosts/piha'), { recursive: true });
    await eventually(() => expect(at.source.view()).toMatchObject({ hosts: 2, services: 3 }));
    enough.abort();
    at.put('hosts/nas/services.yaml', 'services: []\n');
    await sleep(150);
    expect(at.source.view()).toMatchObject({ services: 3 });
  });

  test('an inventory that comes later is seen', async () => {
    const at = sourceOf(join(temporaryFolder(), 'inventory'));
    const enough = new AbortController();
    onTestFinished(() => enough.abort());
    at.source.watch(async () => void (await at.look(Date.now())), enough.signal);
    await eventually(() => expect(at.source.view()['problem']).toMatch(/ENOENT/));
    put(at.root, 'hosts/vps/services.yaml', 'services: [web]\n');
    await eventually(() => expect(at.source.view()).toMatchObject({ hosts: 1, problem: null }));
  });
});
