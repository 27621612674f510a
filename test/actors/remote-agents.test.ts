/** Agents that run elsewhere: their silence, their gateways, and what their actors are told. The gateways are real servers. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AgentDirectory } from '../../actors/agent-directory.ts';
import { GuestFile } from '../../actors/guest-file.ts';
import { pollAgent } from '../../actors/gateway-poll.ts';
import { Heartbeats } from '../../actors/heartbeats.ts';
import { RemoteAgents } from '../../actors/remote-agents.ts';
import type { RemoteConfig } from '../../actors/remote-agents.ts';
import { agentAddress } from '../../machines/addresses.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { agent, mission, startNode } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const log = { info: () => {}, warn: () => {} };
const beat = { responseTimeMs: 1 };

interface Watch {
  node: TestNode;
  remote: RemoteAgents;
  heartbeats: Heartbeats;
  directory: AgentDirectory;
  clock: ManualClock;
  config: RemoteConfig;
  /** `agent.silent` and `agent.heard` as they were committed. */
  told: string[];
}

/** A mission that goes on for ever with these remote agents, watched by a clock that the test moves. */
async function watch(ids: string[], gateways: Record<string, string> = {}): Promise<Watch> {
  const node = await startNode();
  const agents = ids.map((id) => agent(id, { runner: { kind: 'remote' }, gateway: 'gw' }));
  const success_criteria = [{ name: 'a person confirms' }];
  const policies = { auto_revive: 'no' };
  node.drop(mission('c', [], { agents, max_agents: 100, success_criteria, policies }));
  await node.cellIs('c', 'active');
  const { system } = node.node.kernel;
  await eventually(() => ids.forEach((id) => system.read(agentAddress('c', id))));
  const directory = new AgentDirectory(system);
  const clock = new ManualClock();
  const config: RemoteConfig = { pollIntervalMs: 30_000, timeoutMs: 300_000, gateways };
  const heartbeats = new Heartbeats({
    directory,
    workers: node.node.workers,
    guests: new GuestFile(join(node.node.layout.own, 'test-guests.json'), log),
    clock,
    pollIntervalMs: () => config.pollIntervalMs,
  });
  // A look every hour of the test's clock is no oversleeping.
  const options = { directory, heartbeats, system, log, config: () => config, tickMs: 3_600_000 };
  const remote = new RemoteAgents(options);
  onTestFinished(async () => {
    directory.close();
    await remote.close();
  });
  const told: string[] = [];
  system.on('committed', ({ address, event }) => {
    if (/^agent\.(silent|heard)$/.test(event.type))
      told.push(`${address.split('/').at(-1)} ${event.type}`);
  });
  await heartbeats.ready();
  await remote.look(); // from here on they are watched
  return { node, remote, heartbeats, directory, clock, config, told };
}

type Answering = (request: IncomingMessage, response: ServerResponse) => void;

