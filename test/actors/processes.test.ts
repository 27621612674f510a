import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { findMarked } from '../../actors/marks.ts';
import { hasProc, ownLine, readEnvironment, readStat } from '../../actors/proc-fs.ts';
import {
  cpuTicksOf,
  endGroup,
  endLeftovers,
  killGroups,
  pidAlive,
  startTimeOf,
  sweepByMark,
  treeMeans,
  underSetpriv,
} from '../../actors/processes.ts';
import { eventually } from '../support/eventually.ts';
import { makeCell, pidIn, pidsMarked } from '../support/steps.ts';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function start(script: string, env: Record<string, string> = {}): ChildProcess & { pid: number } {
  const child = spawn('bash', ['-c', script], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: process.env['PATH'], ...env },
  });
  children.push(child);
  return Object.assign(child, { pid: child.pid ?? 0 });
}
/** Waits until bash has become sleep: in between a process shows no environment. */
const asleep = (...started: { pid: number }[]): Promise<void> =>
  eventually(() => {
    for (const { pid } of started)
      expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n');
    for (const { pid } of started) expect(readEnvironment(pid)?.length).toBeGreaterThan(0);
  });
const node = (): string => `test-${crypto.randomUUID()}`;

describe('sweep', () => {
  test('ends exactly the processes that carry the whole mark', async () => {
    const id = node();
    const meant = start('sleep 60', { LAZARUS_NODE: id, LAZARUS_AGENT: 'a' });
    const other = start('sleep 60', { LAZARUS_NODE: id, LAZARUS_AGENT: 'ab' });
    const half = start('sleep 60', { LAZARUS_NODE: id });
    await asleep(meant, other, half);
    const result = await sweepByMark({ LAZARUS_NODE: id, LAZARUS_AGENT: 'a' });
    expect(result).toEqual({ supported: true, ended: 1, pids: [meant.pid], remaining: [] });
    expect(new Set(pidsMarked('LAZARUS_NODE', id))).toEqual(new Set([other.pid, half.pid]));
  });

  test('finds nobody when nobody is there, and refuses to sweep without a mark', async () => {
    expect(await endLeftovers(node())).toMatchObject({ ended: 0, pids: [], remaining: [] });
    await expect(sweepByMark({})).rejects.toThrow(/every process/);
    await expect(sweepByMark({ LAZARUS_NODE: '' })).rejects.toThrow(/LAZARUS_NODE/);
  });

  test('spares whom it is told to', async () => {
    const id = node();
    const spared = start('exec sleep 60', { LAZARUS_NODE: id });
    await asleep(spared);
    expect(await endLeftovers(id, { spare: new Set([spared.pid]) })).toMatchObject({ ended: 0 });
    expect(pidAlive(spared.pid, null)).toBe(true);
  });

  test('never touches itself or what stands above it, whatever they carry', async () => {
    // The script's own line is bash -> node; both carry the mark, and node sweeps for it.
    const id = node();
    const source = `
      import { sweepByMark } from ${JSON.stringify(import.meta.resolve('../../actors/processes.ts'))};
      const result = await sweepByMark({ LAZARUS_NODE: ${JSON.stringify(id)} });
      console.log(JSON.stringify(result));`;
    const child = spawn(
      'bash',
      [
        '-c',
        'sleep 60 & "$0" --input-type=module -e "$1"; echo "bash lives"',
        process.execPath,
        source,
      ],
      {
        env: { PATH: process.env['PATH'], LAZARUS_NODE: id },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    children.push(child);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    await once(child, 'close');
    expect(text).toMatch(/"ended":1,.*\nbash lives\n$/s);
  });

  test('ends workers before the steps they watch (S2)', async () => {
    const id = node();
    const steps = [1, 2, 3].map(() =>
      start('exec sleep 60', { LAZARUS_NODE: id, LAZARUS_KEY: 'k' }),
    );
    const worker = start('exec sleep 60', { LAZARUS_NODE: id });
    await asleep(worker, ...steps);
    const result = await endLeftovers(id);
    if (!result.supported) throw new Error('this host has no /proc');
    expect(result.pids[0]).toBe(worker.pid);
    expect(new Set(result.pids.slice(1))).toEqual(new Set(steps.map(({ pid }) => pid)));
  });

  test('catches one that is forever between two programs, where it shows no environment (S3)', async () => {
    const id = node();
    const again = 'export SELF="$SELF"; exec bash -c "$SELF"';
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    for (const LAZARUS_KEY of keys) {
      const child = start(again, { SELF: again, LAZARUS_NODE: id, LAZARUS_KEY });
      await eventually(() => expect(pidsMarked('LAZARUS_KEY', LAZARUS_KEY)).toContain(child.pid));
      await sweepByMark({ LAZARUS_NODE: id, LAZARUS_KEY });
      expect(pidAlive(child.pid, null)).toBe(false);
    }
  });

  test('given one that takes its time to die, then it has ended when the sweep is over (S3)', async () => {
    const id = node();
    const source = `Buffer.alloc(400 << 20, 1); console.log('large'); setInterval(() => {}, 60_000);`;
    const child = spawn(process.execPath, ['-e', `globalThis.kept = ${source}`], {
      env: { LAZARUS_NODE: id },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    await once(child.stdout, 'data');
    expect(await endLeftovers(id)).toMatchObject({ ended: 1, pids: [child.pid], remaining: [] });
    expect(pidAlive(child.pid ?? 0, null)).toBe(false);
  });

  test('is not held up by a process that has no environment at all', async () => {
    const child = spawn('sleep', ['60'], { env: {}, stdio: 'ignore' });
    children.push(child);
    await eventually(() => expect(readStat(child.pid ?? 0)?.environment.end).toBeGreaterThan(0));
    expect(readEnvironment(child.pid ?? 0)?.length).toBe(0);
    expect(await endLeftovers(node())).toMatchObject({ ended: 0, remaining: [] });
    expect(pidAlive(child.pid ?? 0, null)).toBe(true);
  });

  test('reads environments larger than one chunk to their end', async () => {
    const id = node();
    const filler = Object.fromEntries('abcdefghij'.split('').map((c) => [c, c.repeat(20_000)]));
    const child = start('exec sleep 60', { ...filler, LAZARUS_NODE: id });
    await asleep(child);
    expect(readEnvironment(child.pid)?.length).toBeGreaterThan(200_000);
    expect(await endLeftovers(id)).toMatchObject({ ended: 1 });
  });
});

describe('marks', () => {
  test('searches of one turn are answered by one pass, each with its own processes', async () => {
    const ids = Array.from({ length: 20 }, node);
    const started = ids.map((id) => start('exec sleep 60', { LAZARUS_NODE: id }));
    await asleep(...started);
    const found = await Promise.all(ids.map((id) => findMarked([{ LAZARUS_NODE: id }])));
    expect(found.map(({ pids }) => pids)).toEqual(started.map(({ pid }) => [pid]));
  });

  test('a sweep by several marks ends who carries any of them', async () => {
    const [one, two] = [node(), node()];
    const started = [one, two].map((id) => start('exec sleep 60', { LAZARUS_NODE: id }));
    const other = start('exec sleep 60', { LAZARUS_NODE: node() });
    await asleep(...started, other);
    const marks = [{ LAZARUS_NODE: one, LAZARUS_KEY: 'none' }, { LAZARUS_NODE: two }];
    expect(await sweepByMark(marks)).toMatchObject({ pids: [started[1]?.pid], remaining: [] });
    expect(pidAlive(started[0]?.pid ?? 0, null)).toBe(true);
    expect(pidAlive(other.pid, null)).toBe(true);
  });

  test('CPU time is that of everybody with the mark', async () => {
    const id = node();
    start('while :; do :; done', { LAZARUS_NODE: id });
    const first = await eventually(async () => {
      const ticks = await cpuTicksOf({ LAZARUS_NODE: id });
      expect(ticks).toBeGreaterThan(0);
      return ticks ?? 0;
    });
    await eventually(async () =>
      expect(await cpuTicksOf({ LAZARUS_NODE: id })).toBeGreaterThan(first),
    );
    expect(await cpuTicksOf({ LAZARUS_NODE: node() })).toBe(0);
  });

  test('the status can say how trees are ended here', () => {
    expect(treeMeans(null)).toBe(hasProc ? 'environment sweep' : 'process group only');
  });
});

describe('groups', () => {
  test('killed groups have ended when the promise resolves', async () => {
    const started = [1, 2, 3].map(() => start('exec sleep 60'));
    await asleep(...started);
    await killGroups(started.map(({ pid }) => pid));
    for (const { pid } of started) await eventually(() => expect(pidAlive(pid, null)).toBe(false));
  });

  test('a group is ended by SIGTERM when it listens', async () => {
    const cell = makeCell();
    const child = start(`trap 'echo $$ > ${cell.dir}/asked; exit' TERM; sleep 60 & wait`);
    await eventually(() => expect(readStat(child.pid)?.state).toBe('S'));
    expect(await endGroup(child.pid)).toBe(true);
    expect(pidIn(cell, 'asked')).toBe(child.pid);
    cell.remove();
  });

  test('and by SIGKILL when it does not, or is stopped', async () => {
    const deaf = start('trap "" TERM; sleep 60');
    const stopped = start('kill -STOP $$');
    await eventually(() => expect(readStat(stopped.pid)?.state).toBe('T'));
    expect(await endGroup(deaf.pid, { graceMs: 50 })).toBe(true);
    expect(await endGroup(stopped.pid, { graceMs: 50 })).toBe(true);
  });

  test('one that is gone already is ended', async () => {
    const child = start('exit 0');
    await once(child, 'exit');
    expect(await endGroup(child.pid)).toBe(true);
  });

  test.each([-1, 0, 1, Number.NaN])('%i is never taken for a group', async (group) => {
    await expect(endGroup(group)).rejects.toThrow(/not a process group/);
  });
});

describe('identity', () => {
  test('a pid is believed only with its start time (S4)', async () => {
    const child = start('sleep 60');
    const startTime = startTimeOf(child.pid);
    expect(pidAlive(child.pid, startTime)).toBe(true);
    expect(pidAlive(child.pid, (startTime ?? 0) + 1)).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(pidAlive(child.pid, startTime)).toBe(false);
    expect(startTimeOf(child.pid)).toBeNull();
  });

  test('our own line leads to init', () => {
    expect([...ownLine()]).toContain(process.ppid);
    expect([...ownLine()].at(0)).toBe(process.pid);
  });
});

test('setpriv, where it is, keeps the argv as it is', () => {
  const argv = underSetpriv(['echo', '--', '-x'], ['--pdeathsig', 'KILL']);
  const wrapper = argv.length > 3 ? ['--pdeathsig', 'KILL', '--'] : [];
  expect(argv.slice(argv.length > 3 ? 1 : 0)).toEqual([...wrapper, 'echo', '--', '-x']);
});
