/** A node that was killed in the middle of a drop: the next one finishes it, and the mark it leaves does not stay. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, test } from 'vitest';
import { fsck } from '../../actors/fsck/fsck.ts';
import { eventually } from '../support/eventually.ts';
import { dropInto, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';

const child = fileURLToPath(new URL('../support/drop-child.ts', import.meta.url));
const PLAN = mission('c', [task('t', [step('a')])]);

function killedAt(point: string): string {
  const missions = temporaryMissions();
  dropInto(missions, PLAN);
  const killed = spawnSync(process.execPath, [child, missions, 'c.json', point]);
  expect(killed.signal).toBe('SIGKILL');
  return missions;
}

it.each(['drop.after-reveal', 'drop.after-move', 'drop.after-unmark'])(
  'given a kill at %s, when a node starts, then the mission runs, and file and mark are put away',
  async (point) => {
    const missions = killedAt(point);
    const at = await startNode({}, missions);
    await at.cellIs('c', 'completed');
    await eventually(() => expect(at.exists('c', '.lazarus/drop.json')).toBe(false));
    expect(existsSync(join(missions, 'c.json'))).toBe(false);
    expect(readdirSync(at.node.layout.dropped)).toEqual(['c.json']);
    await at.stop();
    expect(await fsck({ missionsDir: missions })).toMatchObject({ clean: true, findings: [] });
  },
);

test('given the mark was left, when the same file is dropped again after the start, then it is refused and not taken for done', async () => {
  const missions = killedAt('drop.after-move');
  const at = await startNode({}, missions);
  await at.node.scanned;
  at.drop(PLAN);
  await eventually(() => expect(existsSync(join(missions, 'c.json.error'))).toBe(true));
  expect(existsSync(join(missions, 'c.json'))).toBe(true);
});
