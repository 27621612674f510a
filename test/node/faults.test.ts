/** What is wrong with one cell's files or folder stays in that cell: the others work, the node stays up and stops cleanly. */
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const CONTENTS: [string, string | Buffer][] = [
  ['garbage', Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256))],
  ['cut off in the middle', '{"task_id": "t", "title": "Half a'],
  ['empty', ''],
  ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
  ['deeply nested', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
  ['huge', `{"task_id": "t", "title": "${'x'.repeat(8 << 20)}"}`],
  ['the same field twice', '{"task_id": "t", "title": "a", "title": "b"}'],
  ['of another kind', '[1, 2, 3]'],
];

/** A cell at work, whose step waits at the gate `g`. */
async function atWork(at: TestNode, id: string): Promise<void> {
  at.drop(mission(id, [task('t', [step('wait', gate('g'))])]));
  await at.waitsAt(id, 'g');
  await at.fileSays(id, 'tasks/t.json', { status: 'in_progress' });
}

async function othersGoOn(at: TestNode): Promise<void> {
  at.drop(mission('other', [task('t', [step('one')])]));
  await at.cellIs('other', 'completed');
}

describe('a file of a running cell that becomes', () => {
  test.each(CONTENTS)('%s is told, changes nothing, and stays in its cell', async (_, content) => {
    const at = await startNode();
    await atWork(at, 'c');
    for (const path of ['cell.json', 'agents/lead.json', 'tasks/t.json'])
      writeFileSync(at.path('c', path), content);
    for (const path of ['cell.json', 'agents/lead.json', 'tasks/t.json'])
      await eventually(() => expect(at.exists('c', `${path}.error`)).toBe(true));
    await othersGoOn(at);
    at.open('c', 'g');
    await eventually(() => expect(at.cell('c').status).toBe('completed'));
    expect(at.counts('c')).toEqual({ 't/wait': 1 });
  });

  test('a folder, or a link out of the cell, is told and stays in its cell', async () => {
    const at = await startNode();
    await atWork(at, 'c');
    rmSync(at.path('c', 'tasks/t.json'));
    symlinkSync('/etc/passwd', at.path('c', 'tasks/t.json'));
    mkdirSync(at.path('c', 'tasks/u.json'));
    await eventually(() => expect(at.exists('c', 'tasks/t.json.error')).toBe(true));
    await othersGoOn(at);
    at.open('c', 'g');
    await eventually(() => expect(at.cell('c').status).toBe('completed'));
  });
});

describe('a second folder with a known cell_id', () => {
  test('is refused with the reason, and the known one runs on', async () => {
    const at = await startNode();
    await atWork(at, 'c');
    cpSync(at.path('c'), join(at.missions, 'copy'), { recursive: true });
    await eventually(() => expect(at.text('copy', 'cell.json.error')).toContain('already running'));
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/wait': 1 });
    await othersGoOn(at);
  });
});

describe('a folder that is removed while its cell works', () => {
  test.each(['none', 'level_1'])('ends its work (%s); upkeep and a stop go on', async (level) => {
    const at = await startNode({ kernel: { segmentBytes: 8192 } });
    const waits = [task('t', [step('wait', gate('g'))])];
    at.drop(mission('c', waits, { isolation_level: level }));
    await at.waitsAt('c', 'g');
    rmSync(at.path('c'), { recursive: true, force: true });
    await eventually(() => expect(at.node.status().cells).toEqual([]));
    await othersGoOn(at);
    await at.node.kernel.compact();
    const before = at.node.kernel.journalBytes();
    await at.restart();
    expect(at.exists('c', '')).toBe(false);
    expect(at.cell('other').status).toBe('completed');
    expect(at.node.kernel.journalBytes()).toBeLessThan(before);
  });
});

describe('our own files of a cell, damaged while no node runs', () => {
  test.each([
    ['checkpoints/_cell/state.json', 'c'],
    ['checkpoints/lead/state.json', 'c'],
    ['.lazarus/owner.json', 'c'],
  ])('%s: only that cell may be held', async (path, id) => {
    const at = await startNode();
    at.drop(mission(id, [task('t', [step('one')])]));
    at.drop(
      mission('other', [task('t', [step('one')]), task('late', [], { dependencies: ['t'] })]),
    );
    await at.cellIs(id, 'completed');
    await at.taskIs('other', 't', 'completed');
    await at.restart({}, () => writeFileSync(at.path(id, path), 'garbage'));
    at.write('other', 'tasks/more.json', task('more', [step('two')]));
    await at.taskIs('other', 'more', 'completed');
    expect(at.counts('other')).toEqual({ 't/one': 1, 'more/two': 1 });
    expect(at.counts(id)).toEqual({ 't/one': 1 });
    const said = JSON.stringify(at.node.status().held);
    const goesOn = at.node.status().cells.find((cell) => cell.cell_id === id);
    expect(goesOn?.status === 'completed' || said.includes(id)).toBe(true);
  });

  test('a lost node index costs time and nothing else', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('one')])]));
    await at.cellIs('c', 'completed');
    await at.restart({}, () => writeFileSync(at.node.layout.index, 'garbage'));
    await at.cellIs('c', 'completed');
    at.write('c', 'tasks/more.json', task('more', [step('two')]));
    await at.taskIs('c', 'more', 'completed');
    expect(at.counts('c')).toEqual({ 't/one': 1, 'more/two': 1 });
  });

  test('an epoch that cannot be read refuses the start with the way out, and takes nothing for empty', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('one')])]));
    await at.cellIs('c', 'completed');
    await at.stop();
    const { epoch } = at.node.layout;
    writeFileSync(epoch, 'garbage');
    await expect(at.restart()).rejects.toMatchObject({ code: 'FILE_INVALID' });
    writeFileSync(epoch, '1000\n');
    await at.restart();
    await at.cellIs('c', 'completed');
    expect(at.node.kernel.system.epoch).toBe(1001);
  });
});
