/** The runtime and its nats-server, each killed at any moment. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { NatsServer, findNatsServer } from '../../bus/nats-server.ts';
import { listPids } from '../../actors/proc-fs.ts';
import { busClient, journaled, storedIn, withBus } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import { gate, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';

const CHILD = join(import.meta.dirname, '../support/bus-writer.ts');
const waiting = mission('m', [task('t', [step('a', gate('g'))])]);

async function liveAndDie(
  missions: string,
  afterMs: number,
  before = (): void => {},
): Promise<void> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', CHILD, missions, 'm'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  await sleep(afterMs);
  before();
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Pids of the servers that run on a configuration below this folder. */
const serversOn = (missions: string): number[] =>
  listPids().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${missions}/`);
    } catch {
      return false; // ended meanwhile
    }
  });

test('given a runtime that is killed between commit and publish, again and again, then each event is on the bus once', async () => {
  const missions = temporaryMissions();
  const first = await startNode({ openDoors: withBus() }, missions);
  first.drop(waiting);
  await first.waitsAt('m', 'g');
  await first.stop();
  for (const afterMs of [5, 40, 120, 300]) await liveAndDie(missions, afterMs);
  const last = await startNode({ openDoors: withBus() }, missions);
  await eventually(
    () =>
      expect(last.node.status().parts['nats']).toMatchObject({
        state: 'up',
        outbox: { behind: 0 },
      }),
    { timeoutMs: 20_000 },
  );
  const ids = (await storedIn(await busClient(last.node), 'MISSIONS')).map(({ id }) => String(id));
  expect(new Set(ids).size).toBe(ids.length);
  const present = journaled(last.node);
  expect(ids.slice(-present.length)).toEqual(present);
}, 90_000);

test('given a runtime that is killed, then its nats-server ends too', async () => {
  const missions = temporaryMissions();
  const first = await startNode({}, missions);
  first.drop(waiting);
  await first.waitsAt('m', 'g');
  await first.stop();
  await liveAndDie(missions, 10, () =>
    expect(serversOn(`${missions}/.lazarus`).length).toBeGreaterThan(0),
  );
  await eventually(() => expect(serversOn(`${missions}/.lazarus`)).toEqual([]));
}, 60_000);

test('given a port that somebody else took meanwhile, then the server gets another', async () => {
  const binary = findNatsServer();
  expect(binary).toBeDefined();
  const base = temporaryMissions();
  const options = {
    folder: join(base, 'one'),
    binary: binary as string,
    users: [{ user: 'u', password: 'p', rights: null }],
    mark: {},
    log: { info: () => undefined, warn: () => undefined },
  };
  const one = await NatsServer.start(options);
  const { url } = one;
  await one.stop();
  const again = await NatsServer.start(options);
  expect(again.url).toBe(url);
  await again.stop();
  const other = await NatsServer.start({ ...options, folder: join(base, 'two') });
  onTestFinished(() => other.stop());
  const { createServer } = await import('node:net');
  const squatter = createServer().listen(Number(new URL(url).port), '127.0.0.1');
  await once(squatter, 'listening');
  onTestFinished(() => void squatter.close());
  const moved = await NatsServer.start(options);
  onTestFinished(() => moved.stop());
  expect(moved.url).not.toBe(url);
}, 60_000);

test('given a configuration that the server refuses, then its own words are in the error', async () => {
  const users = [
    { user: 'u', password: 'p', rights: null },
    { user: 'u', password: 'p', rights: null },
  ];
  const starting = NatsServer.start({
    folder: join(temporaryMissions(), 'bad'),
    binary: findNatsServer() as string,
    users,
    mark: {},
    log: { info: () => undefined, warn: () => undefined },
  });
  await expect(starting).rejects.toThrow(/nats-server did not start: .*[Dd]uplicate user/);
});
