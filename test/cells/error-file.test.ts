import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { ErrorFiles, errorText } from '../../cells/error-file.ts';
import { scanCell } from '../../cells/load.ts';
import { makeCell, put, temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';

const PATH = 'tasks/task_001.json';
const PROBLEM = {
  path: PATH,
  problems: [{ pointer: '/status', line: 4, message: 'status is wrong', fix: 'Write "pending".' }],
};

function errorFiles(quietMs: number): ErrorFiles {
  const files = new ErrorFiles({ quietMs });
  onTestFinished(async () => files.stop());
  return files;
}

test('a bad file gets a neighbour that says what, where and how, which goes when it is mended', async () => {
  const cell = makeCell(temporaryFolder(), 'c1');
  const files = errorFiles(20);
  files.report(cell, PROBLEM);
  const text = await eventually(() => readFileSync(join(cell, `${PATH}.error`), 'utf8'));
  expect(text).toContain('/status (line 4): status is wrong');
  expect(text).toContain('Write "pending".');
  files.clear(cell, PATH);
  expect(existsSync(join(cell, `${PATH}.error`))).toBe(false);
  expect(scanCell(cell).problems).toEqual([]);
});

test('nothing is written while the file keeps changing', async () => {
  const cell = makeCell(temporaryFolder(), 'c1');
  const error = join(cell, `${PATH}.error`);
  const quietMs = 300;
  const files = errorFiles(quietMs);
  put(cell, PATH, '{ half');
  files.report(cell, PROBLEM);
  let wasQuiet = false; // a busy machine may have slept too long
  for (let round = 0; round < 8; round += 1) {
    await sleep(75);
    wasQuiet ||= Date.now() - statSync(join(cell, PATH)).mtimeMs >= quietMs;
    if (!wasQuiet) expect(existsSync(error)).toBe(false);
    put(cell, PATH, `{ half of round ${round}`);
  }
  const { mtimeMs: changedAt } = statSync(join(cell, PATH));
  const { mtimeMs: writtenAt } = await eventually(() => statSync(error));
  if (writtenAt > changedAt) expect(writtenAt - changedAt).toBeGreaterThan(quietMs - 10);
});

test('nothing is written when the file is mended within the quiet time', async () => {
  const cell = makeCell(temporaryFolder(), 'c1');
  const files = errorFiles(50);
  files.report(cell, { ...PROBLEM, path: 'agents/agent_001.json' });
  files.clear(cell, 'agents/agent_001.json');
  files.report(cell, PROBLEM); // reported later: when its file stands there, the other's time is over too
  await eventually(() => expect(existsSync(join(cell, `${PATH}.error`))).toBe(true));
  expect(readdirSync(join(cell, 'agents'))).toEqual(['agent_001.json']);
});

test('given error files of an earlier run, a scan removes the stale ones and keeps what is not ours', async () => {
  const cell = makeCell(temporaryFolder(), 'c1');
  put(cell, `${PATH}.error`, errorText(PATH, PROBLEM.problems));
  put(cell, 'cell.json.error', errorText('cell.json', []));
  put(cell, 'agents/notes.error', 'my own notes');
  put(cell, PATH, 'still bad');
  const files = errorFiles(20);
  const scan = scanCell(cell);
  expect(scan.errorFiles).toEqual(['cell.json.error', 'agents/notes.error', `${PATH}.error`]);
  files.update(cell, scan.problems, scan.errorFiles);
  expect(existsSync(join(cell, 'cell.json.error'))).toBe(false);
  expect(existsSync(join(cell, 'agents/notes.error'))).toBe(true);
  await eventually(() =>
    expect(readFileSync(join(cell, `${PATH}.error`), 'utf8')).toContain('not JSON'),
  );
  rmSync(join(cell, PATH));
  const after = scanCell(cell);
  files.update(cell, after.problems, after.errorFiles);
  expect(existsSync(join(cell, `${PATH}.error`))).toBe(false);
});

test('a removed cell is not made again, and a link is not written through', async () => {
  const missions = temporaryFolder();
  const cell = makeCell(missions, 'c1');
  const warnings: unknown[] = [];
  const files = new ErrorFiles({ quietMs: 20, log: { warn: (fields) => warnings.push(fields) } });
  files.report(cell, PROBLEM);
  rmSync(cell, { recursive: true });
  const other = makeCell(missions, 'c2');
  mkdirSync(join(missions, 'outside'));
  rmSync(join(other, 'tasks'), { recursive: true });
  symlinkSync(join(missions, 'outside'), join(other, 'tasks'));
  const scan = scanCell(other);
  files.update(other, scan.problems, scan.errorFiles);
  files.report(other, PROBLEM);
  await eventually(() => expect(existsSync(join(other, 'tasks.error'))).toBe(true));
  await eventually(() => expect(warnings).toHaveLength(1));
  expect(warnings[0]).toMatchObject({ error: { code: 'PATH_ESCAPES_CELL' } });
  await files.stop();
  expect(existsSync(cell)).toBe(false);
  expect(readdirSync(join(missions, 'outside'))).toEqual([]);
});
