/**
 * Getting programs that are missing, with a PATH on which the package managers are scripts that note down what they are
 * asked for.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { findProgram } from '../../actors/doctor/probe.ts';
import { setUpBus } from '../../cli/set-up-bus.ts';
import { setUp } from '../../cli/set-up.ts';
import type { Host, Outcome, Program, SetUpOptions } from '../../cli/set-up.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';

const COMMON = ['sh', 'cat', 'chmod', 'mktemp', 'rm', 'sleep', 'timeout', 'touch', 'true'];

interface Place {
  bin: string;
  log: string;
  policyFile: string;
  /** A program on PATH: a shell script. */
  script(name: string, body: string): void;
  logged(): string[];
  host(more?: Partial<Host>): Host;
}

let place: Place;

beforeEach(() => {
  const folder = temporaryFolder();
  const bin = temporaryFolder();
  const log = join(folder, 'log');
  writeFileSync(log, '');
  for (const name of COMMON) symlinkSync(findProgram(name) ?? '', join(bin, name));
  vi.stubEnv('PATH', bin);
  onTestFinished(() => void vi.unstubAllEnvs());
  place = {
    bin,
    log,
    policyFile: join(folder, 'policy-rc.d'),
    script(name, body) {
      const file = join(bin, name);
      writeFileSync(file, `#!/bin/sh\n${body}\n`);
      chmodSync(file, 0o755);
    },
    logged: () => readFileSync(log, 'utf8').split('\n').slice(0, -1),
    host: (more = {}) => ({
      platform: 'linux',
      isRoot: true,
      policyFile: place.policyFile,
      ...more,
    }),
  };
});

const program = (name: string): Program => ({
  packages: { name },
  isHere: () => existsSync(join(place.bin, name)),
});
const SERVERS = ['nats-server', 'redis-server'].map(program);

const get = (options: Partial<SetUpOptions> = {}): Promise<Outcome> =>
  setUp(SERVERS, {
    onlyAsRoot: false,
    fetchMs: 10_000,
    patienceMs: 20_000,
    say: () => undefined,
    host: place.host(),
    ...options,
  });

/** Says what it is for, and makes what it installs. */
const aptGet = (more = ''): void =>
  place.script(
    'apt-get',
    `case "$*" in *--download-only*) what=fetch ;; *update*) what=update ;; *) what=install ;; esac
echo "$what \${DEBIAN_FRONTEND:-}" >> ${place.log}
${more}
if [ $what = install ]; then
  for word; do case "$word" in *-server) touch ${place.bin}/"$word" ;; esac; done
fi`,
  );

