import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, test } from 'vitest';
import { acceptDrop, dropMark, finishDrop, removeUnfinished } from '../../cells/drop.ts';
import type { DropResult } from '../../cells/drop.ts';
import { scanCell } from '../../cells/load.ts';
import { scanMissions } from '../../cells/scan-missions.ts';
import { AGENT, TASK, makeCell, put, temporaryFolder } from '../support/cell-files.ts';

const DROP = {
  $schema: 'https://lazarus.dev/schemas/cell-drop.json',
  mission_name: 'Dropped',
  agents: [AGENT],
  tasks: { task_001: { title: 'Review' }, task_002: { ...TASK, task_id: 'task_002' } },
  config: { policies: { max_retries: 1 }, permissions: { agent_001: { read: ['task_001'] } } },
  note: 'kept',
};

function droppedIn(missions: string): string[] {
  return readdirSync(join(missions, '.lazarus/dropped'));
}

function cellOf(result: DropResult): string {
  if (result.outcome !== 'accepted') throw new Error(JSON.stringify(result));
  return result.folder;
}

test('a dropped file becomes a whole cell, and is kept', async () => {
  const missions = temporaryFolder();
  put(missions, 'new.json', DROP);
  const folder = cellOf(await acceptDrop(missions, 'new.json'));
  expect(folder).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const scan = scanCell(join(missions, folder));
  expect(scan.problems).toEqual([]);
  const contents = Object.fromEntries(scan.changes.map(({ path, content }) => [path, content]));
  expect(contents).toEqual({
    'cell.json': {
      cell_id: folder,
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      created_by: 'dropped-file',
      status: 'active',
      mission_name: 'Dropped',
      note: 'kept',
    },
    'config/policies.json': { max_retries: 1 },
    'config/permissions.json': { agent_001: { read: ['task_001'] } },
    'agents/agent_001.json': AGENT,
    'tasks/task_001.json': TASK,
    'tasks/task_002.json': { ...TASK, task_id: 'task_002' },
  });
  expect(readdirSync(missions).sort()).toEqual(['.lazarus', folder]);
  expect(droppedIn(missions)).toEqual(['new.json']);
  expect(readdirSync(join(missions, folder)).sort()).toEqual([
    '.lazarus',
    'agents',
    'artifacts',
    'cell.json',
    'checkpoints',
    'config',
    'logs',
    'tasks',
  ]);
});

test('what the file says of id, status, author and time stays, and a copy’s _rev does not', async () => {
  const missions = temporaryFolder();
  const said = {
    cell_id: 'my-cell',
    created_at: '2020-01-01T00:00:00Z',
    created_by: 'ann',
    status: 'paused',
  };
  put(missions, 'a.json', { mission_name: 'm', ...said, _rev: 9 });
  expect(cellOf(await acceptDrop(missions, 'a.json'))).toBe('my-cell');
  const [cell] = scanCell(join(missions, 'my-cell')).changes;
  expect(cell?.content).toEqual({ mission_name: 'm', ...said });
});

test('a file dropped again under the same name is kept beside the first', async () => {
  const missions = temporaryFolder();
  for (const cell_id of ['one', 'two', 'three']) {
    put(missions, 'a.json', { mission_name: 'm', cell_id });
    expect(cellOf(await acceptDrop(missions, 'a.json'))).toBe(cell_id);
  }
  expect(droppedIn(missions).sort()).toEqual(['a.2.json', 'a.3.json', 'a.json']);
});

describe('refused, with nothing made and the file left where it is', () => {
  async function refused(missions: string, options = {}): Promise<string> {
    const before = readdirSync(missions).sort();
    const result = await acceptDrop(missions, 'a.json', options);
    expect(readdirSync(missions).sort()).toEqual(before);
    if (result.outcome !== 'refused') throw new Error(JSON.stringify(result));
    return result.problems.map(({ pointer, message }) => `${pointer}: ${message}`).join('\n');
  }

  test('an id that is taken by a folder, or by a cell in another folder', async () => {
    const missions = temporaryFolder();
    makeCell(missions, 'taken');
    put(missions, 'a.json', { mission_name: 'm', cell_id: 'taken' });
    expect(await refused(missions)).toContain('/cell_id: there is a cell taken already');
    put(missions, 'a.json', { mission_name: 'm', cell_id: 'elsewhere' });
    const knownFolder = (): string => 'place';
    expect(await refused(missions, { knownFolder })).toContain('in the folder place');
  });

  test('the same content a second time, which would be the same cell', async () => {
    const missions = temporaryFolder();
    put(missions, 'a.json', DROP);
    const folder = cellOf(await acceptDrop(missions, 'a.json'));
    put(missions, 'a.json', DROP);
    expect(await refused(missions)).toContain(`there is a cell ${folder} already`);
  });

  it.each([
    ['half a file', '{"mission_name": "m", "agents": [', 'not JSON'],
    [
      'a bad task',
      { mission_name: 'm', tasks: [{ title: 'x' }] },
      "/tasks/0: in tasks[0], 'task_id'",
    ],
    [
      'a bad config',
      { mission_name: 'm', config: { isolation: { level: 'x' } } },
      '/config/isolation/level',
    ],
    [
      'a path for an id',
      { mission_name: 'm', agents: { '../x': { name: 'n', role: 'lead' } } },
      '/agents/..~1x',
    ],
    [
      'a part beyond the bound',
      { mission_name: 'm', tasks: [{ ...TASK, more: 'x'.repeat(1_100_000) }] },
      '/tasks/0: this part',
    ],
  ])('%s', async (_what, content, message) => {
    const missions = temporaryFolder();
    put(missions, 'a.json', content);
    expect(await refused(missions)).toContain(message);
  });

  test('a link', async () => {
    const missions = temporaryFolder();
    symlinkSync('/etc/hostname', join(missions, 'a.json'));
    expect(await refused(missions)).toContain('symbolic link');
  });
});

