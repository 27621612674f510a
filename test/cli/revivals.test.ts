/** Failed agents as an operator meets them at the command line: every verb in a process of its own, with a node and without. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { lazarus, missionsFolder, statusAt, up, writeCell } from '../support/cli.ts';
import type { Running } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

const PATIENT = { timeoutMs: 30_000 };

interface Revival {
  revival_id: string;
  status: string;
  outcome: string | null;
  doing: string;
  needs_person: boolean;
  choices: { choice: string; command: string }[];
}

/** A step that waits for the file `open`, and says which agent is at it. */
const waits = (name: string) => ({
  name,
  run: [
    'sh',
    '-c',
    'echo $LAZARUS_AGENT >> artifacts/ran; while [ ! -e artifacts/open ]; do sleep 0.05; done',
  ],
  retry: 'safe',
});

const ran = (cell: string): string[] =>
  existsSync(join(cell, 'artifacts/ran'))
    ? readFileSync(join(cell, 'artifacts/ran'), 'utf8').split('\n').slice(0, -1)
    : [];

/** A mission `c` that asks, and the worker of its agent killed by the verb for that. */
async function asking(policies: object = {}): Promise<{
  missions: string;
  cell: string;
  node: Running;
}> {
  const missions = missionsFolder();
  const cell = writeCell(missions, 'c', {
    agents: ['worker', 'other'],
    tasks: [
      { task_id: 't', assigned_to: 'worker', steps: [waits('a')] },
      { task_id: 'after', dependencies: ['t'], steps: [waits('b')] },
    ],
    more: { policies: { auto_revive: 'ask', ...policies } },
  });
  const node = await up(missions);
  await eventually(() => expect(ran(cell)).toEqual(['worker']), PATIENT);
  const killed = await lazarus(missions, 'agent', 'kill', 'worker', '--json');
  expect(killed).toMatchObject({ code: 0, err: '' });
  expect(killed.json()).toMatchObject({ agent_id: 'worker', pid: expect.any(Number) });
  await eventually(
    async () => expect((await shown(missions)).status).toBe('pending_approval'),
    PATIENT,
  );
  return { missions, cell, node };
}

async function revivalsAt(missions: string): Promise<Revival[]> {
  return (await statusAt<{ revivals: Revival[] }>(missions)).revivals;
}

async function shown(missions: string): Promise<Revival> {
  const [revival] = await revivalsAt(missions);
  if (revival === undefined) throw new Error('nothing was to be revived yet');
  return revival;
}

async function isRevived(missions: string): Promise<void> {
  await eventually(async () => expect((await shown(missions)).status).toBe('revived'), PATIENT);
}

