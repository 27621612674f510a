import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { isLeftover, temporaryName } from '../../cells/durable.ts';
import { removeCellLeftovers } from '../../cells/leftovers.ts';
import { makeCell, put, temporaryFolder } from '../support/cell-files.ts';

const durable = fileURLToPath(new URL('../../cells/durable.ts', import.meta.url));

/** The temporary name that another process of ours would use for a file. */
function nameElsewhere(path: string): string {
  const code = `import('${durable}').then((m) => console.log(m.temporaryName('${path}')))`;
  const { stdout } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' });
  return stdout.trim();
}

test('what a killed process was writing is removed; everything else stays', () => {
  const cell = makeCell(temporaryFolder(), 'c');
  const theirs = [
    nameElsewhere(join(cell, 'tasks/task_001.json')),
    nameElsewhere(join(cell, 'checkpoints/agent_001/state.json')),
    nameElsewhere(join(cell, '.lazarus/owner.json')),
  ].map((path) => path.slice(cell.length + 1));
  const ours = temporaryName('tasks/task_001.json');
  const kept = [ours, 'tasks/.task_001.json.swp', 'agents/.x.tmp', 'artifacts/.a.1-00000000.1.tmp'];
  for (const path of [...theirs, ...kept]) put(cell, path, 'half');
  removeCellLeftovers(cell);
  for (const path of theirs) expect([path, existsSync(join(cell, path))]).toEqual([path, false]);
  for (const path of kept) expect([path, existsSync(join(cell, path))]).toEqual([path, true]);
  expect(readdirSync(join(cell, 'tasks'))).toContain('task_001.json');
});

test('two lives never use the same temporary name, also under the same pid', () => {
  expect(isLeftover(temporaryName('state.json'))).toBe(false);
  expect(isLeftover(`.state.json.${process.pid}-0a1b2c3d.1.tmp`)).toBe(true);
});
