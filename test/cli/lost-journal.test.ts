/** The journal's newest file is gone after a kill: what that may have cost is shown and held, and the rest goes on. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lazarus, missionsFolder, slowStep, up, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { put } from '../support/cell-files.ts';

interface Status {
  cells: { cell_id: string; status: string }[];
  held: { what: string; reason: string }[];
}

async function statusOf(missions: string): Promise<Status> {
  const { json } = await lazarus(missions, 'status', '--json');
  return json() as unknown as Status;
}

/** By address: why it is held. */
async function heldIn(missions: string): Promise<Record<string, string>> {
  const { held } = await statusOf(missions);
  return Object.fromEntries(held.map(({ what, reason }) => [what, reason]));
}

async function areCompleted(missions: string, ...ids: string[]): Promise<void> {
  await eventually(
    async () => {
      const { cells } = await statusOf(missions);
      expect(cells).toMatchObject(ids.map((id) => ({ cell_id: id, status: 'completed' })));
    },
    { timeoutMs: 20_000 },
  );
}

test('given the newest journal segment gone, then what may have had records in it is held until that is accepted', async () => {
  const missions = missionsFolder();
  const tasks = [{ task_id: 't', steps: [slowStep('first', 0, 'safe')] }];
  const working = writeCell(missions, 'working', { tasks });
  const first = await up(missions);
  await areCompleted(missions, 'working');
  first.child.kill('SIGTERM');
  await first.ended;

  const steps = [slowStep('second', 30, 'never')];
  put(working, 'tasks/u.json', { task_id: 'u', title: 'u', steps });
  const second = await up(missions);
  const ran = (): string => readFileSync(join(working, 'artifacts/ran.txt'), 'utf8');
  await eventually(() => expect(ran()).toContain('second'), { timeoutMs: 20_000 });
  second.child.kill('SIGKILL');
  await second.ended;
  const journal = join(missions, '.lazarus/journal');
  for (const name of readdirSync(journal).toSorted().slice(-2)) rmSync(join(journal, name)); // and the one prepared

  const isHeld = { 'cell/working': expect.stringContaining('segment is missing') as unknown };
  expect(await heldIn(missions)).toMatchObject(isHeld);
  await up(missions);
  expect(await heldIn(missions)).toMatchObject(isHeld);
  const released = await lazarus(missions, 'cell', 'release', 'cell/working');
  expect(released.code).toBe(0);
  expect(await heldIn(missions)).not.toHaveProperty('cell/working');
}, 90_000);