describe('an agent that failed, and a policy that asks', () => {
  test('status, list, show and why name the failure, the policy, what comes next and the commands; an approval ends it', async () => {
    const { missions, cell } = await asking();
    const status = (await lazarus(missions, 'status')).out;
    expect(status).toContain('Waits for you (1)');
    expect(status).toMatch(
      /asks +c\/worker: the worker was ended by SIGKILL.* lazarus revivals show worker\n/,
    );
    expect(status).toContain('waits for t, whose agent worker failed');
    const list = (await lazarus(missions, 'revivals', 'list')).out;
    expect(list).toMatch(
      /c\.worker\.1 +pending_approval +waits for a person: auto_revive is "ask"; the question lapses in 24 h/,
    );
    expect((await lazarus(missions, 'revivals', 'show', 'worker', '--json')).json()).toMatchObject({
      status: 'pending_approval',
      needs_person: true,
    });
    const show = (await lazarus(missions, 'revivals', 'show', 'worker')).out;
    expect(show).toContain('never revived so far');
    expect(show).toContain('lazarus revivals approve c.worker.1 --previous-checkpoint');
    const why = (await lazarus(missions, 'why', 'c/after')).out;
    expect(why).toContain(
      'At the root of it: task t is in_progress (agent worker failed: the worker was ended by SIGKILL',
    );
    expect(
      why.match(/the worker was ended by SIGKILL during task t, step a/g)?.length,
    ).toBeGreaterThan(1);
    expect(why).toContain('lazarus revivals approve c.worker.1');
    const agent = (await lazarus(missions, 'agent', 'show', 'worker')).out;
    expect(agent).toMatch(/auto_revive +"ask" +cell.json/);
    expect(agent).toMatch(/restart +\{"intensity":5,"period":60\} +default/);

    const approved = await lazarus(missions, 'revivals', 'approve', 'c.worker.1', '--json');
    expect(approved).toMatchObject({ code: 0, err: '' });
    expect(approved.json()).toMatchObject({ agent_id: 'worker', needs_person: false });
    await isRevived(missions);
    expect((await lazarus(missions, 'revivals', 'show', 'worker')).out).toMatch(
      /revived once, the last took \d/,
    );
    const again = await lazarus(missions, 'revivals', 'approve', 'c.worker.1');
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/Error: .*c\.worker\.1 does not wait for an answer any more\nTry: /);
    writeFileSync(join(cell, 'artifacts/open'), '');
  }, 120_000);

  test('given a rejection, then it is left failed, the status says how to bring it back, and that brings it back', async () => {
    const { missions, cell } = await asking();
    const rejected = await lazarus(missions, 'revivals', 'reject', 'worker');
    expect(rejected).toMatchObject({ code: 0, err: '' });
    await eventually(async () => expect((await shown(missions)).outcome).toBe('rejected'), PATIENT);
    const status = (await lazarus(missions, 'status')).out;
    expect(status).toMatch(
      /agent lost +c\/worker: .* left failed: given up by .* lazarus agent revive worker\n/,
    );
    const noEarlier = await lazarus(missions, 'agent', 'revive', 'worker', '--previous-checkpoint');
    expect(noEarlier).toMatchObject({ code: 0, err: '' });
    await eventually(
      async () =>
        expect((await shown(missions)).doing).toContain('no earlier checkpoint to go back to'),
      PATIENT,
    );
    expect((await lazarus(missions, 'agent', 'revive', 'worker')).code).toBe(0);
    await isRevived(missions);
    expect(ran(cell)).toEqual(['worker', 'worker']);
  }, 120_000);

  test('given a substitute, then that one does the task, and its own task file says so', async () => {
    const { missions, cell } = await asking();
    const both = await lazarus(
      missions,
      'revivals',
      'approve',
      'worker',
      '--substitute',
      'other',
      '--previous-checkpoint',
    );
    expect(both.code).toBe(2);
    expect(
      (await lazarus(missions, 'revivals', 'approve', 'worker', '--substitute', 'nobody')).code,
    ).toBe(0);
    await eventually(
      async () => expect((await shown(missions)).doing).toContain('there is no agent nobody'),
      PATIENT,
    );
    expect(
      (await lazarus(missions, 'revivals', 'approve', 'worker', '--substitute', 'other')).code,
    ).toBe(0);
    await eventually(() => expect(ran(cell)).toEqual(['worker', 'other']), PATIENT);
    const why = (await lazarus(missions, 'why', 'c/t')).out;
    expect(why).toContain('it was handed over by worker, which failed');
    expect(why).toContain('its worker is gone: SIGKILL');
    expect((await lazarus(missions, 'revivals', 'list')).out).toContain('its task is with other');
  }, 120_000);

  test('given a node that was killed, then everything can be read, and says that nothing moves; an answer waits for the next start', async () => {
    const { missions, cell, node } = await asking();
    node.child.kill('SIGKILL');
    await node.ended;
    const list = await lazarus(missions, 'revivals', 'list', '--json');
    expect(list.json()).toMatchObject({
      running: false,
      revivals: [{ revival_id: 'c.worker.1', status: 'pending_approval', needs_person: true }],
    });
    const show = (await lazarus(missions, 'revivals', 'show', 'worker')).out;
    expect(show).toContain('No node runs here: nothing moves until `lazarus up`.');
    const status = (await lazarus(missions, 'status')).out;
    expect(status).toMatch(/worker +lead +failed .*the worker was ended by SIGKILL/);
    expect(await lazarus(missions, 'agent', 'show', 'worker', '--json')).toMatchObject({ code: 0 });
    expect((await lazarus(missions, 'agent', 'kill', 'worker')).code).toBe(1);

    const approved = await lazarus(missions, 'revivals', 'approve', 'worker', '--json');
    expect(approved).toMatchObject({ code: 0, err: '' });
    expect(approved.json()).toMatchObject({ revival_id: 'c.worker.1' });
    expect(ran(cell)).toEqual(['worker']);
    const open = (await lazarus(missions, 'status')).out;
    expect(open).not.toContain('Waits for you');
    expect(open).toContain('Lazarus goes on with these when a node runs (1)');
    await up(missions);
    await isRevived(missions);
    expect(ran(cell)).toEqual(['worker', 'worker']);
  }, 120_000);

  test('given its request moved to approved/ with another choice written into it, then that is done', async () => {
    const { missions, cell } = await asking();
    const folder = (name: string): string =>
      join(missions, '.lazarus/revivals', name, 'c.worker.1.json');
    const request = await eventually(
      () => JSON.parse(readFileSync(folder('pending'), 'utf8')) as object,
      PATIENT,
    );
    mkdirSync(join(missions, '.lazarus/revivals/approved'), { recursive: true });
    writeFileSync(
      folder('pending'),
      JSON.stringify({ ...request, choice: 'substitute', substitute: 'other' }),
    );
    renameSync(folder('pending'), folder('approved'));
    await eventually(() => expect(ran(cell)).toEqual(['worker', 'other']), PATIENT);
    await eventually(
      () =>
        expect(JSON.parse(readFileSync(folder('approved'), 'utf8'))).toMatchObject({
          status: 'failed',
          outcome: 'substituted',
          substitute: 'other',
        }),
      PATIENT,
    );
  }, 120_000);
});

