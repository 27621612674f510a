/** A freeze is the folder's: who acts there next is told of it, whichever node a person said it to, and who ended it there. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { readFreeze } from '../../cells/freeze-file.ts';
import { holdRuntime, runtimeOwner } from '../../cells/runtime-owner.ts';
import type { RuntimeOwner } from '../../cells/runtime-owner.ts';
import { Homelab, temporaryRuntime } from '../support/actions.ts';
import { startNode } from '../support/node.ts';

const fileOf = (lab: Homelab): string => join(dirname(lab.layout.output), 'freeze.json');
const another = (since: number): RuntimeOwner => {
  return { node: 'another', pid: 1, host: 'nas', missions: '/m', since };
};
const LONG_AGO = 1_000_000;
const THEIRS = { by: 'bob (x)', reason: 'theirs', at: 2_000_000 };

function say(lab: Homelab, freeze: object | string): void {
  mkdirSync(dirname(fileOf(lab)), { recursive: true });
  writeFileSync(fileOf(lab), typeof freeze === 'string' ? freeze : JSON.stringify(freeze));
}

const frozenBy = (lab: Homelab): unknown =>
  (lab.part('actions')['frozen'] as { by: string } | null)?.by ?? null;

describe('given a node takes a folder over', () => {
  test.each<[string, object | string | null, number, boolean, string | null]>([
    ['it was frozen there', THEIRS, LONG_AGO, false, 'bob (x)'],
    ['it was frozen here and there', THEIRS, LONG_AGO, true, 'alice (x)'],
    ['nobody froze it', null, LONG_AGO, false, null],
    ['it was frozen here before, and ended there', null, Number.MAX_SAFE_INTEGER, true, null],
    ['it was frozen here while the other one acted', null, LONG_AGO, true, 'alice (x)'],
    ['what was said there cannot be read', '{"by"', LONG_AGO, false, 'nobody knows'],
  ])(
    'when %s, then that holds, and stands in the folder',
    async (_what, there, since, here, holds) => {
      const lab = new Homelab();
      if (here) {
        await lab.start();
        await lab.verb('freeze', { reason: 'ours', by: 'alice (x)' });
        await lab.at.stop();
      }
      if (there === null) rmSync(fileOf(lab), { force: true });
      else say(lab, there);
      await lab.start({ before: another(since) });
      expect(frozenBy(lab)).toBe(holds);
      expect(readFreeze(lab.layout) === null).toBe(holds === null);
      lab.put('pending', 'a');
      await lab.verb('actions.approve', { id: 'a' });
      if (holds === null) await lab.is('a', 'completed');
      else expect(lab.executor.ran).toEqual([]);
    },
  );
});

test('given it acted there last itself, then its own word counts, also what was said to it while it was down', async () => {
  const lab = await new Homelab().start();
  await lab.verb('freeze', { reason: 'x', by: 'alice (x)' });
  expect(JSON.parse(readFileSync(fileOf(lab), 'utf8'))).toMatchObject({ by: 'alice (x)' });
  const nodeId = lab.at.node.nodeId;
  await lab.at.stop();
  const visit = await startNode({ effects: false }, lab.missions);
  await visit.node.scanned;
  await runVerb(visit.node, 'unfreeze', {});
  await visit.stop();
  await lab.start({ before: { ...another(LONG_AGO), node: nodeId } });
  expect([frozenBy(lab), readFreeze(lab.layout)]).toEqual([null, null]);
});

test('given two hold one folder, then the second is refused until the first has let go, and knows who it was', () => {
  const layout = temporaryRuntime();
  expect(runtimeOwner(layout)).toBe(null);
  const first = holdRuntime(layout, { node: 'a', missions: '/a' });
  expect(first?.before).toBe(null);
  expect(holdRuntime(layout, { node: 'b', missions: '/b' })).toBeUndefined();
  expect(runtimeOwner(layout)).toMatchObject({ node: 'a', pid: process.pid, missions: '/a' });
  first?.release();
  const second = holdRuntime(layout, { node: 'b', missions: '/b' });
  expect(second?.before).toMatchObject({ node: 'a' });
  second?.release();
});
