/** What a node makes of an action's file that its user may not read. */
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { ActionFiles } from '../../actors/actions/action-files.ts';
import { temporaryRuntime } from '../support/actions.ts';

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

/** Root may read everything. */
function asSomebody<T>(work: () => T): T {
  if (!isRoot) return work();
  process.seteuid?.(NOBODY);
  try {
    return work();
  } finally {
    process.seteuid?.(0);
  }
}

test('given one that may not be read, then that is said of it alone; given a folder, then nothing is said of its files (P6)', () => {
  const layout = temporaryRuntime();
  const files = new ActionFiles(layout, 'n');
  for (const folder of [layout.root, `${layout.root}/actions`, ...Object.values(layout.actions)]) {
    if (isRoot) chownSync(folder, NOBODY, NOBODY);
    chmodSync(folder, 0o700);
  }
  onTestFinished(() => chmodSync(layout.actions.pending, 0o700)); // so that it can be removed
  writeFileSync(files.path('pending', 'a'), '{"type": "notify"}', { mode: 0o000 });
  const said = asSomebody(() => files.read('pending', 'a'));
  expect(said).toMatchObject({
    ok: false,
    reason: expect.stringMatching(/cannot read it .EACCES/),
  });
  chmodSync(layout.actions.pending, 0o000);
  expect(() => asSomebody(() => files.read('pending', 'a'))).toThrow('EACCES');
});
