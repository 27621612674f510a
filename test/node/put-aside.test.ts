/** A mission that goes away and comes back, again and again: what it leaves each time is bounded, and fsck tells of it. */
import { cpSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { fsck } from '../../actors/fsck/fsck.ts';
import type { JsonObject } from '../../machines/json.ts';
import { mission, startNode, step, task, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

async function goAndReturn(at: TestNode): Promise<JsonObject> {
  const away = join(temporaryMissions(), 'away');
  await runVerb(at.node, 'cell.export', { cell: 'c', to: away });
  return (await runVerb(at.node, 'cell.import', { path: away })) as JsonObject;
}

const asides = (at: TestNode): string[] =>
  readdirSync(at.missions)
    .filter((name) => name.includes('.left-'))
    .toSorted();

async function ready(): Promise<TestNode> {
  const at = await startNode();
  at.drop(mission('c', [task('t', [step('a')])], { success_criteria: [{ name: 'a person' }] }));
  await at.taskIs('c', 't', 'completed');
  return at;
}

test('given a mission that came back four times, then the newest two of what it left are here, and the answer said which went', async () => {
  const at = await ready();
  expect((await goAndReturn(at))['notes']).toContain(
    'What it had left here before was put aside as .c.left-1.',
  );
  await goAndReturn(at);
  expect(asides(at)).toEqual(['.c.left-1', '.c.left-2']);
  expect((await goAndReturn(at))['notes']).toContain(
    'Only the newest 2 of these are kept; removed: .c.left-1.',
  );
  await goAndReturn(at);
  expect(asides(at)).toEqual(['.c.left-3', '.c.left-4']);
  expect(at.counts('c')).toEqual({ 't/a': 1 });
  await at.stop();
  const report = await fsck({ missionsDir: at.missions, repair: true });
  expect(report.findings.filter(({ code }) => code.startsWith('aside'))).toMatchObject([
    { code: 'aside', severity: 'note', cell_id: 'c', repaired: null },
    { code: 'aside', severity: 'note', cell_id: 'c', repaired: null },
  ]);
  expect(report.clean).toBe(true);
});

test('given more than two, left by an earlier build and one of them changed by hand, then fsck names them, and a repair removes the one that is surely of no use', async () => {
  const at = await ready();
  await goAndReturn(at);
  await goAndReturn(at);
  await at.stop();
  const put = (name: string): string => join(at.missions, name);
  for (const [from, to] of [
    ['.c.left-2', '.c.left-7'],
    ['.c.left-1', '.c.left-6'],
  ] as const)
    renameSync(put(from), put(to));
  cpSync(put('.c.left-6'), put('.c.left-1'), { recursive: true });
  mkdirSync(put('.c.left-2/notes'), { recursive: true });
  mkdirSync(put('.c.left-3.going/agents'), { recursive: true });
  const report = await fsck({ missionsDir: at.missions });
  const about = report.findings.filter(({ code }) => code.startsWith('aside'));
  const told = about.map(({ code, where }) => `${code} ${basename(where)}`);
  expect(told.toSorted()).toEqual([
    'aside .c.left-6',
    'aside .c.left-7',
    'aside-beyond .c.left-1',
    'aside-beyond .c.left-2',
    'aside-unfinished .c.left-3.going',
  ]);
  const repaired = await fsck({ missionsDir: at.missions, repair: true });
  const still = repaired.findings.filter(
    ({ code, repaired: done }) => code.startsWith('aside') && done === null,
  );
  expect(still.map(({ where }) => basename(where)).toSorted()).toEqual([
    '.c.left-2',
    '.c.left-6',
    '.c.left-7',
  ]);
  expect(still.find(({ code }) => code === 'aside-beyond')?.means).toContain(
    'does not say that it was exported',
  );
  expect(asides(at)).toEqual(['.c.left-2', '.c.left-6', '.c.left-7']);
  expect(readdirSync(at.missions)).toContain('c');
});
