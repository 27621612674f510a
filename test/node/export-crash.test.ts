/** The node is killed at each durable moment of an export in turn: the mission is never lost, and never runs twice. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { readOwner } from '../../cells/owner.ts';
import { eventually } from '../support/eventually.ts';
import { dropInto, mission, startNode, temporaryMissions, threeSteps } from '../support/node.ts';

const entry = fileURLToPath(new URL('../support/export-child.ts', import.meta.url));
/** There are some fifty moments; 1 takes a minute. */
const STRIDE = 3;

/** The point at which it died; `done` when there are fewer. */
async function exportKilledAt(n: number, missions: string, to: string): Promise<string> {
  const args = ['--disable-warning=ExperimentalWarning', entry, missions, to, String(n)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await once(child, 'close');
  return out.trim();
}

test('whatever moment of an export a node is killed at, the mission goes on at one place and repeats nothing', async () => {
  const points: string[] = [];
  const outcomes = new Set<string>();
  for (let n = 1; points.at(-1) !== 'done'; n += STRIDE) {
    const [missions, away] = [temporaryMissions(), temporaryMissions()];
    dropInto(missions, mission('c', threeSteps()));
    const to = join(away, 'c');
    points.push(await exportKilledAt(n, missions, to));
    const owner = readOwner(join(missions, 'c'));
    const isFenced = owner.kind === 'owner' && owner.owner.exported !== undefined;
    const at = await startNode({}, missions);
    outcomes.add(!isFenced ? 'here' : existsSync(to) ? 'there' : 'taken back');
    if (isFenced) {
      await eventually(() => expect(at.node.status().held).toMatchObject([{ what: 'c' }]));
      expect(at.node.status().cells).toEqual([]);
    } else expect(existsSync(to)).toBe(false);
    if (isFenced && !existsSync(to))
      await runVerb(at.node, 'cell.import', { path: join(missions, 'c') });
    const there = isFenced && existsSync(to) ? await startNode({}, away) : at;
    there.open('c', 'g');
    await there.cellIs('c', 'completed');
    expect(there.counts('c'), points.at(-1)).toMatchObject({ 't/a': 1, 't/c': 1 });
    await there.stop();
    await at.stop();
  }
  expect(outcomes).toEqual(new Set(['here', 'taken back', 'there']));
  expect(points.length).toBeGreaterThan(10);
}, 240_000);
