/** `lazarus up` from its first line to its last: what it says, what it leaves, how it is stopped. */
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  isUp,
  lazarus,
  missionsFolder,
  nodeFileOf,
  Running,
  slowStep,
  up,
  writeCell,
} from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

const modeOf = (path: string): number => statSync(path).mode & 0o777;
const readJson = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;

describe('lazarus up', () => {
  test('says where it looks, can be found by its user alone, and drains on SIGTERM with exit 0', async () => {
    const missions = missionsFolder();
    const cell = writeCell(missions, 'c', {
      tasks: [
        { task_id: 't', steps: [slowStep('one', 0.5, 'safe'), slowStep('two', 0.1, 'safe')] },
      ],
    });
    const node = await up(missions);
    const file = readJson(nodeFileOf(missions));
    const http = expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string;
    expect(file).toMatchObject({ pid: node.child.pid, missions, nats: null, http });
    expect(modeOf(file['http_token_file'] as string)).toBe(0o600);
    expect(modeOf(nodeFileOf(missions))).toBe(0o600);
    expect(modeOf(file['control'] as string)).toBe(0o600);
    await eventually(() => expect(existsSync(join(cell, 'artifacts/ran.txt'))).toBe(true));
    node.child.kill('SIGTERM');
    const { code, out } = await node.ended;
    expect(code).toBe(0);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.find(({ drop_a_mission: hint }) => hint !== undefined)).toMatchObject({
      level: 'info',
      missions,
      drop_a_mission: `cp examples/hello.json ${missions}/`,
    });
    expect(existsSync(nodeFileOf(missions))).toBe(false);
    expect(existsSync(file['control'] as string)).toBe(false);
    expect(readJson(join(cell, '.lazarus/owner.json'))).toMatchObject({ clean: true });
    // The step in hand was waited for, and none was begun after it.
    expect(readFileSync(join(cell, 'artifacts/ran.txt'), 'utf8')).toBe('one\n');
  });

  test('a second one on the same folder is refused and told who is there', async () => {
    const missions = missionsFolder();
    const node = await up(missions);
    const second = await lazarus(missions, 'up');
    expect(second.code).toBe(1);
    expect(second.err).toContain(
      `another node runs on this missions folder (pid ${node.child.pid})`,
    );
    expect(second.err).toMatch(/^Error: .*\nTry: /);
  });

  test('after SIGKILL the next one replaces the socket that was left and goes on', async () => {
    const missions = missionsFolder();
    const first = await up(missions);
    first.child.kill('SIGKILL');
    await first.ended;
    expect(existsSync(nodeFileOf(missions))).toBe(true);
    const second = await up(missions);
    const status = await lazarus(missions, 'status', '--json');
    expect(status.json()).toMatchObject({ node: { state: 'running', pid: second.child.pid } });
  });

  test('a second signal exits at once', async () => {
    const missions = missionsFolder();
    const cell = writeCell(missions, 'c', {
      tasks: [{ task_id: 't', steps: [slowStep('long', 20, 'safe')] }],
    });
    const node = await up(missions);
    await eventually(() => expect(existsSync(join(cell, 'artifacts/ran.txt'))).toBe(true));
    node.child.kill('SIGINT');
    await eventually(() => expect(node.out).toContain('draining'));
    node.child.kill('SIGINT');
    expect((await node.ended).code).toBe(130);
  });

  test('levels may be named as Python does, and an unknown one is a usage error', async () => {
    const missions = missionsFolder();
    const node = Running.of(missions, 'up', '--log-level', 'WARNING');
    await isUp(missions, node);
    node.child.kill('SIGTERM');
    expect(await node.ended).toMatchObject({ code: 0, out: '' });
    expect(await lazarus(missions, 'up', '--log-level', 'LOUD')).toMatchObject({ code: 2 });
  });

  test('a folder that cannot be made is a usage error that names it', async () => {
    const missions = missionsFolder();
    writeFileSync(join(missions, 'file'), '');
    const { code, err } = await lazarus(join(missions, 'file/below'), 'up');
    expect(code).toBe(2);
    expect(err).toContain(join(missions, 'file/below'));
  });
});

describe('its HTTP gateway', () => {
  test('answers where node.json says, and with --http off there is none', async () => {
    const missions = missionsFolder();
    const node = await up(missions);
    const { http } = readJson(nodeFileOf(missions)) as { http: string };
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }; // as curl -d sends it
    const body = '{"metadata": {"role": "lead"}}';
    const beat = await fetch(`${http}/heartbeat/agent_001`, { method: 'POST', headers, body });
    expect(await beat.json()).toMatchObject({ status: 'ok', agent_id: 'agent_001' });
    const health = (await (await fetch(`${http}/health`)).json()) as { total_agents: number };
    expect(health.total_agents).toBe(1);
    node.child.kill('SIGTERM');
    expect((await node.ended).code).toBe(0);
    const silent = Running.of(missions, 'up', '--http', 'off');
    await isUp(missions, silent);
    expect(readJson(nodeFileOf(missions))).toMatchObject({ http: null, http_token_file: null });
  });

  test('given a taken port that was asked for, then it ends with 1 and names it; given one that was not, a free one serves', async () => {
    const first = missionsFolder();
    await up(first);
    const { http } = readJson(nodeFileOf(first)) as { http: string };
    const second = missionsFolder();
    const address = http.replace('http://', '');
    const { code, err } = await lazarus(second, 'up', '--http', address);
    expect(code).toBe(1);
    expect(err).toContain(`${address} cannot be listened on`);
    expect(err).toContain('Try: Name another with --http HOST:PORT, or --http off.');
    expect(existsSync(nodeFileOf(second))).toBe(false);
    await up(second);
    expect(readJson(nodeFileOf(second))['http']).not.toBe(http);
  });
});

describe('launched by an older Node, which passes signals on by a channel', () => {
  test('a signal that comes both ways, as from a terminal, is one signal', async () => {
    const missions = missionsFolder();
    const node = await up(missions, Running.launched);
    node.child.kill('SIGINT');
    node.child.send({ signal: 'SIGINT' });
    expect((await node.ended).code).toBe(0);
  });

  test('a signal to the launcher alone drains, and two of them end it at once', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c', { tasks: [{ task_id: 't', steps: [slowStep('long', 20, 'safe')] }] });
    const node = await up(missions, Running.launched);
    await eventually(() => expect(existsSync(join(missions, 'c/artifacts/ran.txt'))).toBe(true));
    node.child.send({ signal: 'SIGTERM' });
    await eventually(() => expect(node.out).toContain('draining'));
    node.child.send({ signal: 'SIGTERM' });
    expect((await node.ended).code).toBe(143);
  });

  test('when the launcher is killed, so is the node', async () => {
    const missions = missionsFolder();
    const node = await up(missions, Running.launched);
    const exit = once(node.child, 'exit');
    node.child.disconnect();
    expect(await exit).toEqual([null, 'SIGKILL']);
  });
});
