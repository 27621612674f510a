import { mkdirSync, renameSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MissionsWatcher } from '../../cells/watch.ts';
import type { MissionsWatcherOptions } from '../../cells/watch.ts';
import { AGENT, CELL, TASK, makeCell, put, temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';

interface Seen {
  watcher: MissionsWatcher;
  /** "folder path", or "folder *" for all of it. */
  cells: string[];
  top: string[];
  warnings: string[];
  reset(): void;
}

/** No rescan comes by itself in these tests, unless asked for: what is seen was seen by events. */
async function watching(
  missionsDir: string,
  options: Partial<MissionsWatcherOptions> = {},
): Promise<Seen> {
  const [cells, top, warnings]: string[][] = [[], [], []];
  const watcher = new MissionsWatcher({
    missionsDir,
    rescanMs: 3_600_000,
    onCellDirty: (folder, paths) =>
      cells?.push(...(paths ? [...paths].map((path) => `${folder} ${path}`) : [`${folder} *`])),
    onTopLevelChange: (names) => top?.push(...(names ?? ['*'])),
    log: { warn: (_fields, message) => warnings?.push(message) },
    ...options,
  });
  onTestFinished(async () => watcher.stop());
  await watcher.start();
  const seen = { watcher, cells: cells ?? [], top: top ?? [], warnings: warnings ?? [] };
  const reset = (): void => {
    seen.cells.length = 0;
    seen.top.length = 0;
  };
  return { ...seen, reset };
}

describe('by events', () => {
  test('a new cell folder, a dropped file and a removed folder are seen', async () => {
    const missions = temporaryFolder();
    makeCell(missions, 'old');
    const seen = await watching(missions);
    makeCell(missions, 'new');
    put(missions, 'drop.json', CELL);
    await eventually(() => expect(seen.top).toEqual(expect.arrayContaining(['new', 'drop.json'])));
    seen.reset();
    rmSync(join(missions, 'old'), { recursive: true });
    await eventually(() => expect(seen.top).toContain('old'));
  });

  test('a folder that becomes a cell later is seen when its cell.json is written', async () => {
    const missions = temporaryFolder();
    mkdirSync(join(missions, 'before'));
    const seen = await watching(missions);
    mkdirSync(join(missions, 'after'));
    await eventually(() => expect(seen.top).toContain('after'));
    seen.reset();
    for (const folder of ['before', 'after']) {
      put(missions, `${folder}/cell.json`, CELL);
      await eventually(() => expect(seen.top).toContain(folder));
    }
  });

  test('edits in a watched cell come with their paths, and our own temporary files do not come', async () => {
    const missions = temporaryFolder();
    const cell = makeCell(missions, 'c1');
    const seen = await watching(missions);
    seen.watcher.watchCell('c1');
    put(cell, 'agents/.agent_001.json.1.1.tmp', 'half');
    renameSync(join(cell, 'agents/.agent_001.json.1.1.tmp'), join(cell, 'agents/agent_001.json'));
    put(cell, 'agents/agent_001.json.error', 'words');
    put(cell, 'tasks/task_001.json', TASK);
    rmSync(join(cell, 'cell.json'));
    const paths = ['agents/agent_001.json', 'tasks/task_001.json', 'cell.json'];
    await eventually(() =>
      expect([...new Set(seen.cells)].sort()).toEqual(paths.map((path) => `c1 ${path}`).sort()),
    );
  });

  test('a folder inside a cell that comes, goes and comes again is watched each time', async () => {
    const missions = temporaryFolder();
    const cell = makeCell(missions, 'c1');
    rmSync(join(cell, 'agents'), { recursive: true });
    const seen = await watching(missions);
    seen.watcher.watchCell('c1');
    for (let round = 0; round < 2; round += 1) {
      put(cell, 'agents/agent_001.json', AGENT);
      await eventually(() => expect(seen.cells).toContain('c1 *'));
      seen.reset();
      put(cell, 'agents/agent_001.json', { ...AGENT, name: 'Other' });
      await eventually(() => expect(seen.cells).toContain('c1 agents/agent_001.json'));
      seen.reset();
      rmSync(join(cell, 'agents'), { recursive: true });
      await eventually(() => expect(seen.cells).toContain('c1 *'));
      seen.reset();
    }
  });

  test('a watched cell that is removed or renamed is reported, and its old name no longer', async () => {
    const missions = temporaryFolder();
    makeCell(missions, 'c1');
    makeCell(missions, 'c2');
    const seen = await watching(missions);
    seen.watcher.watchCell('c1');
    seen.watcher.watchCell('c2');
    rmSync(join(missions, 'c1'), { recursive: true });
    renameSync(join(missions, 'c2'), join(missions, 'c3'));
    await eventually(() => {
      expect(seen.cells).toEqual(expect.arrayContaining(['c1 *', 'c2 *']));
      expect(seen.top).toEqual(expect.arrayContaining(['c1', 'c2', 'c3']));
    });
    seen.reset();
    seen.watcher.watchCell('c3');
    put(missions, 'c3/tasks/task_001.json', TASK);
    await eventually(() => expect(seen.cells).toContain('c3 tasks/task_001.json'));
    expect(seen.cells.filter((item) => item.startsWith('c2'))).toEqual([]);
  });
});

describe('by rescans', () => {
  test('a change in a cell that is not watched is found, and a quiet cell is not reported', async () => {
    const missions = temporaryFolder();
    makeCell(missions, 'c1');
    makeCell(missions, 'c2');
    const seen = await watching(missions);
    await seen.watcher.rescanNow();
    await eventually(() => expect(seen.cells).toContain('c1 *')); // made just before the start
    seen.reset();
    await seen.watcher.rescanNow();
    put(missions, 'c1/tasks/task_001.json', { ...TASK, title: 'Review again' });
    await seen.watcher.rescanNow();
    await eventually(() => expect(seen.cells).toEqual(['c1 *']));
    seen.reset();
    rmSync(join(missions, 'c2/agents/agent_001.json'));
    await seen.watcher.rescanNow();
    await eventually(() => expect(seen.cells).toEqual(['c2 *']));
  });

  test('a missions folder that cannot be read says nothing about its cells, and is found again', async () => {
    const home = temporaryFolder();
    const missions = join(home, 'missions');
    makeCell(missions, 'c1');
    const seen = await watching(missions);
    await seen.watcher.rescanNow();
    await eventually(() => expect(seen.cells).toContain('c1 *'));
    seen.reset();
    renameSync(missions, join(home, 'away'));
    await seen.watcher.rescanNow();
    expect(seen.warnings).toContain('rescan failed; what was known stays');
    renameSync(join(home, 'away'), missions);
    await seen.watcher.rescanNow();
    put(missions, 'drop.json', CELL);
    await eventually(() => expect(seen.top).toContain('drop.json'));
    expect(seen.cells).toEqual([]);
  });
});

describe('bounds', () => {
  test('beyond our own bound cells go by rescans, said once, and one that is let go makes room', async () => {
    const missions = temporaryFolder();
    for (const name of ['c1', 'c2', 'c3']) makeCell(missions, name);
    const seen = await watching(missions, { maxWatchedCells: 1 });
    for (const name of ['c1', 'c2', 'c3']) seen.watcher.watchCell(name);
    expect(seen.warnings).toEqual(['more cells than are watched; the rest is found by rescans']);
    seen.watcher.unwatchCell('c1');
    await eventually(() => expect(seen.cells).toEqual(['c2 *']));
    put(missions, 'c2/tasks/task_001.json', TASK);
    await eventually(() => expect(seen.cells).toContain('c2 tasks/task_001.json'));
  });

  test('given a kernel without watches, it goes by rescans and says so once', async () => {
    const missions = temporaryFolder();
    makeCell(missions, 'c1');
    makeCell(missions, 'c2');
    let left = 1;
    const seen = await watching(missions, {
      watch: (path, listener) => {
        left -= 1;
        if (left < 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
        return watch(path, listener);
      },
    });
    seen.watcher.watchCell('c1');
    seen.watcher.watchCell('c2');
    expect(seen.warnings).toEqual(['no more watches to be had; the rest is found by rescans']);
    put(missions, 'c1/tasks/task_001.json', { ...TASK, title: 'x' });
    await seen.watcher.rescanNow();
    await eventually(() => expect(seen.cells).toContain('c1 *'));
  });
});