test('a file that is gone is absent, and an empty folder with its id is taken over', async () => {
  const missions = temporaryFolder();
  expect(await acceptDrop(missions, 'a.json')).toEqual({ outcome: 'absent' });
  mkdirSync(join(missions, 'c1'));
  put(missions, 'a.json', { mission_name: 'm', cell_id: 'c1' });
  expect(cellOf(await acceptDrop(missions, 'a.json'))).toBe('c1');
});

describe('killed at', () => {
  const child = fileURLToPath(new URL('../support/drop-child.ts', import.meta.url));
  it.each([
    'drop.before-files',
    'drop.after-files',
    'drop.before-reveal',
    'drop.after-reveal',
    'drop.after-move',
    'drop.after-unmark',
  ])('%s: no half cell is seen, and running again makes exactly one', async (point) => {
    const missions = temporaryFolder();
    put(missions, 'new.json', DROP);
    const killed = spawnSync(process.execPath, [child, missions, 'new.json', point]);
    expect([killed.signal, killed.stdout.toString()]).toEqual(['SIGKILL', '']);

    const seen = await scanMissions(missions);
    for (const cell of seen.cells) {
      const { problems, changes } = scanCell(join(missions, cell));
      expect([problems, changes.length]).toEqual([[], 6]);
    }
    await removeUnfinished(missions);
    const again = await acceptDrop(missions, 'new.json');
    expect(again.outcome).toBe(seen.drops.length === 1 ? 'accepted' : 'absent');

    const { cells, drops } = await scanMissions(missions);
    expect([cells.length, drops]).toEqual([1, []]);
    const isMarked = (): boolean =>
      existsSync(join(missions, cells[0] ?? '', '.lazarus/drop.json'));
    expect(isMarked()).toBe(point === 'drop.after-move');
    expect(await finishDrop(missions, cells[0] ?? '')).toBe(point === 'drop.after-move');
    expect(isMarked()).toBe(false);
    put(missions, 'new.json', DROP);
    expect((await acceptDrop(missions, 'new.json')).outcome).toBe('refused'); // and not taken for done
    rmSync(join(missions, 'new.json'));
    expect(droppedIn(missions)).toEqual(['new.json']);
    expect(readFileSync(join(missions, '.lazarus/dropped/new.json'), 'utf8')).toContain('Dropped');
    expect(readdirSync(missions).filter((name) => name.endsWith('.building'))).toEqual([]);
  });
});

describe('the mark that a cell was made of a dropped file', () => {
  const marked = (content: unknown): string => {
    const missions = temporaryFolder();
    makeCell(missions, 'c1');
    put(join(missions, 'c1'), '.lazarus/drop.json', content);
    return missions;
  };
  const sha256 = hash('sha256', JSON.stringify({ mission_name: 'm' }));

  test('stays while that very file lies there, for its move is to be finished', async () => {
    const missions = marked({ name: 'a.json', sha256 });
    writeFileSync(join(missions, 'a.json'), JSON.stringify({ mission_name: 'm' }));
    expect(dropMark(missions, 'c1')).toBe('unfinished');
    expect(await finishDrop(missions, 'c1')).toBe(false);
    expect(dropMark(missions, 'c1')).toBe('unfinished');
  });

  it.each([
    ['the file is gone', { name: 'a.json', sha256 }, undefined],
    ['another file has its name', { name: 'a.json', sha256 }, '{"mission_name": "another"}'],
    ['it names a file elsewhere', { name: '../a.json', sha256 }, '{"mission_name":"m"}'],
    ['it is damaged', '{"name"', '{"mission_name":"m"}'],
  ])('goes when %s', async (_why, content, file) => {
    const missions = marked(content);
    if (file !== undefined) writeFileSync(join(missions, 'a.json'), file);
    expect(dropMark(missions, 'c1')).toBe('left');
    expect(await finishDrop(missions, 'c1')).toBe(true);
    expect(dropMark(missions, 'c1')).toBe('none');
    expect(existsSync(join(missions, 'c1/cell.json'))).toBe(true);
  });

  test('is none when it is a link, and what that leads to stays', async () => {
    const missions = marked({});
    rmSync(join(missions, 'c1/.lazarus/drop.json'));
    symlinkSync('/etc/hostname', join(missions, 'c1/.lazarus/drop.json'));
    expect(dropMark(missions, 'c1')).toBe('none');
    expect(await finishDrop(missions, 'c1')).toBe(false);
    expect(dropMark(missions, 'no such cell')).toBe('none');
  });
});
