/**
 * What exported missions had left here, put aside when they came back (cells/put-aside.ts): listed, for it may be large, and
 * removed beyond its bound when the mission surely has a later life here.
 */
import { join } from 'node:path';
import {
  beyondBound,
  goingAside,
  KEPT_ASIDE,
  listAside,
  removeAside,
  removeGoing,
  whyKept,
} from '../../cells/put-aside.ts';
import type { PutAside } from '../../cells/put-aside.ts';
import type { Findings } from './finding.ts';
import type { World } from './world.ts';

export function checkAside(world: World, findings: Findings): void {
  const { root } = world.layout;
  const beyond = new Set(beyondBound(root).map(({ name }) => name));
  for (const aside of listAside(root)) checkOne(world, findings, aside, beyond.has(aside.name));
  for (const going of goingAside(root))
    findings.add(
      {
        severity: 'note',
        code: 'aside-unfinished',
        what: 'the rest of what a mission had left here, and that was being removed',
        where: join(root, going),
        means: 'The node was killed meanwhile. Nobody reads it.',
        todo: '`lazarus fsck --repair` removes it; the next import does so too.',
      },
      async () => {
        await removeGoing(root, going);
        return 'removed';
      },
    );
}

function checkOne(world: World, findings: Findings, aside: PutAside, isBeyond: boolean): void {
  const { root } = world.layout;
  const { name, cellId } = aside;
  const about = { where: join(root, name), cell_id: cellId };
  const what = `what mission ${cellId} had left here when it was exported, put aside when it came back`;
  const kept = isBeyond ? whyKept(root, aside, world.dirOf(cellId)) : undefined;
  if (!isBeyond || kept !== undefined)
    return findings.add({
      ...about,
      severity: isBeyond ? 'warning' : 'note',
      code: isBeyond ? 'aside-beyond' : 'aside',
      what,
      means:
        kept === undefined
          ? `The newest ${KEPT_ASIDE} of a mission are kept, for people to look into. Nothing reads it.`
          : `More than the newest ${KEPT_ASIDE}, and yet it is not removed by itself: ${kept}.`,
      todo:
        kept === undefined
          ? 'Nothing; or remove it.'
          : 'See whether something in it is still wanted, then remove it.',
    });
  findings.add(
    {
      ...about,
      severity: 'warning',
      code: 'aside-beyond',
      what,
      means: `Only the newest ${KEPT_ASIDE} of a mission are kept, and this one is older. The mission goes on here without it.`,
      todo: '`lazarus fsck --repair` removes it; the next import of the mission does so too.',
    },
    async () => {
      await removeAside(root, name);
      return 'removed';
    },
  );
}
