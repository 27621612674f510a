import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { readCellFile, scanCell } from '../../cells/load.ts';
import { scanMissions } from '../../cells/scan-missions.ts';
import { AGENT, CELL, TASK, makeCell, put, temporaryFolder } from '../support/cell-files.ts';

describe('a cell’s folder', () => {
  test('is read with everything people write, and nothing else', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    put(cell, 'config/policies.json', { max_retries: 1 });
    put(cell, 'config/notes.json', 'not ours');
    put(cell, 'agents/.agent_001.json.1.1.tmp', 'half');
    put(cell, 'agents/README.md', 'words');
    put(cell, 'checkpoints/agent_001/state.json', 'ours');
    const scan = scanCell(cell);
    expect(scan.problems).toEqual([]);
    expect(scan.changes.map(({ path, kind, id }) => [path, kind, id])).toEqual([
      ['cell.json', 'cell', 'cell'],
      ['config/policies.json', 'policies', 'policies'],
      ['agents/agent_001.json', 'agent', 'agent_001'],
      ['tasks/task_001.json', 'task', 'task_001'],
    ]);
    expect([...scan.hashes.keys()]).toHaveLength(4);
  });

  test('gives only the difference to what is known', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    const { hashes: known } = scanCell(cell);
    expect(scanCell(cell, { known }).changes).toEqual([]);
    put(cell, 'tasks/task_001.json', { ...TASK, priority: 'high' });
    put(cell, 'tasks/task_002.json', { ...TASK, task_id: 'task_002' });
    rmSync(join(cell, 'agents'), { recursive: true });
    const { changes, hashes } = scanCell(cell, { known });
    expect(changes).toEqual([
      {
        path: 'tasks/task_001.json',
        kind: 'task',
        id: 'task_001',
        content: { ...TASK, priority: 'high' },
      },
      {
        path: 'tasks/task_002.json',
        kind: 'task',
        id: 'task_002',
        content: { ...TASK, task_id: 'task_002' },
      },
      { path: 'agents/agent_001.json', kind: 'agent', id: 'agent_001', content: null },
    ]);
    expect(scanCell(cell, { known: hashes }).changes).toEqual([]);
  });

  test('a bad file is a problem, and its last good version stays known', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    const { hashes: known } = scanCell(cell);
    put(cell, 'tasks/task_001.json', '{"task_id": "task_001",\n "title"');
    const scan = scanCell(cell, { known });
    expect(scan.changes).toEqual([]);
    expect(scan.hashes).toEqual(known);
    expect(scan.problems).toMatchObject([{ path: 'tasks/task_001.json', problems: [{ line: 2 }] }]);
  });

  test('links are problems whatever they lead to, and what lay behind stays known', () => {
    const missions = temporaryFolder();
    const cell = makeCell(missions, 'c1');
    const { hashes: known } = scanCell(cell);
    renameSync(join(cell, 'agents'), join(missions, 'elsewhere'));
    symlinkSync(join(missions, 'elsewhere'), join(cell, 'agents'));
    symlinkSync('task_001.json', join(cell, 'tasks/task_002.json'));
    const scan = scanCell(cell, { known });
    expect(scan.changes).toEqual([]);
    expect(scan.hashes).toEqual(known);
    expect(scan.problems.map(({ path }) => path)).toEqual(['agents', 'tasks/task_002.json']);
    expect(scan.problems[0]?.problems[0]?.message).toContain('symbolic link');
  });

  test('a fifo, a folder and an odd name in a file’s place are problems and do not block', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    execFileSync('mkfifo', [join(cell, 'agents/fifo.json')]);
    mkdirSync(join(cell, 'agents/folder.json'));
    put(cell, 'agents/my agent.json', AGENT);
    put(cell, 'tasks/mission.json', { ...TASK, task_id: 'mission' });
    writeFileSync(join(cell, 'config'), 'a file, not a folder');
    const problems = new Map(scanCell(cell).problems.map((item) => [item.path, item.problems[0]]));
    expect([...problems.keys()].sort()).toEqual([
      'agents/fifo.json',
      'agents/folder.json',
      'agents/my agent.json',
      'config',
      'tasks/mission.json',
    ]);
    expect(problems.get('agents/fifo.json')?.message).toContain('not a regular file');
  });

  test('a file named otherwise than its id is refused with both ways to mend it', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    put(cell, 'agents/agent_002.json', AGENT);
    expect(readCellFile(cell, 'agents/agent_002.json')).toEqual({
      outcome: 'bad',
      path: 'agents/agent_002.json',
      problems: [
        {
          pointer: '/agent_id',
          line: 2,
          message: 'agent_id is "agent_001", but the file is named agent_002.json',
          fix: 'Write "agent_id": "agent_002", or name the file agent_001.json.',
        },
      ],
    });
  });

  test('one file is read with its hash and the revision it was edited from', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    put(cell, 'cell.json', { ...CELL, _rev: 7, extra: { kept: true } });
    const file = readCellFile(cell, 'cell.json');
    expect(file).toMatchObject({ outcome: 'good', rev: 7, content: { extra: { kept: true } } });
    expect(file.outcome === 'good' && file.hash).toBe(scanCell(cell).hashes.get('cell.json'));
    expect(readCellFile(cell, 'tasks/none.json')).toEqual({
      outcome: 'absent',
      path: 'tasks/none.json',
    });
    expect(readCellFile(join(cell, 'gone'), 'cell.json')).toMatchObject({ outcome: 'absent' });
  });

  test('a folder that is gone is gone, not a cell whose files were all removed', () => {
    const cell = makeCell(temporaryFolder(), 'c1');
    const { hashes: known } = scanCell(cell);
    rmSync(cell, { recursive: true });
    expect(scanCell(cell, { known })).toMatchObject({ gone: true, changes: [] });
  });
});

describe('a missions folder', () => {
  test('is told into cells, dropped files and what is left alone', async () => {
    const missions = temporaryFolder();
    makeCell(missions, 'b');
    makeCell(missions, 'a');
    mkdirSync(join(missions, 'not-yet'));
    mkdirSync(join(missions, '.lazarus'));
    put(missions, 'new.json', CELL);
    put(missions, 'new.json.error', 'old news');
    put(missions, 'notes.txt', 'words');
    symlinkSync('a', join(missions, 'latest'));
    expect(await scanMissions(missions)).toEqual({
      cells: ['a', 'b'],
      drops: ['new.json'],
      problems: [],
      errorFiles: ['new.json.error'],
      absent: [],
    });
    expect(await scanMissions(missions, ['b', 'not-yet', 'none'])).toMatchObject({
      cells: ['b'],
      absent: ['none'],
    });
  });

  test('a link to a cell elsewhere is a problem', async () => {
    const [missions, other] = [temporaryFolder(), temporaryFolder()];
    makeCell(other, 'c1');
    symlinkSync(join(other, 'c1'), join(missions, 'c1'));
    const scan = await scanMissions(missions);
    expect(scan.cells).toEqual([]);
    expect(scan.problems).toMatchObject([{ path: 'c1' }]);
  });

  it('that cannot be read is an error, not an empty list', async () => {
    await expect(scanMissions(join(temporaryFolder(), 'none'))).rejects.toThrow('ENOENT');
  });
});
