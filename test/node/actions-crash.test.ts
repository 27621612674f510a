/**
 * A node that is killed between proposal, file, approval, claim, start and finish of an action: the next one goes on where it
 * stood. What the action causes happens at most once, and when nobody can know whether it did, that is shown (P4, P7).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';
import { startNode } from '../support/node.ts';

const child = fileURLToPath(new URL('../support/actions-child.ts', import.meta.url));
const hook = new URL('../crash/hook.ts', import.meta.url).href;

/** Runs the child to its end, killed at this visit of this point. */
async function killedAt(lab: Homelab, point: string): Promise<void> {
  const notes = mkdtempSync(join(tmpdir(), 'lazarus-kill-'));
  onTestFinished(() => rmSync(notes, { recursive: true, force: true }));
  const query = new URLSearchParams({ log: join(notes, 'log'), at: `host:${point}` }).toString();
  const args = ['--disable-warning=ExperimentalWarning', '--import', `${hook}?${query}`, child];
  const running = spawn(process.execPath, [...args, lab.missions, lab.layout.root], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  onTestFinished(() => void running.kill('SIGKILL'));
  const [code, signal] = (await once(running, 'exit')) as [number | null, string | null];
  expect([point, code, signal]).toEqual([point, null, 'SIGKILL']);
}

const ran = ({ layout, executor }: Homelab): number => {
  const file = join(layout.root, 'ran');
  const earlier = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
  return earlier + executor.ran.length;
};

/** Nothing that was on its way was left there. */
function isTidy({ layout }: Homelab): void {
  for (const folder of Object.values(layout.actions))
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
}

/** A person who looks after it until it has ended. */
async function goOn(lab: Homelab): Promise<void> {
  await lab.start();
  await eventually(
    async () => {
      if (lab.view('a').status === 'pending' && lab.view('a').state === 'pending')
        await lab.verb('actions.approve', { id: 'a' }).catch(() => undefined);
      expect(lab.view('a').state).toBe('settled');
    },
    { timeoutMs: 15_000 },
  );
}

it.each([
  'proposal.before-write:1',
  'proposal.before-link:1',
  'proposal.after-sync:1',
  'action.after-take:1', // of the approval
  'action.before-write:1',
  'action.after-write:1', // of durable.ts: whole, not yet in its place
  'action.rewritten:1',
  'action.after-put:1',
  'action.synced:1',
  'effect.planRun.before-run:1',
  'effect.moveFile.before-run:2', // of the claim
  'action.after-take:2',
  'action.before-rename:2',
  'action.after-put:2',
  'effect.moveFile.after-run:2',
  'effect.before-started:1',
])('given a kill at %s, when a node starts, then it runs once', async (point) => {
  const lab = new Homelab();
  await killedAt(lab, point);
  expect(ran(lab)).toBe(0);
  await goOn(lab);
  expect([ran(lab), lab.view('a').status, lab.folders('a')]).toEqual([
    1,
    'completed',
    ['completed'],
  ]);
  isTidy(lab);
});

it.each([
  'effect.after-started:1',
  'effect.runAction.before-run:1',
  'effect.runAction.after-run:1',
])(
  'given a kill at %s, when nobody knows whether it ran, then it is in doubt until a person says so',
  async (point) => {
    const lab = new Homelab();
    await killedAt(lab, point);
    const before = ran(lab);
    await lab.start();
    const [doubt] = await eventually(() => {
      const { in_doubt: doubts } = lab.at.node.status();
      expect(doubts).toHaveLength(1);
      return doubts;
    });
    expect(doubt).toMatchObject({ cell_id: 'action', task_id: 'a', step: 'container_restart' });
    expect([lab.folders('a'), ran(lab)]).toEqual([['running'], before]);
    expect(await lab.verb('why', { subject: 'a' })).toMatchObject({
      answer: expect.stringMatching(/is in doubt: it may have run/),
      next: [],
      needs: [{ command: 'lazarus doubt done|retry|fail a' }],
    });
    await lab.verb('doubt.done', { doubt: 'a', by: 'alice (x)' });
    await lab.is('a', 'completed');
    expect(ran(lab)).toBe(before);
    expect(lab.view('a').story.join('\n')).toMatch(/settled by alice/);
  },
);

it('given a kill in the run, when a person says without a node that it did its work, then that counts', async () => {
  const lab = new Homelab();
  await killedAt(lab, 'effect.runAction.after-run:1');
  const visit = await startNode({ effects: false }, lab.missions);
  await visit.node.scanned;
  await runVerb(visit.node, 'doubt.done', { doubt: 'a', by: 'alice (x)' });
  await visit.stop();
  await lab.start();
  await lab.is('a', 'completed');
  expect(ran(lab)).toBe(1);
});

it('given a kill in the run, when a person says that it did nothing, then it is run', async () => {
  const lab = new Homelab();
  await killedAt(lab, 'effect.runAction.before-run:1');
  await lab.start();
  await eventually(() => expect(lab.at.node.status().in_doubt).toHaveLength(1));
  await lab.verb('doubt.retry', { doubt: 'action/a' });
  await lab.is('a', 'completed');
  expect(ran(lab)).toBe(1);
});

it('given a kill in the run, when its driver knows how it ended, then that counts', async () => {
  const lab = new Homelab();
  lab.executor.recovered = { kind: 'failed', error: { name: 'Error', message: 'exit code 3' } };
  await killedAt(lab, 'effect.runAction.after-run:1');
  await lab.start();
  await lab.is('a', 'failed');
  expect([ran(lab), lab.view('a').reason]).toEqual([1, 'exit code 3']);
});

it.each([
  'action.after-take:3',
  'action.before-rename:3',
  'action.after-put:3',
  'effect.moveFile.after-run:3',
])(
  'given a kill at %s of what ends it, when a node starts, then its result is told and nothing runs again',
  async (point) => {
    const lab = new Homelab();
    await killedAt(lab, point);
    await goOn(lab);
    expect([ran(lab), lab.folders('a')]).toEqual([1, ['completed']]);
    expect(lab.content('a')).toMatchObject({ status: 'completed', result: { ok: true } });
    isTidy(lab);
  },
);

it.each(['action.after-take:2', 'action.rewritten:2'])(
  'given a kill at %s of the claim and an executor that is off then, then it waits in approved/ as it was',
  async (point) => {
    const lab = new Homelab();
    await killedAt(lab, point);
    await lab.start({ mode: 'off' });
    await eventually(() => expect(lab.view('a').waits).toMatch(/executor is off/));
    expect([lab.folders('a'), ran(lab)]).toEqual([['approved'], 0]);
    expect(lab.content('a')).toMatchObject({
      status: 'approved',
      transition_history: [{ to: 'approved' }],
    });
    await lab.restart();
    await lab.is('a', 'completed');
    isTidy(lab);
  },
);

it('given a kill after the claim and an executor that is off then, then it fails and nothing has run', async () => {
  const lab = new Homelab();
  await killedAt(lab, 'effect.moveFile.after-run:2');
  await lab.start({ mode: 'off' });
  await lab.is('a', 'failed');
  expect([ran(lab), lab.view('a').reason]).toEqual([
    0,
    'the executor was switched off before it began',
  ]);
});