describe('setUp', () => {
  test('given everything is here, then nothing is run', async () => {
    aptGet();
    for (const name of ['nats-server', 'redis-server']) place.script(name, '');
    expect(await get()).toEqual({ kind: 'present' });
    expect(place.logged()).toEqual([]);
  });

  test('given root and apt-get, then what is absent is fetched and installed, with no question asked', async () => {
    aptGet();
    place.script('nats-server', '');
    expect(await get()).toEqual({ kind: 'installed', programs: ['redis-server'] });
    expect(place.logged()).toEqual(['fetch noninteractive', 'install noninteractive']);
  });

  test('given lists of packages that do not have it, then they are fetched anew, once', async () => {
    aptGet(`[ $what = update ] && touch ${place.bin}/.updated
if [ $what = fetch ] && ! [ -e ${place.bin}/.updated ]; then
  echo "E: Unable to locate package nats-server" >&2; exit 100
fi`);
    expect(await get()).toMatchObject({ kind: 'installed' });
    const asked = place.logged().map((line) => line.split(' ')[0]);
    expect(asked).toEqual(['fetch', 'update', 'fetch', 'install']);
  });

  test('while it installs, services of these names may not start, and others may', async () => {
    aptGet(`policy() { ${place.policyFile} "$@"; echo "$* $?" >> ${place.log}; }
if [ $what = install ]; then
  policy nats-server.service start
  policy --quiet redis-server start 2
  policy postgresql.service start
  cat ${place.policyFile} > ${place.policyFile}.kept
fi`);
    expect(await get()).toMatchObject({ kind: 'installed' });
    expect(place.logged()).toEqual(
      expect.arrayContaining([
        'nats-server.service start 101',
        '--quiet redis-server start 2 101',
        'postgresql.service start 0',
      ]),
    );
    expect(existsSync(place.policyFile)).toBe(false);
    // Left behind by a crash, it would forbid nothing.
    const kept = spawnSync('sh', [`${place.policyFile}.kept`, 'nats-server.service', 'start']);
    expect(kept.status).toBe(0);
  });

  test('given a policy of the host, then it is left as it is', async () => {
    writeFileSync(place.policyFile, 'theirs');
    aptGet();
    expect(await get()).toMatchObject({ kind: 'installed' });
    expect(readFileSync(place.policyFile, 'utf8')).toBe('theirs');
  });

  test('given a user with sudo that wants no password, then by sudo; unless only root may', async () => {
    aptGet();
    place.script('sudo', `echo "sudo $1" >> ${place.log}; shift; exec "$@"`);
    const host = place.host({ isRoot: false });
    expect(await get({ host, onlyAsRoot: true })).toMatchObject({ kind: 'absent' });
    expect(place.logged()).toEqual([]);
    expect(await get({ host })).toMatchObject({ kind: 'installed' });
    const asked = place.logged().map((line) => line.replace(' noninteractive', ''));
    expect(asked).toEqual(['sudo -n', 'sudo -n', 'fetch', 'sudo -n', 'install']);
  });

  test.each([
    ['no sudo', ''],
    ['sudo that wants a password', 'exit 1'],
  ])('given a user with %s, then nothing is done and it is said how', async (_name, sudo) => {
    aptGet();
    if (sudo !== '') place.script('sudo', sudo);
    expect(await get({ host: place.host({ isRoot: false }) })).toEqual({
      kind: 'absent',
      programs: ['nats-server', 'redis-server'],
      why: 'only root may install it',
      how: expect.stringMatching(
        /apt-get install -y nats-server && .*apt-get install -y redis-server$/,
      ),
    });
    expect(place.logged()).toEqual([]);
  });

  test('given apt-get that cannot, then its own word is passed on', async () => {
    aptGet('echo "Reading package lists..."; echo "E: Temporary failure resolving" >&2; exit 100');
    expect(await get()).toMatchObject({
      kind: 'absent',
      why: 'fetching failed: E: Temporary failure resolving',
    });
  });

  test('given a network that does not answer, then fetching is cut off', async () => {
    aptGet(`echo $$ > ${place.bin}/.pid; sleep 60`);
    const outcome = await get({ fetchMs: 300 });
    expect(outcome).toMatchObject({ kind: 'absent', why: 'fetching took too long' });
    const pid = Number(readFileSync(join(place.bin, '.pid'), 'utf8'));
    await eventually(() => expect(() => process.kill(pid, 0)).toThrow(/ESRCH/));
  });

  test('given unpacking that takes too long, then it is not waited for, and not cut off either', async () => {
    aptGet(`[ $what = install ] && { until [ -e ${place.bin}/.go ]; do sleep 0.05; done; }`);
    const outcome = await get({ fetchMs: 2000, patienceMs: 2500 });
    expect(outcome).toMatchObject({ kind: 'absent', why: 'unpacking took too long' });
    expect(existsSync(place.policyFile)).toBe(true);
    writeFileSync(join(place.bin, '.go'), '');
    await eventually(() => expect(existsSync(join(place.bin, 'redis-server'))).toBe(true));
    await eventually(() => expect(existsSync(place.policyFile)).toBe(false));
  });

  test('interrupted, it waits no longer', async () => {
    aptGet('sleep 5');
    const signal = AbortSignal.timeout(100);
    expect(await get({ signal, fetchMs: 3000 })).toMatchObject({ kind: 'absent' });
  });

  test('given macOS, then brew does it as the user, and never as root', async () => {
    place.script(
      'brew',
      `echo "$*" >> ${place.log}; touch ${place.bin}/nats-server ${place.bin}/redis-server`,
    );
    const host = place.host({ platform: 'darwin' });
    expect(await get({ host })).toMatchObject({ kind: 'absent' });
    expect(await get({ host: { ...host, isRoot: false } })).toMatchObject({ kind: 'installed' });
    expect(place.logged()).toEqual(['install nats-server redis-server']);
  });

  test('given no package manager, then it is said what to install', async () => {
    expect(await get()).toMatchObject({
      kind: 'absent',
      how: 'install nats-server && install redis-server',
    });
  });
});

describe('the bus of npm start', () => {
  const said: string[] = [];
  const say = (line: string): void => void said.push(line);
  beforeEach(() => {
    said.length = 0;
    vi.stubEnv('LAZARUS_CONFIG', 'none');
    vi.stubEnv('NATS_URL', undefined);
  });

  test.each([
    ['NATS_URL', 'off'],
    ['NATS_URL', 'nats://127.0.0.1:4222'],
    ['NATS_SERVER_BIN', '/nowhere/nats-server'],
    ['LAZARUS_CONFIG', '/nowhere/config.json'],
  ])('given %s=%s, then nothing is installed and nothing said', async (name, value) => {
    aptGet();
    vi.stubEnv(name, value);
    await setUpBus(say, { host: place.host() });
    expect(place.logged()).toEqual([]);
    expect(said).toEqual([]);
  });
});
