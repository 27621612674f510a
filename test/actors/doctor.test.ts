/** What the doctor finds, on real folders, files, locks, sockets and servers. */
import { chmodSync, mkdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { examine, needed, ok } from '../../actors/doctor/check.ts';
import type { Check, Probe } from '../../actors/doctor/check.ts';
import { configurationProbes } from '../../actors/doctor/configuration.ts';
import { isFit } from '../../actors/doctor/examine.ts';
import { homelabProbes } from '../../actors/doctor/homelab.ts';
import { hostProbes } from '../../actors/doctor/host.ts';
import { isolationProbes } from '../../actors/doctor/isolation.ts';
import { lockState } from '../../actors/doctor/lock-holder.ts';
import { missionsStateProbes } from '../../actors/doctor/missions-state.ts';
import { findProgram, getJson, run } from '../../actors/doctor/probe.ts';
import { pingRedis } from '../../actors/doctor/redis-ping.ts';
import { serviceProbes } from '../../actors/doctor/services.ts';
import { storageProbes } from '../../actors/doctor/storage.ts';
import { hasProc } from '../../actors/proc-fs.ts';
import { controlSocketPath } from '../../bus/control-socket.ts';
import { configPlace } from '../../cells/config-place.ts';
import { loadConfig } from '../../cells/daemon-config.ts';
import { missionsLayout } from '../../cells/layout.ts';
import { lockMissions } from '../../cells/lock.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { makeFakeHost } from '../support/fake-docker.ts';
import { startNode } from '../support/node.ts';

async function look(probes: readonly Probe[], name: string): Promise<Check> {
  const probe = probes.filter((one) => one.name === name);
  const [check] = await examine(probe);
  if (check === undefined) throw new Error(`no probe is called ${name}`);
  return check;
}

async function listen(answer: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    answer(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve());
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

describe('the list', () => {
  test('given a probe that throws, then its line says so and the others go on', async () => {
    const group = 'host';
    const breaks = (): never => {
      throw new Error('no such thing');
    };
    const checks = await examine([
      { group, name: 'a', look: breaks },
      { group, name: 'b', look: () => ok('fine') },
    ]);
    expect(checks).toMatchObject([
      { name: 'a', state: 'warn', detail: 'could not be examined: no such thing' },
      { name: 'b', state: 'ok' },
    ]);
    expect(isFit(checks)).toBe(true);
  });

  test('only what is needed and missing makes a host unfit', async () => {
    const look = () => needed('gone', 'bring it back');
    expect(isFit(await examine([{ group: 'host', name: 'a', look }]))).toBe(false);
  });
});

describe('programs', () => {
  test('are run as they are, with a time limit, and an absent one is told apart', async () => {
    expect(await run(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({
      kind: 'ended',
      code: 3,
      out: 'out\n',
      err: 'err\n',
    });
    expect(await run(['no-such-program'])).toEqual({ kind: 'absent' });
    expect(await run(['sleep', '60'], { timeoutMs: 50 })).toMatchObject({ kind: 'late' });
    expect(await run(['yes'], { timeoutMs: 20_000 })).toMatchObject({ kind: 'ended', code: 1 }); // too much is cut
  });

  test('are found in PATH and beyond it; a folder or a plain file is none', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'tool'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(join(folder, 'note'), '', { mode: 0o644 });
    mkdirSync(join(folder, 'a-folder'));
    expect(findProgram('sh')).toMatch(/\/sh$/);
    expect(findProgram('tool')).toBeNull();
    expect(findProgram('tool', [folder])).toBe(join(folder, 'tool'));
    expect(findProgram(join(folder, 'tool'))).toBe(join(folder, 'tool'));
    for (const name of ['note', 'a-folder']) expect(findProgram(name, [folder])).toBeNull();
  });
});

describe('this host', () => {
  test('every probe of it and of its isolation answers without failing', async () => {
    const checks = await examine([...hostProbes({ nodePid: process.pid }), ...isolationProbes()]);
    expect(checks.filter(({ detail }) => detail.startsWith('could not be examined'))).toEqual([]);
    expect(checks.find(({ name }) => name === 'node')).toMatchObject({ state: 'ok' });
    for (const { state, fix, detail } of checks) {
      expect(detail).not.toBe('');
      if (state === 'ok') expect(fix).toBeNull();
    }
  });
});

describe('the missions folder', () => {
  const names = ['folder', 'file system', 'durable write', 'free space'];

  test.each(['', 'not/there/yet'])(
    'given it can be had (%s), then it is fit and nothing is left in it',
    async (below) => {
      const folder = temporaryFolder();
      const before = statSync(folder).nlink;
      const probes = storageProbes(join(folder, below), 'the default');
      for (const name of names) expect(await look(probes, name)).toMatchObject({ needed: false });
      expect((await look(probes, 'folder')).state).toBe('ok');
      expect((await look(probes, 'durable write')).detail).toMatch(/fdatasync takes [\d.]+ ms/);
      expect(statSync(folder).nlink).toBe(before);
    },
  );

  test('given a file is in its place or above it, then it is unfit', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'missions')]) {
      const check = await look(storageProbes(path, 'named by --missions'), 'folder');
      expect(check).toMatchObject({ state: 'missing', needed: true });
      expect(check.detail).toContain(path);
    }
  });
});

