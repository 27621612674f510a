/**
 * What the gate let run is looked at once more in the moment in which its file would appear in running/: a freeze, a window, a
 * policy or a lapse that came while it was planned counts.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ActionFiles } from '../../actors/actions/action-files.ts';
import { moveFile } from '../../actors/actions/action-moves.ts';
import type { ActionsDoorOptions } from '../../actors/actions/actions-door.ts';
import type { Move } from '../../machines/action-context.ts';
import { GATE } from '../../machines/addresses.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import type { Policy } from '../../machines/remediation.ts';
import { hashOf, proposal } from '../support/action.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';

/** An approved action whose plan is being made; `plan` ends that. */
async function planning(options: Partial<ActionsDoorOptions> = {}) {
  const lab = new Homelab();
  const planned = Promise.withResolvers<void>();
  const { plan } = lab.executor;
  let asked = 0;
  lab.executor.plan = async (run) => {
    asked += 1;
    if (asked === 1) await planned.promise;
    return plan(run);
  };
  await lab.start(options);
  lab.put('pending', 'a');
  await lab.verb('actions.approve', { id: 'a' });
  await lab.is('a', 'planning');
  return { lab, plan: () => planned.resolve() };
}

const grantsOf = (lab: Homelab) =>
  (lab.at.node.kernel.system.read(GATE).snapshot.context as GateContext).grants;

describe('given an action that was let run and is being planned', () => {
  test('when it is frozen, then it goes back to waiting with the reason, and runs when that ends', async () => {
    const rate_limits = { per_service_per_hour: 1 };
    const { lab, plan } = await planning({
      loadPolicy: () => ({ ...DEFAULT_POLICY, rate_limits }),
    });
    const said = await lab.verb('freeze', { reason: 'moving house', by: 'alice (x)' });
    expect(said).toMatchObject({ running: [] }); // nothing of it has begun
    plan();
    await eventually(() => expect(lab.view('a').waits).toMatch(/frozen by alice \(x\): moving/));
    expect([lab.folders('a'), lab.executor.ran]).toEqual([['approved'], []]);
    expect(lab.content('a')).not.toHaveProperty('transition_history.1');
    expect(lab.view('a')).toMatchObject({ status: 'approved', by: 'operator' });
    expect(lab.view('a').story.at(-1)).toMatch(/not begun: frozen by alice/);
    expect(grantsOf(lab)).toEqual([]); // it counts for no limit
    await lab.verb('unfreeze', {});
    await lab.is('a', 'completed');
    expect(lab.executor.ran).toEqual(['a']);
  });

  test.each<[string, Partial<Policy>, RegExp]>([
    ['a window closes', { closed_windows: [{ from: '00:00', to: '24:00' }] }, /closed window/],
    ['it runs nowhere any more', { blast_radius: { per_host_at_once: 0 } }, /blast radius: 0/],
    ['nothing may run in this hour', { rate_limits: { per_hour: 0 } }, /rate limit: 0/],
  ])('when %s, then it waits with that reason', async (_what, changed, reason) => {
    let policy: Policy = DEFAULT_POLICY;
    const { lab, plan } = await planning({ loadPolicy: () => policy });
    policy = { ...DEFAULT_POLICY, ...changed };
    await eventually(() =>
      expect(lab.at.node.kernel.system.read(GATE).snapshot.context).toMatchObject({ policy }),
    );
    plan();
    await eventually(() => expect(lab.view('a').waits).toMatch(reason));
    expect([lab.folders('a'), lab.executor.ran]).toEqual([['approved'], []]);
    policy = DEFAULT_POLICY;
    await lab.is('a', 'completed');
  });

  test('when its approval lapses, then it goes back to pending/', async () => {
    const policy = { ...DEFAULT_POLICY, approval_expires: 1 };
    const { lab, plan } = await planning({ loadPolicy: () => policy });
    const { expires_at: until } = lab.view('a').approval as { expires_at: string };
    await eventually(() => expect(Date.now()).toBeGreaterThan(Date.parse(until)));
    plan();
    await lab.is('a', 'pending');
    expect([lab.folders('a'), lab.executor.ran]).toEqual([['pending'], []]);
  });

  test('when nothing changed, then it runs under its grant, which counts', async () => {
    const { lab, plan } = await planning();
    plan();
    await lab.is('a', 'completed');
    expect(grantsOf(lab)).toMatchObject([{ actionId: 'a', host: 'vps' }]);
  });
});

test('given many freezes while many are claimed, when one is answered, then no file appears in running/ any more', async () => {
  const policy = { ...DEFAULT_POLICY, blast_radius: {} };
  const lab = await new Homelab().start({ loadPolicy: () => policy });
  const ids = Array.from({ length: 40 }, (_, i) => `a${i}`);
  for (const id of ids) lab.put('pending', id);
  for (const id of ids) await lab.is(id, 'pending');
  for (const id of ids) lab.move(id, 'pending', 'approved');
  const begun = (): number =>
    lab.executor.ran.length + readdirSync(lab.layout.actions.running).length;
  for (let round = 0; round < 8; round += 1) {
    await eventually(() => expect(begun()).toBeGreaterThan(0));
    await lab.verb('freeze', { reason: `${round}` });
    const claimed = ids.filter((id) => !lab.folders(id).includes('approved') && !isTaken(lab, id));
    await eventually(() => {
      for (const id of ids) if (!claimed.includes(id)) expect(lab.view(id).waits).toMatch(/frozen/);
    });
    expect(lab.executor.ran.filter((id) => !claimed.includes(id))).toEqual([]);
    await lab.verb('unfreeze', {});
  }
  for (const id of ids) await lab.is(id, 'completed');
  expect(lab.executor.ran.toSorted()).toEqual(ids.toSorted());
}, 60_000);

/** Under a name that only the step knows: nobody has claimed it yet. */
const isTaken = (lab: Homelab, id: string): boolean =>
  readdirSync(lab.layout.actions.approved).some((name) => name.startsWith(`.${id}.json.`));

describe('a move that may not come about any more (V5)', () => {
  const claim = (sha256: string): Move => ({
    kind: 'claim',
    from: 'approved',
    to: 'running',
    sha256,
    entry: { from: 'approved', to: 'running', timestamp: 1, by: 'lazarus' },
    set: {},
  });

  test('given that is found out at the last moment, then the file stands where it stood, as it was', async () => {
    const lab = new Homelab();
    const files = new ActionFiles(lab.layout, 'node-1');
    const content = proposal('a', { transition_history: [{ by: 'x' }] });
    lab.put('approved', 'a', content);
    const moved = await moveFile(
      files,
      { actionId: 'a', move: claim(hashOf(content)) },
      'step-1',
      () => 'frozen',
    );
    expect(moved).toMatchObject({ outcome: 'withheld', reason: 'frozen', place: { content } });
    expect(JSON.parse(readFileSync(lab.path('approved', 'a'), 'utf8'))).toEqual(content);
    expect(readdirSync(lab.layout.actions.approved)).toEqual(['a.json']);
  });
});