async function gatewayThat(answer: Answering): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/base/`, asked };
}

/** As our own `GET /agent/<id>` answers: heard `ageS` seconds ago. */
const heardAgo =
  (ageS: () => number | null): Answering =>
  (request, response) => {
    const agent_id = request.url?.split('/').at(-1);
    const age = ageS();
    const last_heartbeat = age === null ? null : Date.now() / 1000 - age;
    response.end(JSON.stringify({ agent_id, status: 'healthy', last_heartbeat }));
  };

describe('silence', () => {
  test('given 300 s without a sign, then its actor is told once and the agent fails; heard again, it is told and recovers', async () => {
    const { node, remote, heartbeats, clock, told } = await watch(['far', 'near']);
    clock.pass(299);
    await remote.look();
    expect(told).toEqual([]);
    heartbeats.beat('near', beat);
    clock.pass(1);
    await remote.look();
    await remote.look();
    expect(told).toEqual(['far agent.silent']);
    await eventually(() => expect(node.agent('c', 'far').status).toBe('failed'));
    expect(node.agent('c', 'far').reason).toContain('no sign of life for 300 s');
    expect(node.agent('c', 'near').status).toBe('idle');
    expect(heartbeats.agent('far')).toMatchObject({ status: 'unhealthy' });
    clock.pass(1000);
    heartbeats.beat('near', beat);
    await remote.look();
    expect(told).toEqual(['far agent.silent']);
    heartbeats.beat('far', beat);
    await remote.look();
    await remote.look();
    expect(told).toEqual(['far agent.silent', 'far agent.heard']);
    await eventually(() => expect(node.agent('c', 'far').status).toBe('idle'));
  });

  test('given a new life of the supervision, then an agent that failed before is told that it is heard', async () => {
    const { node, remote, heartbeats, clock, told } = await watch(['far']);
    await node.node.kernel.system.send(agentAddress('c', 'far'), {
      type: 'agent.silent',
      message: 'of an earlier life',
    });
    await eventually(() => expect(node.agent('c', 'far').status).toBe('failed'));
    clock.pass(1000);
    await remote.look();
    heartbeats.beat('far', beat);
    await remote.look();
    expect(told).toEqual(['far agent.silent', 'far agent.heard']);
  });

  test('given a mission that is paused, then nobody is told', async () => {
    const { node, remote, clock, told } = await watch(['far']);
    await node.tell('c', { type: 'cell.pause' });
    clock.pass(1000);
    await remote.look();
    expect(told).toEqual([]);
    await node.tell('c', { type: 'cell.resume' });
    await remote.look();
    expect(told).toEqual(['far agent.silent']);
  });

  test('given this process stood still, then silence counts anew, for nobody could be heard', async () => {
    const { remote, heartbeats, clock, told } = await watch(['far']);
    heartbeats.beat('far', beat);
    await remote.look();
    clock.pass(4 * 3600);
    await remote.look();
    expect(told).toEqual([]);
    expect(heartbeats.agent('far').status).toBe('unknown');
    clock.pass(300);
    await remote.look();
    expect(told).toEqual(['far agent.silent']);
  });
});

describe('polling', () => {
  test('given a gateway with a URL, then what it heard counts, and the time it took is measured', async () => {
    let age: number | null = 5;
    const { url, asked } = await gatewayThat(heardAgo(() => age));
    const { remote, heartbeats, clock, told } = await watch(['far'], { gw: url, unused: url });
    await remote.poll();
    expect(asked).toEqual(['/base/agent/far']);
    const heard = heartbeats.agent('far');
    expect(heard).toMatchObject({ status: 'healthy', error_message: null });
    expect(heard.response_time).toBeGreaterThan(0);
    clock.pass(400);
    age = 400;
    await remote.poll();
    await remote.look();
    expect(told).toEqual(['far agent.silent']);
    age = 1;
    await remote.poll();
    await remote.look();
    expect(told).toEqual(['far agent.silent', 'far agent.heard']);
  });

  test('given an agent that its gateway never heard, then an answer is no sign of life', async () => {
    const { url } = await gatewayThat(heardAgo(() => null));
    const { remote, heartbeats, clock } = await watch(['far'], { gw: url });
    await remote.poll();
    expect(heartbeats.agent('far')).toMatchObject({ status: 'unknown', last_heartbeat: null });
    clock.pass(95);
    await remote.poll();
    expect(heartbeats.agent('far').status).toBe('unhealthy');
  });

  const answers: [string, Answering, string][] = [
    ['404', (_, r) => r.writeHead(404).end('{}'), 'does not know agent far'],
    ['500', (_, r) => r.writeHead(500).end('oops'), 'answered 500'],
    ['no JSON', (_, r) => void r.end('<html>'), 'did not answer with JSON'],
    ['another agent', (_, r) => void r.end('{"agent_id": "x"}'), 'another agent'],
    [
      'a time that is none',
      (_, r) => void r.end('{"agent_id": "far", "last_heartbeat": "now"}'),
      'no time',
    ],
    ['a redirect', (_, r) => r.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), ''],
    ['megabytes', (_, r) => void r.end('x'.repeat(1 << 20)), 'longer than'],
    ['nothing and goes away', (_, r) => void r.destroy(), ''],
  ];
  test.each(answers)(
    'given a gateway that answers %s, then it is no sign of life',
    async (_, answer, message) => {
      const { url } = await gatewayThat(answer);
      const { remote, heartbeats } = await watch(['far'], { gw: url });
      await remote.poll();
      const { status, last_heartbeat: heard, error_message: error } = heartbeats.agent('far');
      expect({ status, heard }).toEqual({ status: 'unknown', heard: null });
      expect(error).toMatch(/^gateway gw: /);
      expect(error).toContain(message);
    },
  );

  test('given a gateway that takes the question and says nothing, then the question ends', async () => {
    const { url } = await gatewayThat(() => {});
    const { signal } = new AbortController();
    expect(await pollAgent(url, 'far', { signal, timeoutMs: 100 })).toEqual({
      kind: 'unreachable',
      message: 'no answer within 0.1 s',
    });
  });

  test('given a host whose clock is an hour ahead, then an age is told on its own clock', async () => {
    const { url } = await gatewayThat((_, response) => {
      const ahead = Date.now() + 3_600_000;
      response.setHeader('date', new Date(ahead).toUTCString());
      response.end(JSON.stringify({ agent_id: 'far', last_heartbeat: ahead / 1000 - 20 }));
    });
    const { signal } = new AbortController();
    const answer = await pollAgent(url, 'far', { signal, timeoutMs: 5000 });
    expect(answer).toMatchObject({ kind: 'answered' });
    const ageMs = answer.kind === 'answered' ? answer.ageMs : null;
    expect(ageMs).toBeGreaterThanOrEqual(18_000);
    expect(ageMs).toBeLessThanOrEqual(20_000);
  });

  test('given a gateway that is down, then it is asked for some of its agents and all are shown with the reason', async () => {
    const ids = Array.from({ length: 40 }, (_, n) => `far${n}`);
    const { url, asked } = await gatewayThat((_, response) => void response.destroy());
    const { remote, heartbeats } = await watch(ids, { gw: url });
    await remote.poll();
    expect(asked.length).toBeLessThan(20);
    for (const id of ids) expect(heartbeats.agent(id).error_message).toMatch(/^gateway gw/);
  });

  test('given many agents, then a gateway never has more than a few questions at a time', async () => {
    const ids = Array.from({ length: 60 }, (_, n) => `far${n}`);
    let now = 0;
    let most = 0;
    const { url, asked } = await gatewayThat((request, response) => {
      most = Math.max(most, (now += 1));
      setTimeout(() => {
        now -= 1;
        heardAgo(() => 1)(request, response);
      }, 5);
    });
    const { remote, heartbeats } = await watch(ids, { gw: url });
    await remote.poll();
    expect(asked).toHaveLength(60);
    expect(most).toBeLessThanOrEqual(8);
    expect(heartbeats.all()).toMatchObject({ total_agents: 60, healthy: 60 });
  });
});

test('given a node with a gateway in its configuration, then it polls by itself from its start', async () => {
  const { mergeConfig } = await import('../../machines/daemon-config.ts');
  const { url, asked } = await gatewayThat(heardAgo(() => 1));
  const origin = { from: 'option', name: 'test' } as const;
  const config = mergeConfig([{ gateways: { value: { gw: url }, origin } }], null);
  const node = await startNode({ config });
  node.drop(
    mission('c', [], { agents: [agent('far', { runner: { kind: 'remote' }, gateway: 'gw' })] }),
  );
  await node.cellIs('c', 'active');
  await node.restart({ config });
  await eventually(() => {
    expect(asked).toContain('/base/agent/far');
    expect(node.node.health.heartbeats.agent('far').status).toBe('healthy');
  });
});
