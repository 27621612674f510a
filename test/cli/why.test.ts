/** `lazarus why` and `lazarus fsck` as a person runs them, with a node up, without one, and on a copy of the folder. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cellIs, lazarus, missionsFolder, slowStep } from '../support/cli.ts';
import { statusAt, up, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

interface Why {
  answer: string;
  running: boolean;
  policies: { name: string; origin: string; line: number | null }[];
  needs: { command: string }[];
  history: {
    records: {
      type: string;
      address: string;
      seq: number;
      origin: string | null;
      place: { file: string; record: number; offset: number; length: number };
    }[];
  };
}

const why = async (missions: string, ...words: string[]): Promise<Why> =>
  (await lazarus(missions, 'why', ...words, '--json')).json() as unknown as Why;

/** A step that is never repeated is cut off: its worker is killed, the node goes on. */
async function withLostAgent(): Promise<{
  missions: string;
  pid: number;
  kill: () => Promise<void>;
}> {
  const missions = missionsFolder();
  writeCell(missions, 'c', {
    tasks: [
      { task_id: 't', steps: [slowStep('send', 30, 'never')] },
      { task_id: 'later', dependencies: ['t'], steps: [slowStep('x', 0, 'safe')] },
    ],
  });
  const node = await up(missions);
  const pid = await eventually(
    async () => {
      const { cells } = await statusAt<{
        cells: { agents: { pid: number | null }[]; tasks: { current_step: string | null }[] }[];
      }>(missions);
      expect(cells[0]?.tasks.some(({ current_step: step }) => step === 'send')).toBe(true);
      const worker = cells[0]?.agents[0]?.pid;
      expect(worker).toEqual(expect.any(Number));
      return worker as number;
    },
    { timeoutMs: 15_000 },
  );
  await eventually(() => readFileSync(join(missions, 'c/artifacts/ran.txt'), 'utf8'));
  process.kill(pid, 'SIGKILL');
  await eventually(
    async () => expect(await statusAt(missions)).toMatchObject({ in_doubt: [{ task_id: 't' }] }),
    { timeoutMs: 15_000 },
  );
  expect((await why(missions, 'c/t')).answer).toContain('in doubt');
  const kill = async (): Promise<void> => {
    node.child.kill('SIGKILL');
    await node.ended;
  };
  return { missions, pid, kill };
}

describe('why', () => {
  test('with a node up: the answer, the policy with its file and line, the commands, and records that can be looked up', async () => {
    const { missions, kill } = await withLostAgent();
    const told = await why(missions, 'worker');
    expect(told.answer).toMatch(/^Agent worker failed: the worker was ended by SIGKILL/);
    const policy = told.policies.find(({ name }) => name === 'auto_revive');
    const text = readFileSync(join(missions, 'c/cell.json'), 'utf8').split('\n');
    expect(text[(policy?.line ?? 0) - 1]).toContain('auto_revive');
    const exit = told.history.records.find(({ type }) => type === 'xstate.done.actor.worker');
    expect(exit?.origin).toBe('worker');
    const { file, record, offset, length } = exit?.place ?? {
      file: '',
      record: 0,
      offset: 0,
      length: 0,
    };
    const bytes = readFileSync(file).subarray(offset, offset + length);
    expect(JSON.parse(bytes.toString('utf8'))).toMatchObject({ a: exit?.address, n: exit?.seq });
    const shown = await lazarus(missions, 'why', `${file}:${record}`);
    expect(shown.out).toContain('"signal": "SIGKILL"');
    expect(shown.out).toContain('agent.failed');
    const lines = (await lazarus(missions, 'why', 'c/later')).out;
    expect(lines).toContain('At the root of it: task t is in_progress');
    expect(lines).toContain('lazarus doubt done|retry|fail c/t');
    expect(lines).toContain(`${file}:`);
    await kill();
    const down = await why(missions, 'worker');
    expect(down).toMatchObject({ running: false, answer: told.answer });
    expect(down.history.records.map(({ type }) => type)).toEqual(
      told.history.records.map(({ type }) => type),
    );
  });

  test('on a copy that was taken while the node ran: the copy answers, not the node of the original', async () => {
    const { missions } = await withLostAgent();
    const copy = join(dirname(missions), 'copy');
    cpSync(missions, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') });
    expect(await why(missions, 'c/t')).toMatchObject({ running: true });
    const told = await why(copy, 'c/t');
    expect(told).toMatchObject({ running: false });
    expect(told.history.records[0]?.place.file.startsWith(copy)).toBe(true);
    const checked = await lazarus(copy, 'fsck', '--json');
    expect(checked.json()).toMatchObject({ running: false });
    expect((await lazarus(missions, 'fsck', '--json')).json()).toMatchObject({
      running: true,
      clean: true,
    });
  });

  test('what is not there, or can mean two things, is an error with the next thing to try', async () => {
    const missions = missionsFolder();
    for (const id of ['one', 'two']) writeCell(missions, id, { tasks: [{ task_id: 't' }] });
    const nothing = await lazarus(missions, 'why', 'nothing');
    expect(nothing).toMatchObject({ code: 1, out: '' });
    expect(nothing.err).toMatch(/^Error: nothing is called nothing\nTry: /);
    const two = await lazarus(missions, 'why', 't');
    expect(two.code).toBe(2);
    expect(two.err).toContain('cell/one/task/t, cell/two/task/t');
    expect((await lazarus(missions, 'why', 'cell/one/task/t')).code).toBe(0);
    expect((await lazarus(missions, 'why', 'one', '--limit', 'x')).code).toBe(2);
    expect((await lazarus(missions, 'why', `${missions}/no.wal:3`)).code).toBe(1);
  });
});

describe('fsck', () => {
  test('exit 0 for a clean folder, 1 with findings, 2 for a usage that is none; --repair mends and says so', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c', { tasks: [{ task_id: 't', steps: [slowStep('x', 0, 'safe')] }] });
    const node = await up(missions);
    await cellIs(missions, 'c', 'completed');
    const refused = await lazarus(missions, 'fsck', '--repair');
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('another node runs');
    node.child.kill('SIGTERM');
    await node.ended;
    const clean = await lazarus(missions, 'fsck');
    expect(clean, clean.out).toMatchObject({ code: 0, err: '' });
    expect(clean.out).toContain('0 errors, 0 warnings');
    writeFileSync(join(missions, '.lazarus/node.json'), '{"pid": 1}', { mode: 0o644 });
    const found = await lazarus(missions, 'fsck', '--json');
    expect(found.code).toBe(1);
    expect(found.json()).toMatchObject({
      clean: false,
      findings: [{ code: 'secret-open' }, { code: 'node-left' }],
    });
    const mended = await lazarus(missions, 'fsck', '--repair');
    expect(mended.code).toBe(0);
    expect(mended.out).toContain('repaired: removed');
    expect((await lazarus(missions, 'fsck', 'c')).code).toBe(0);
    expect((await lazarus(missions, 'fsck', 'nobody')).code).toBe(1);
    expect((await lazarus(missions, 'fsck', '--nonsense')).code).toBe(2);
  });
});