describe('the lock', () => {
  test('is looked at without taking it, and its holder is named', async () => {
    const missions = temporaryFolder();
    const layout = missionsLayout(missions);
    expect(lockState(layout.lock)).toEqual({ kind: 'free' });
    mkdirSync(layout.own);
    const lock = lockMissions(layout.lock, layout.node);
    const pid = hasProc ? process.pid : null;
    expect(lockState(layout.lock)).toEqual({ kind: 'held', pid });
    lock.release();
    expect(lockState(layout.lock)).toEqual({ kind: 'free' });
    lockMissions(layout.lock, layout.node).release(); // nobody was kept out
  });

  test('given a node was killed, then its node file is told as left behind', async () => {
    const missions = temporaryFolder();
    const { own, node } = missionsLayout(missions);
    mkdirSync(own);
    writeFileSync(node, JSON.stringify({ pid: 2 ** 22 + 1 }), { mode: 0o600 });
    const check = await look(missionsStateProbes(missions), 'lock');
    expect(check).toMatchObject({ state: 'warn', detail: expect.stringContaining('was killed') });
  });
});

describe('the control socket', () => {
  async function bindAndAbandon(path: string): Promise<void> {
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    // A process that is killed leaves its socket; closing one removes it.
    const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
    await run([process.execPath, '-e', script, path]);
  }

  test('given its node was killed, then it is stale, with the command that removes it', async () => {
    const missions = temporaryFolder();
    const path = controlSocketPath(missionsLayout(missions).own);
    await bindAndAbandon(path);
    chmodSync(path, 0o600);
    const check = await look(missionsStateProbes(missions), 'control socket');
    expect(check.state).toBe('warn');
    expect(check.detail).toContain('a node that is gone');
    expect(check.fix).toContain(`rm ${path}`);
  });

  test('given something else is in its place, then no node can start there', async () => {
    const missions = temporaryFolder();
    const path = controlSocketPath(missionsLayout(missions).own);
    mkdirSync(path, { recursive: true });
    const check = await look(missionsStateProbes(missions), 'control socket');
    expect(check).toMatchObject({ state: 'missing', needed: true });
  });
});

describe('secrets', () => {
  test('given a token that others may read, or a folder that they may write, then both are named', async () => {
    const missions = temporaryFolder();
    const { own } = missionsLayout(missions);
    mkdirSync(own, { mode: 0o700 });
    const token = join(own, 'http-token');
    writeFileSync(token, 'x', { mode: 0o600 });
    const probes = missionsStateProbes(missions);
    expect((await look(probes, 'secrets')).state).toBe('ok');
    chmodSync(token, 0o644);
    expect(await look(probes, 'secrets')).toMatchObject({
      state: 'warn',
      fix: `chmod 600 ${token}`,
    });
    chmodSync(own, 0o777);
    expect(await look(probes, 'secrets')).toMatchObject({ needed: true, fix: `chmod 700 ${own}` });
  });

  test('a node leaves nothing that the doctor complains of', async () => {
    const at = await startNode();
    const checks = await examine(missionsStateProbes(at.missions));
    for (const { name, state } of checks)
      expect([name, state]).toEqual([name, name === 'control socket' ? expect.any(String) : 'ok']);
  });
});

