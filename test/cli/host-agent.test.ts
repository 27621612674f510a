/**
 * A host that is reached by NATS, on the server that the node brings with it: the real node, the real agent with the credentials
 * that the node wrote for it, and a docker on that host's PATH.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { proposal } from '../support/action.ts';
import { eventually } from '../support/eventually.ts';
import { HomelabProcess, Life } from '../support/homelab-process.ts';

const LONG = { timeoutMs: 40_000 };
const BIN = resolve(import.meta.dirname, '../../bin/lazarus');

/** `lazarus host-agent nas`, as its README line starts it there. */
async function startAgent(lab: HomelabProcess, credentials: string): Promise<Life> {
  const { url } = (
    JSON.parse(readFileSync(join(lab.missions, '.lazarus/node.json'), 'utf8')) as {
      nats: { url: string };
    }
  ).nats;
  const state = join(lab.base, 'host');
  const words = [
    'host-agent',
    'nas',
    '--nats',
    url,
    '--credentials',
    credentials,
    '--state',
    state,
    '--json',
  ];
  const file = join(lab.base, 'host-executor.json');
  const child = spawn(process.execPath, [BIN, ...words, '--file', file], {
    env: lab.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const life = new Life(child);
  onTestFinished(() => life.kill());
  await eventually(
    () => expect(life.logged('the agent of this host listens'), life.err).toHaveLength(1),
    LONG,
  );
  return life;
}

async function approved(lab: HomelabProcess, id: string): Promise<void> {
  const folder = lab.layout.actions.pending;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${id}.json`), JSON.stringify(proposal(id, { node: 'nas' })));
  await eventually(() => lab.verb('actions.approve', { id }), LONG);
}

const is = (
  lab: HomelabProcess,
  id: string,
  status: ActionStatus,
): Promise<JsonObject | undefined> =>
  eventually(() => {
    expect(lab.everywhere()).toContainEqual({ id, status });
    return lab.action(status, id);
  }, LONG);

test('given "via": "nats" and the file copied to the host, then what is approved is done there, once; without an agent it has failed, and nothing was done', async () => {
  const lab = new HomelabProcess({ NATS_URL: '', LAZARUS_HTTP: 'off' });
  onTestFinished(() => lab.dispose());
  lab.docker.run('web', 'healthy');
  lab.configure('executor.json', {
    hosts: { nas: { via: 'nats' } },
    timeouts: { connect: 2, probe: 2 },
  });
  const node = await lab.up();
  const credentials = join(lab.missions, '.lazarus/nats/host-nas.credentials');
  await eventually(() => expect(existsSync(credentials)).toBe(true), LONG);
  expect(statSync(credentials).mode & 0o777).toBe(0o600);
  const context = join(
    lab.environment['XDG_CONFIG_HOME'] ?? '',
    'nats/context/lazarus-host-nas.json',
  );
  await eventually(
    () => expect(JSON.parse(readFileSync(context, 'utf8'))).toMatchObject({ user: 'host-nas' }),
    LONG,
  );
  await eventually(async () => expect((await lab.part('nats'))['state']).toBe('up'), LONG);

  await approved(lab, 'a');
  expect((await is(lab, 'a', 'failed'))?.['result']).toMatchObject({
    reason: expect.stringContaining('nobody listens on exec.nas') as string,
  });

  const agent = await startAgent(lab, credentials);
  await approved(lab, 'b');
  expect((await is(lab, 'b', 'completed'))?.['result']).toMatchObject({
    ok: true,
    via: 'nats exec.nas',
    verified_by: 'its driver',
  });
  expect(lab.docker.restarts).toHaveLength(1);

  const second = join(lab.base, 'host-executor.json');
  writeFileSync(second, JSON.stringify({ services: { 'nas/web': { container: 'other' } } }), {
    mode: 0o644,
  });
  await eventually(() => expect(agent.logged('executor configuration taken').length).toBe(2), LONG);
  await approved(lab, 'c');
  expect((await is(lab, 'c', 'failed'))?.['result']).toMatchObject({
    reason: expect.stringContaining("the host's agent refused") as string,
  });
  expect(lab.docker.restarts).toHaveLength(1);

  await node.kill(); // its server goes with it; the agent waits for the next one
  await lab.up();
  writeFileSync(second, '{}', { mode: 0o644 });
  await eventually(
    () => expect(agent.out).toMatch(/connected to NATS again|listens[^]*listens/),
    LONG,
  );
  await eventually(async () => expect((await lab.part('nats'))['state']).toBe('up'), LONG);
  await eventually(() => expect(agent.logged('executor configuration taken').length).toBe(3), LONG);
  await approved(lab, 'd');
  await is(lab, 'd', 'completed');
  expect(lab.docker.restarts).toHaveLength(2);
  await agent.stop();
}, 120_000);
