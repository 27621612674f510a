/** Actions as a person at a terminal meets them: looked at, answered, explained; with a node and without. */
import { beforeEach, describe, expect, test } from 'vitest';
import { openControlDoor } from '../../actors/control-door.ts';
import { lazarus } from '../support/cli.ts';
import { hashOf, proposal } from '../support/action.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
let lab: Homelab;
const cli = (...args: string[]) => lazarus(lab.missions, ...args);

beforeEach(async () => {
  lab = await new Homelab().start({ mode: 'dry-run' }, async (node) => [
    await openControlDoor(node, log),
  ]);
});

describe('actions', () => {
  test('list, show, approve, run --dry-run, freeze, cancel, and the status names what waits', async () => {
    lab.put('pending', 'a', proposal('a', { requires_human: true }));
    await lab.is('a', 'pending');
    const listed = await cli('actions', 'list', '--status', 'pending');
    expect(listed.out).toMatch(/a +pending +container_restart +vps\/web/);
    const shown = await cli('actions', 'show', 'a');
    expect(shown.out).toContain(hashOf(lab.content('a')));
    expect(shown.out).toContain('lazarus actions approve a');
    expect((await cli('status')).out).toMatch(
      /action +a: RESTART web on vps.*lazarus actions show a/,
    );
    const wrong = await cli('actions', 'approve', 'a', '--sha256', 'f'.repeat(64));
    expect([wrong.code, wrong.err]).toEqual([
      1,
      expect.stringMatching(/changed meanwhile[^]*Try:/),
    ]);
    const approved = await cli('actions', 'approve', 'a', '--sha256', hashOf(lab.content('a')));
    expect([approved.code, approved.err]).toEqual([0, '']);
    expect(lab.view('a').approval).toMatchObject({ door: 'command line' });
    const planned = await cli('actions', 'run', 'a', '--dry-run');
    expect(planned.out).toContain('docker restart web');
    expect((await cli('freeze', 'moving house')).out).toMatch(/^frozen by .*: moving house/);
    expect((await cli('actions', 'list')).out).toMatch(/Frozen by/);
    expect((await cli('unfreeze')).out).toMatch(/^not frozen/);
    expect((await cli('actions', 'cancel', 'a', '--reason', 'late')).out).toMatch(/cancelled/);
    expect(lab.folders('a')).toEqual(['cancelled']);
    expect((await cli('actions', 'approve', 'a')).err).toMatch(/is cancelled by/);
    const missing = await cli('actions', 'show', 'b');
    expect([missing.code, missing.err]).toEqual([1, expect.stringMatching(/there is no action b/)]);
    expect((await cli('actions', 'show', '../b')).code).toBe(1);
  });

  test('why tells the whole story, with the place of every record', async () => {
    const guardrails = [
      {
        rule: 'confidence_floor',
        field: 'requires_human',
        from: false,
        to: true,
        because: '0.4 < 0.7',
      },
    ];
    lab.put('pending', 'a', proposal('a', { guardrails }));
    await cli('actions', 'approve', 'a');
    await lab.restart({ mode: 'on' });
    await lab.is('a', 'completed');
    await lab.at.stop();
    const told = await cli('why', 'a');
    for (const part of [
      /Action a \(container_restart of vps\/web\) is completed/,
      /model +ollama\/qwen2.5:7b/,
      /rule confidence_floor +requires_human false -> true: 0.4 < 0.7/,
      /approved by +.*command line/,
      /runs by +recorder/,
      /ended +well/,
      /gate lets it run/,
      /\.wal:\d+/,
    ])
      expect(told.out).toMatch(part);
    const json = (await cli('why', 'system/action/a', '--json')).json();
    expect(json).toMatchObject({ kind: 'action', id: 'system/action/a' });
    const { records } = json['history'] as { records: { type: string; place: object }[] };
    expect(records.map(({ type }) => type)).toContain('xstate.done.actor.run');
  });

  test('given no node runs, then they can be looked at, and an answer says what is missing', async () => {
    lab.put('pending', 'a');
    await lab.is('a', 'pending');
    await lab.at.stop();
    const { actions } = (await cli('actions', 'list', '--json')).json() as {
      actions: { action_id: string; status: string }[];
    };
    expect(actions).toMatchObject([{ action_id: 'a', status: 'pending' }]);
    const refused = await cli('actions', 'approve', 'a');
    expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(/lazarus up --runtime/)]);
    expect(lab.folders('a')).toEqual(['pending']);
    expect((await cli('freeze', 'nobody is here')).code).toBe(0);
    await lab.start({ mode: 'on' });
    await eventually(() =>
      expect(lab.part('actions')).toMatchObject({ frozen: { reason: 'nobody is here' } }),
    );
  });
});