describe('the configuration', () => {
  test('given it would be refused at a start, then the host is unfit and the problem is named', async () => {
    const file = join(temporaryFolder(), 'config.json');
    writeFileSync(file, '{"tiemout": 3}', { mode: 0o600 });
    const place = configPlace(file, {});
    const what = { place, load: () => loadConfig(place, {}) };
    const bad = await look(configurationProbes(what), 'settings');
    expect(bad).toMatchObject({ state: 'missing', needed: true });
    expect(bad.detail).toContain('Did you mean "timeout"?');
    writeFileSync(file, '{"gateways": {"g": "http://u:secret@h"}}');
    expect((await look(configurationProbes(what), 'settings')).state).toBe('ok');
    expect((await look(configurationProbes(what), 'permissions')).state).toBe('ok');
    chmodSync(file, 0o644);
    const open = await look(configurationProbes(what), 'permissions');
    expect(open).toMatchObject({ state: 'warn', fix: `chmod 600 ${file}` });
    chmodSync(file, 0o666);
    expect((await look(configurationProbes(what), 'permissions')).detail).toContain(
      'written by others',
    );
    expect(JSON.stringify(open)).not.toContain('secret@');
  });
});

describe('Redis', () => {
  test('given one that answers, lets nobody in, is none, or says nothing', async () => {
    const heard: string[] = [];
    const good = await listen((socket) => {
      socket.on('data', (chunk) => {
        heard.push(chunk.toString());
        socket.write('+OK\r\n');
        setImmediate(() => socket.write('+PONG\r\n')); // in two parts, as the net may
      });
    });
    const closed = await listen((socket) => {
      socket.on('data', () => socket.write('-NOAUTH Authentication required.\r\n'));
    });
    const other = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const silent = await listen(() => undefined);
    const at = (port: number, user = ''): URL => new URL(`redis://${user}127.0.0.1:${port}`);
    expect(await pingRedis(at(good, 'me:s%20ecret@'))).toEqual({ kind: 'pong' });
    expect(heard.join('')).toBe(
      '*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$7\r\ns ecret\r\n*1\r\n$4\r\nPING\r\n',
    );
    expect(await pingRedis(at(closed))).toMatchObject({ kind: 'refused', reason: /NOAUTH/ });
    expect(await pingRedis(at(other))).toMatchObject({ kind: 'refused', reason: /no Redis/ });
    await expect(pingRedis(at(silent), 50)).rejects.toThrow(/no answer within/);
  });

  test('its password is shown to nobody, and an unset one is no fault', async () => {
    const port = await listen((socket) => socket.destroy());
    const secret = { REDIS_URL: `redis://u:hunter2@127.0.0.1:${port}` };
    const check = await look(serviceProbes(secret), 'redis');
    expect(check).toMatchObject({ state: 'missing', needed: false });
    expect(JSON.stringify(check)).not.toContain('hunter2');
    expect((await look(serviceProbes({}), 'redis')).state).toBe('ok');
    expect((await look(serviceProbes({ REDIS_URL: 'x' }), 'redis')).state).toBe('warn');
  });
});

