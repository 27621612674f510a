/** Who waits for an action in doubt is told so by its name; who waits for one that runs, too. */
import { describe, expect, test } from 'vitest';
import { RuntimeError } from '../../machines/errors.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import type { JsonObject } from '../../machines/json.ts';
import { proposal } from '../support/action.ts';
import { Homelab, never } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';

const unknown = (): Promise<never> =>
  Promise.reject(new RuntimeError('the connection was lost', { code: 'OUTCOME_UNKNOWN' }));

async function approved(lab: Homelab, id: string, node = 'vps'): Promise<void> {
  lab.put('pending', id, proposal(id, { node }));
  await lab.verb('actions.approve', { id });
}

const waitsOf = async (lab: Homelab, id: string): Promise<unknown[]> => {
  const { actions } = (await lab.verb('actions.list', {})) as { actions: JsonObject[] };
  const { waiting } = lab.part('actions') as { waiting: JsonObject[] };
  const why = await lab.verb('why', { subject: `system/action/${id}` });
  return [
    (await lab.verb('actions.show', { id }))['waits'],
    actions.find(({ action_id: one }) => one === id)?.['waits'],
    waiting.find(({ action_id: one }) => one === id)?.['reason'],
    why['answer'],
  ];
};

describe('given an action in doubt holds the place of its host', () => {
  test('then who waits for it hears its name and what to do, everywhere; when it is settled, then the other runs', async () => {
    const lab = new Homelab();
    lab.executor.answer = unknown;
    await lab.start();
    await approved(lab, 'a');
    await eventually(() => expect(lab.at.node.status().in_doubt).toHaveLength(1));
    await approved(lab, 'b');
    await approved(lab, 'elsewhere', 'piha'); // it waits for nobody
    await eventually(async () => {
      for (const waits of await waitsOf(lab, 'b'))
        expect(waits).toMatch(
          /1 at once on vps; waits for a, which is in doubt on vps: `lazarus doubt list`/,
        );
    });
    const [shown, listed, waiting, why] = await waitsOf(lab, 'a');
    for (const waits of [shown, listed, waiting])
      expect(waits).toMatch(/in doubt.*`lazarus doubt list`/);
    expect(why).toMatch(/in doubt/);
    lab.executor.answer = never;
    await lab.verb('doubt.done', { doubt: 'action/a', by: 'alice (x)' });
    await lab.is('a', 'completed');
    await eventually(() => expect(lab.executor.ran).toContain('b'));
    expect(lab.view('b').waits).toBe(null);
  });

  test('then one that is frozen too hears of the freeze, which comes first', async () => {
    const lab = new Homelab();
    lab.executor.answer = unknown;
    await lab.start();
    await approved(lab, 'a');
    await eventually(() => expect(lab.at.node.status().in_doubt).toHaveLength(1));
    await lab.verb('freeze', { reason: 'holiday', by: 'x' });
    await approved(lab, 'b');
    await eventually(async () =>
      expect((await lab.verb('actions.show', { id: 'b' }))['waits']).toBe('frozen by x: holiday'),
    );
  });
});

test('given several run, then who waits for one of them hears three names', async () => {
  const lab = new Homelab();
  lab.executor.answer = never;
  const policy = { ...DEFAULT_POLICY, blast_radius: { actions_at_once: 4 } };
  await lab.start({ loadPolicy: () => policy });
  for (const id of ['a', 'b', 'c', 'd']) {
    await approved(lab, id);
    await lab.is(id, 'running');
  }
  await approved(lab, 'e');
  await eventually(async () =>
    expect((await lab.verb('actions.show', { id: 'e' }))['waits']).toBe(
      'blast radius: 4 actions at once; waits for a; for b; for c and 1 more',
    ),
  );
});