describe('what is asked wrongly', () => {
  test('is refused with the next thing to try: 1 for what is not so, 2 for what is no usage', async () => {
    const missions = missionsFolder();
    for (const id of ['one', 'two'])
      writeCell(missions, id, {
        tasks: [{ task_id: 't', steps: [waits('a')] }],
        more: { policies: { auto_revive: 'no' } },
      });
    const none = await lazarus(missions, 'revivals', 'list');
    expect(none.out).toContain('No agent ever failed here.');
    await up(missions);
    await eventually(
      () =>
        expect([ran(join(missions, 'one')), ran(join(missions, 'two'))]).toEqual([
          ['worker'],
          ['worker'],
        ]),
      PATIENT,
    );
    const unharmed = await lazarus(missions, 'agent', 'revive', 'one/worker', '--json');
    expect(unharmed.code).toBe(1);
    expect(unharmed.json()).toMatchObject({
      error: { code: 'CONFLICT', hint: expect.any(String) },
    });
    for (const id of ['one', 'two'])
      expect((await lazarus(missions, 'agent', 'kill', `${id}/worker`)).code).toBe(0);
    await eventually(async () => {
      const revivals = await revivalsAt(missions);
      expect(revivals.map(({ outcome }) => outcome)).toEqual(['refused', 'refused']);
    }, PATIENT);
    const ambiguous = await lazarus(missions, 'revivals', 'show', 'worker', '--json');
    expect(ambiguous.code).toBe(2);
    expect(ambiguous.json()).toMatchObject({ error: { code: 'AMBIGUOUS_ID' } });
    expect(ambiguous.err).toContain('one/worker, two/worker');
    expect((await lazarus(missions, 'revivals', 'show', 'nobody')).code).toBe(1);
    expect((await lazarus(missions, 'revivals', 'approve')).code).toBe(2);
    const status = (await lazarus(missions, 'status')).out;
    expect(status).toMatch(
      /agent lost +one\/worker: .*left failed: auto_revive is "no" +lazarus agent revive one\/worker/,
    );
    expect((await lazarus(missions, 'why', 'one/t')).out).toMatch(
      /auto_revive +no +cell\.json(:\d+)? +decided this/,
    );
  }, 120_000);
});