describe('models', () => {
  async function ollamaWith(body: string): Promise<{ OLLAMA_HOST: string }> {
    const server = createHttpServer((_request, response) => response.end(body));
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve());
    });
    onTestFinished(() => void server.close());
    return { OLLAMA_HOST: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  test('given Ollama has the model, has it not, or answers nonsense', async () => {
    const has = await ollamaWith('{"models": [{"name": "qwen2.5:7b"}, 3]}');
    expect(await look(serviceProbes(has), 'ollama')).toMatchObject({ state: 'ok' });
    const other = { ...has, OLLAMA_MODEL: 'tiny' };
    expect(await look(serviceProbes(other), 'ollama')).toMatchObject({
      state: 'warn',
      fix: 'ollama pull tiny',
    });
    const broken = await ollamaWith('<html>');
    expect(await look(serviceProbes(broken), 'ollama')).toMatchObject({ state: 'missing' });
    const endless = await ollamaWith(`"${'x'.repeat(1 << 20)}"`);
    await expect(getJson(`http://${endless.OLLAMA_HOST}/`)).rejects.toThrow(/more than/);
  });

  test('given a chain of its own, then each model of it is looked for, and the first that can be asked is named', async () => {
    const here = await ollamaWith('{"models": [{"name": "tiny:latest"}]}');
    const keyFile = join(temporaryFolder(), 'key');
    writeFileSync(keyFile, 'sk-ant-very-secret', { mode: 0o600 });
    const chain = [
      { model: 'ollama/big' },
      { model: 'ollama/tiny' },
      { model: 'claude-haiku-5-5' },
    ];
    const llm = { chain, anthropic: { key_file: keyFile } };
    const probes = (): Probe[] => serviceProbes(here, { llm });
    expect(await look(probes(), 'ollama')).toMatchObject({ fix: 'ollama pull big' });
    expect(await look(probes(), 'anthropic')).toMatchObject({ state: 'ok' });
    expect((await look(probes(), 'models')).detail).toMatch(/^ollama\/tiny is asked first/);
    chmodSync(keyFile, 0o644);
    expect(await look(probes(), 'anthropic')).toMatchObject({ fix: `chmod 600 ${keyFile}` });
  });

  test('given none that can be asked, then what comes of it is said, and what mends it', async () => {
    const environment = { OLLAMA_HOST: '127.0.0.1:9' };
    const withNode = await look(serviceProbes(environment, { isRunning: true }), 'models');
    expect(withNode.detail).toMatch(
      /from here; what the node that runs can ask: `lazarus models`$/,
    );
    const check = await look(serviceProbes(environment), 'models');
    expect(check).toMatchObject({
      state: 'warn',
      detail: expect.stringMatching(/no event is diag/),
    });
    expect(check.fix).toContain('ANTHROPIC_API_KEY');
    const llm = { chain: [{ model: 'rules' }] };
    expect((await look(serviceProbes({}, { llm }), 'models')).detail).toMatch(
      /only the fixed table/,
    );
  });

  test.each([
    [undefined, 'missing'],
    ['sk-ant-very-secret', 'ok'],
    ['sk-ant-very-secret\n', 'warn'],
  ])('a key is never shown', async (key, state) => {
    const check = await look(serviceProbes({ ANTHROPIC_API_KEY: key }), 'anthropic');
    expect(check.state).toBe(state);
    expect(JSON.stringify(check)).not.toContain('very-secret');
  });
});

