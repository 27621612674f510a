/** `lazarus demo` as a person runs it: a process, real folders, a real SIGKILL in the middle. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { pidAlive } from '../../actors/processes.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';
import { completeByHand, readObject } from '../support/example.ts';

const LAUNCHER = join(import.meta.dirname, '../../bin/lazarus');
const QUIET = '--disable-warning=ExperimentalWarning';

interface Running {
  child: ChildProcess;
  out(): string;
  err(): string;
  ended: Promise<number | null>;
}

function lazarus(...args: string[]): Running {
  const child = spawn(process.execPath, [QUIET, LAUNCHER, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LAZARUS_CONFIG: 'none', LAZARUS_LAUNCHED: '1' }, // this very process, not one that it would start
  });
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => void (said.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => void (said.err += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, out: () => said.out, err: () => said.err, ended };
}

/** Ended without draining, a node would leave its node.json and unclean cells. */
function expectCleanStop(missions: string): void {
  expect(existsSync(join(missions, '.lazarus/node.json'))).toBe(false);
  for (const name of readdirSync(missions)) {
    const owner = join(missions, name, '.lazarus/owner.json');
    if (existsSync(owner)) expect(readObject(owner)).toMatchObject({ clean: true });
  }
}

describe('lazarus demo', () => {
  test('completes a mission with a kill in the middle, verifies it, stops its node and exits 0', async () => {
    const demo = lazarus('demo', '--json');
    expect(await demo.ended, demo.err()).toBe(0);
    const result = JSON.parse(demo.out()) as Record<string, string>;
    const missions = result['missions'] ?? '';
    onTestFinished(() => rmSync(dirname(missions), { recursive: true, force: true }));
    expect(result).toMatchObject({
      verified: true,
      killed: { task_id: expect.stringMatching(/^write-/), step: 'draft' },
      revivals: [{ outcome: 'revived', cell_id: result['cell_id'] }],
    });
    expect(demo.err()).toMatch(/kill -9 \d+: the worker of writer-\d, in the middle of write-/);
    expect(demo.err()).toMatch(/Lazarus revived writer-\d in \d+ ms/);
    expectCleanStop(missions);
  }, 120_000);

  test('interrupted, drains its node and exits 1: nothing was verified', async () => {
    const missions = temporaryFolder();
    const demo = lazarus('demo', '--missions', missions);
    await eventually(() => expect(demo.out()).toContain('task collect: in progress'), {
      timeoutMs: 20_000,
    });
    demo.child.kill('SIGINT');
    expect(await demo.ended).toBe(1);
    expect(demo.out()).toContain('interrupted by SIGINT: stopping the node');
    expectCleanStop(missions);
  }, 60_000);

  test('killed without a word, takes its node along', async () => {
    const missions = temporaryFolder();
    const demo = lazarus('demo', '--missions', missions);
    const pid = await eventually(() => readObject(join(missions, '.lazarus/node.json'))['pid'], {
      timeoutMs: 20_000,
    });
    demo.child.kill('SIGKILL');
    await demo.ended;
    await eventually(() => expect(pidAlive(pid as number, null)).toBe(false));
  }, 60_000);
});

describe('lazarus demo --stay', () => {
  test('on a folder that holds missions runs those, adds nothing, and stops when told to', async () => {
    const missions = temporaryFolder();
    completeByHand(missions, 'mine');
    const demo = lazarus('demo', '--stay', '--missions', missions);
    await eventually(() => expect(demo.out()).toContain('Ctrl-C stops it'), { timeoutMs: 20_000 });
    expect(demo.out()).toContain('it holds missions already');
    put(missions, 'second.json', {
      cell_id: 'second',
      mission_name: 'Second',
      agents: [],
      tasks: [],
    });
    await eventually(() => expect(demo.out()).toContain('mission "Second"'), { timeoutMs: 10_000 });
    demo.child.kill('SIGTERM');
    expect(await demo.ended).toBe(0);
    expectCleanStop(missions);
    const cells = readdirSync(missions).filter((name) => existsSync(join(missions, name, 'tasks')));
    expect(cells.filter((name) => !name.startsWith('00000000')).sort()).toEqual(['mine', 'second']);
  }, 60_000);

  test('where another node runs, says so with its pid and exits 1', async () => {
    const missions = temporaryFolder();
    const up = lazarus('up', '--missions', missions);
    await eventually(() => readObject(join(missions, '.lazarus/node.json')), { timeoutMs: 20_000 });
    const demo = lazarus('demo', '--missions', missions);
    expect(await demo.ended).toBe(1);
    expect(demo.err()).toMatch(new RegExp(`Error: [^]*\\b${up.child.pid}\\b`));
    expect(readdirSync(missions).filter((name) => !name.startsWith('.'))).toHaveLength(1); // the system cell
  }, 60_000);
});
