/**
 * The closed loop as real processes, killed again and again: one runtime after the other dies between each two of look, drift,
 * telling, proposal, approval, claim, docker, verification and the files that others read. The homelab goes on meanwhile. What
 * must never happen is watched for by loop-world.ts.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { dies } from '../support/homelab-world.ts';
import { APPROVES, LoopWorld, RECOMMENDS, RESTART, WEB } from '../support/loop-world.ts';

function world(policy: JsonObject): LoopWorld {
  const here = new LoopWorld(policy);
  onTestFinished(async () => {
    await here.lab.dispose();
    expect(here.violations).toEqual([]);
  });
  return here;
}

/** A life that dies there; the first is watching when the service fails. */
async function dieAt(here: LoopWorld, point: string, { isFirst = false } = {}): Promise<void> {
  const { lab } = here;
  const begun = join(lab.base, 'begun');
  if (isFirst) {
    const life = await lab.up({ at: `host:${point}`, from: begun });
    await here.isWatched();
    writeFileSync(begun, '');
    here.fails();
    return dies(life, point);
  }
  await dies(lab.begin({ at: `host:${point}` }), point);
}

async function dieAtEach(here: LoopWorld, points: string[], mayAct: boolean): Promise<void> {
  for (const point of points) {
    await dieAt(here, point);
    here.checkFiles(mayAct);
    expect(here.violations, point).toEqual([]);
  }
}

/** In the order of the loop; each life goes on where the one before it died. */
const RECOMMENDING = [
  'journal.before-write:1', // the look found it
  'effect.tell.before-run:1', // it stands
  'line-log.before-write:1',
  'line-log.after-sync:1', // it is in the log alone
  'event-file.before-rename:1',
  'effect.tell.after-run:1', // it was told, and nobody knows
];
const ACTING = [
  'proposal.before-link:1',
  'effect.writePending.after-run:1', // it is proposed, and nobody knows
  'effect.moveFile.before-run:1', // the policy has approved it
  'action.after-put:1', // its file is in approved/
  'effect.planRun.before-run:1',
  'action.after-put:1', // it is claimed
  'effect.after-started:1',
  'effect.runAction.after-run:1', // docker has done it
  'effect.awaitHealthy.before-run:1',
];
const ENDING = [
  'effect.moveFile.before-run:1', // it is well
  'effect.moveFile.after-run:1', // it is completed, and nobody was told
  'line-log.after-sync:1', // it is verified
  'autonomy-file.before-rename:1',
  'runtime-summary.after-rename:1',
  'supervisor-checkpoint.before-rename:1',
  'event-file.after-rename:1',
];

test('given a loop whose runtime dies at each point of it, then it is recommended, approved, run, verified and told once', async () => {
  const here = world(RECOMMENDS);
  const [first = '', ...others] = RECOMMENDING;
  await dieAt(here, first, { isFirst: true });
  await dieAtEach(here, others, false);
  here.homelab.policy(APPROVES); // nobody runs just now
  await dieAtEach(here, ACTING, true);
  here.recovers();
  await dieAtEach(here, ENDING, true);
  await here.lab.up();
  await here.isOver(true);
}, 240_000);

test('given a policy that only recommends, when the runtime dies while the drift goes, then that is told once and nothing was proposed', async () => {
  const here = world(RECOMMENDS);
  await dieAt(here, 'effect.tell.before-run:1', { isFirst: true });
  here.recovers();
  await dieAtEach(here, ['line-log.after-sync:2', 'event-file.after-rename:1'], false);
  await here.lab.up();
  await here.isOver(false);
  here.checkFiles(false);
}, 120_000);

test('given a proposal that a policy may approve, when the policy says otherwise before the next life, then that one approves nothing', async () => {
  const here = world(APPROVES);
  await dieAt(here, 'proposal.after-sync:1', { isFirst: true });
  here.homelab.policy(RECOMMENDS);
  await here.lab.up();
  await here.homelab.until(async () =>
    expect(await here.homelab.standing()).toEqual([`${WEB}: proposed`]),
  );
  await here.lab.verb('reconcile');
  expect(here.lab.everywhere()).toEqual([{ id: RESTART, status: 'pending' }]);
}, 120_000);