describe('the homelab', () => {
  const at = (runtime: string): Probe[] => homelabProbes({ runtime, nodeName: 'solaria' });

  test('given no runtime folder, then that is no fault, and says how to get one', async () => {
    const check = await look(at('off'), 'runtime folder');
    expect(check).toMatchObject({ state: 'ok', detail: expect.stringContaining('--runtime DIR') });
  });

  test('given a folder that is fit, then its files and docker are looked at, and a host that is not reached is named', async () => {
    const host = makeFakeHost();
    const root = temporaryFolder();
    const layout = runtimeLayout(root);
    expect(await look(at(root), 'runtime folder')).toMatchObject({ state: 'ok' });
    mkdirSync(join(root, 'config'));
    writeFileSync(layout.policyFile, '{"confidence_flor": 1}');
    const hosts = {
      solaria: { via: 'local', docker: '/nowhere/docker' },
      piha: { via: 'ssh', destination: 'piha' },
    };
    writeFileSync(layout.executorFile, JSON.stringify({ hosts }));
    host.rules([{ match: 'piha', early: true, stderr: 'piha: Permission denied\n', exit: 255 }]);
    expect(await look(at(root), 'policy')).toMatchObject({ state: 'missing', needed: false });
    expect((await look(at(root), 'executor.json')).fix).toContain('notify');
    expect(await look(at(root), 'docker')).toMatchObject({ state: 'missing' });
    const piha = await look(at(root), 'ssh piha');
    expect(piha).toMatchObject({ state: 'warn', detail: 'piha: piha: Permission denied' });
    mkdirSync(layout.state);
    writeFileSync(layout.plannerHeartbeat, '');
    utimesSync(layout.plannerHeartbeat, 1, 1);
    expect(await look(at(root), 'heartbeat')).toMatchObject({ state: 'warn' });
  });

  test('given inventory and world, then each is read as a look would read it', async () => {
    const root = temporaryFolder();
    expect(await look(at(root), 'inventory')).toMatchObject({ state: 'ok' });
    expect(await look(at(root), 'world')).toMatchObject({ state: 'ok' });
    for (const folder of ['inventory/hosts/vps', 'world'])
      mkdirSync(join(root, folder), { recursive: true });
    const services = join(root, 'inventory/hosts/vps/services.yaml');
    writeFileSync(services, 'services: [web, db]\n');
    const world = join(root, 'world/services.json');
    writeFileSync(world, '{"vps/web": {"status": "healthy"}}');
    writeFileSync(join(root, 'world/nodes.json'), '{"vps": {"status": "online"}}');
    expect((await look(at(root), 'inventory')).detail).toMatch(/1 hosts, 2 services/);
    expect((await look(at(root), 'world')).detail).toMatch(/1 hosts/);
    writeFileSync(services, 'services:\n  - name: web\n    monitor: nope\n');
    expect(await look(at(root), 'inventory')).toMatchObject({
      state: 'warn',
      detail: expect.stringMatching(/hosts\/vps\/services.yaml:3 .*monitor/),
    });
    writeFileSync(world, '{"vps/web": {"sta');
    expect(await look(at(root), 'world')).toMatchObject({ state: 'missing', needed: false });
    writeFileSync(world, '{"vps/web": {"status": "healthy"}}');
    for (const name of ['services', 'nodes']) utimesSync(join(root, `world/${name}.json`), 1, 1);
    expect((await look(at(root), 'world')).detail).toMatch(/silent since 1970/);
  });

  test('given a file is in the place of the folder, then that is said', async () => {
    const file = join(temporaryFolder(), 'runtime');
    writeFileSync(file, '');
    expect(await look(at(file), 'runtime folder')).toMatchObject({ state: 'missing' });
  });
});

describe('nats-server', () => {
  const fake = (version: string): { NATS_SERVER_BIN: string } => {
    const path = join(temporaryFolder(), 'nats-server');
    writeFileSync(path, `#!/bin/sh\necho "nats-server: v${version}"\n`, { mode: 0o755 });
    return { NATS_SERVER_BIN: path };
  };

  test.each([
    ['2.10.7', 'ok'],
    ['2.9.0', 'ok'],
    ['2.8.4', 'warn'],
    ['', 'missing'],
  ])('version %s is %s', async (version, state) => {
    expect((await look(serviceProbes(fake(version)), 'nats-server')).state).toBe(state);
  });

  test('given the variable names no program, then that is said, not something else found', async () => {
    for (const named of ['/nowhere', temporaryFolder()]) {
      const check = await look(serviceProbes({ NATS_SERVER_BIN: named }), 'nats-server');
      expect(check).toMatchObject({ state: 'missing', fix: 'unset NATS_SERVER_BIN' });
    }
  });

  test('is looked for where the runtime looks for it; a folder of that name is none', async () => {
    const [first, second] = [temporaryFolder(), temporaryFolder()];
    mkdirSync(join(first, 'nats-server'));
    const { NATS_SERVER_BIN: program } = fake('2.10.7');
    symlinkSync(program, join(second, 'nats-server'));
    const check = await look(serviceProbes({ PATH: `${first}:${second}` }), 'nats-server');
    expect(check).toMatchObject({ state: 'ok', detail: `v2.10.7, ${second}/nats-server` });
  });
});
