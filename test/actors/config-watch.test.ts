/** A configuration that changes under a running node: real files, edited as editors and people do. */
import { readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigWatch, stateOf } from '../../actors/config-watch.ts';
import { loadConfig } from '../../cells/daemon-config.ts';
import { toPlainError } from '../../machines/errors.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';

/** `named`: somebody asked for this file, so it has to be there. */
async function follow(
  text: string | null,
  { named = true, afterLoad = (_file: string): void => undefined } = {},
) {
  const file = join(temporaryFolder(), 'config.json');
  if (text !== null) writeFileSync(file, text);
  const timeouts: number[] = [];
  const problems: string[] = [];
  let loads = 0;
  const place = { file, named: named ? ('--config' as const) : null };
  const watch = ConfigWatch.start(
    {
      file,
      intervalMs: 10,
      load: () => {
        loads += 1;
        return loadConfig(place, {}).finally(() => afterLoad(file));
      },
      onChange: ({ values }) => void timeouts.push(values.timeout),
      onProblem: (error) => void problems.push(toPlainError(error).message),
    },
    await stateOf(file),
  );
  onTestFinished(() => watch.stop());
  return { file, timeouts, problems, watch, loads: () => loads };
}

test('given an edit in place, by rename or by a turned link, then the new one is told once', async () => {
  const { file, timeouts } = await follow('{"timeout": 1}');
  writeFileSync(file, '{"timeout": 2}');
  await eventually(() => expect(timeouts).toEqual([2]));
  writeFileSync(`${file}~`, '{"timeout": 3}');
  renameSync(`${file}~`, file);
  await eventually(() => expect(timeouts).toEqual([2, 3]));
  writeFileSync(`${file}.4`, '{"timeout": 4}');
  symlinkSync(`${file}.4`, `${file}.link`);
  renameSync(`${file}.link`, file);
  await eventually(() => expect(timeouts).toEqual([2, 3, 4]));
  writeFileSync(`${file}.4`, '{"timeout": 5}'); // behind the link
  await eventually(() => expect(timeouts).toEqual([2, 3, 4, 5]));
});

test('given one that is no good, then it is told once, and the next good one is taken', async () => {
  const { file, timeouts, problems } = await follow('{"timeout": 1}');
  writeFileSync(file, '{"timeout": "x", "tiemout": 3}');
  await eventually(() => expect(problems).toHaveLength(1));
  expect(problems[0]).toMatch(/2 problems[^]*Did you mean "timeout"[^]*must be a number/);
  writeFileSync(file, '{"timeout": 2}');
  await eventually(() => expect(timeouts).toEqual([2]));
  expect(problems).toHaveLength(1);
});

test('given half of it is written at a look, then nothing is said: it is whole at the next (W1)', async () => {
  const half = '{"timeo';
  const { file, timeouts, problems, loads } = await follow('{"timeout": 1}', {
    afterLoad: (path) => {
      if (readFileSync(path, 'utf8') === half) writeFileSync(path, '{"timeout": 2}');
    },
  });
  writeFileSync(file, half);
  await eventually(() => expect(timeouts).toEqual([2]));
  expect(loads()).toBe(2);
  expect(problems).toEqual([]);
});

test('given it is removed: one that was named is missed, else the defaults hold', async () => {
  const named = await follow('{"timeout": 1}');
  const free = await follow('{"timeout": 1}', { named: false });
  rmSync(named.file);
  rmSync(free.file);
  await eventually(() => expect(named.problems[0]).toMatch(/there is no configuration/));
  await eventually(() => expect(free.timeouts).toEqual([300]));
  expect(named.timeouts).toEqual([]);
});

test('given it comes only later, then it is taken', async () => {
  const { file, timeouts } = await follow(null, { named: false });
  writeFileSync(file, '{"timeout": 2}');
  await eventually(() => expect(timeouts).toEqual([2]));
});

test('given it changed between the reading at start and the first look, then it is noticed', async () => {
  const file = join(temporaryFolder(), 'config.json');
  writeFileSync(file, '{"timeout": 1}');
  const seen = await stateOf(file);
  const place = { file, named: null };
  const timeouts: number[] = [];
  writeFileSync(file, '{"timeout": 2}');
  const watch = ConfigWatch.start(
    {
      file,
      intervalMs: 10,
      load: () => loadConfig(place, {}),
      onChange: ({ values }) => void timeouts.push(values.timeout),
      onProblem: (error) => {
        throw error;
      },
    },
    seen,
  );
  onTestFinished(() => watch.stop());
  await eventually(() => expect(timeouts).toEqual([2]));
});
