/** What becomes of an agent that a restart alone does not mend: asked for, handed over, put back, given up. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentAddress } from '../../machines/addresses.ts';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

type Folder = 'pending' | 'approved' | 'rejected' | 'expired';

const requests = (at: TestNode, folder: Folder): string[] =>
  existsSync(at.node.layout.revivals[folder])
    ? readdirSync(at.node.layout.revivals[folder]).filter((name) => !name.startsWith('.'))
    : [];
const request = (at: TestNode, folder: Folder, id = 'c.lead.1'): JsonObject =>
  JSON.parse(
    readFileSync(join(at.node.layout.revivals[folder], `${id}.json`), 'utf8'),
  ) as JsonObject;
const move = (at: TestNode, to: Folder, id = 'c.lead.1'): void =>
  renameSync(
    join(at.node.layout.revivals.pending, `${id}.json`),
    join(at.node.layout.revivals[to], `${id}.json`),
  );

/** A mission with a worker whose first step stands at the gate `g`, and that worker killed. */
async function killedAtGate(at: TestNode, more: JsonObject = {}): Promise<void> {
  const plan = [task('t', [step('a', gate('g')), step('b')])];
  const policies = { auto_revive: 'ask', ...(more['policies'] as JsonObject | undefined) };
  at.drop(mission('c', plan, { isolation_level: 'level_1', ...more, policies }));
  await at.waitsAt('c', 'g');
  await at.killWorker('c');
}

/** The same, and people are asked. */
async function askedFor(at: TestNode, more: JsonObject = {}): Promise<void> {
  await killedAtGate(at, more);
  await eventually(() => expect(requests(at, 'pending')).toEqual(['c.lead.1.json']));
}

describe('a request for people is a file', () => {
  test('it tells the whole story and the choices; moved to approved/, it is the answer', async () => {
    const at = await startNode();
    await askedFor(at);
    const file = request(at, 'pending');
    expect(file).toMatchObject({
      agent_id: 'lead',
      cell_id: 'c',
      status: 'pending_approval',
      reason: 'the worker was ended by SIGKILL during task t, step a',
      revived_at: null,
      story: [expect.stringContaining('failed:'), expect.stringContaining('asking:')],
    });
    const choices = file['choices'] as { choice: string; command: string }[];
    expect(choices.map(({ choice }) => choice)).toEqual([
      'retry',
      'previous_checkpoint',
      'substitute',
      'give_up',
    ]);
    expect(choices[0]?.command).toBe('lazarus revivals approve c.lead.1');
    move(at, 'approved');
    await eventually(() => expect(at.revival('c').status).toBe('revived'));
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(requests(at, 'pending')).toEqual([]);
    await eventually(() =>
      expect(request(at, 'approved')).toMatchObject({ status: 'revived', outcome: 'revived' }),
    );
  });

  test('moved to rejected/, the agent stays failed, and a person can still revive it', async () => {
    const at = await startNode();
    await askedFor(at);
    move(at, 'rejected');
    await eventually(() => expect(at.agent('c').reason).toContain('given up by whoever moved'));
    await eventually(() => expect(request(at, 'rejected')).toMatchObject({ outcome: 'rejected' }));
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });

  test('moved while no node runs, it is read at the next start', async () => {
    const at = await startNode();
    await askedFor(at);
    await at.restart({}, () => move(at, 'approved'));
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });

  test('answered by verb, the file goes where it belongs; put back and moved again, it says that it is too late', async () => {
    const at = await startNode({ rescanMs: 50 });
    await askedFor(at);
    const text = readFileSync(join(at.node.layout.revivals.pending, 'c.lead.1.json'), 'utf8');
    await at.tellLazarus('c', { type: 'revival.reject', by: 'me' });
    await eventually(() => expect(requests(at, 'rejected')).toEqual(['c.lead.1.json']));
    await eventually(() => expect(requests(at, 'pending')).toEqual([])); // it is whole there before it goes from here
    writeFileSync(join(at.node.layout.revivals.approved, 'c.lead.1.json'), text);
    await eventually(() =>
      expect(requests(at, 'approved')).toEqual(['c.lead.1.json', 'c.lead.1.json.error']),
    );
    await eventually(() => expect(at.revival('c').outcome).toBe('rejected')); // the file moves first
  });

  test('nobody answers: it lapses, and says so', async () => {
    const at = await startNode();
    await killedAtGate(at, { policies: { ask_expires: 0.2 } }); // it may be gone from pending/ before anybody looks
    await eventually(() => expect(requests(at, 'expired')).toEqual(['c.lead.1.json']));
    expect(at.revival('c')).toMatchObject({ outcome: 'expired', needs_person: true });
    await eventually(() => expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'expired' }));
  });
});

describe('a step that kills its worker every time', () => {
  const poison = (more: JsonObject): JsonObject =>
    mission(
      'c',
      [
        task('t', [step('a'), step('b', 'kill -9 $PPID; sleep 5')], { assigned_to: 'lead' }),
        task('after', [step('x')], { dependencies: ['t'] }),
        task('beside', [step('y')], { assigned_to: 'other' }),
      ],
      {
        isolation_level: 'level_1',
        agents: [agent('lead'), agent('other', { role: 'write' })],
        ...more,
      },
    );

  test('is not retried for ever: the dependants wait, the rest goes on, a person is asked', async () => {
    const at = await startNode();
    at.drop(poison({ policies: { auto_revive: 'yes', max_retries: 2 } }));
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), {
      timeoutMs: 20_000,
    });
    await at.taskIs('c', 'beside', 'completed');
    await eventually(() =>
      expect(at.task('c', 'after').blocked_reason).toBe('waits for t, whose agent lead failed'),
    );
    expect(at.counts('c')).toMatchObject({ 't/a': 1, 't/b': 3 });
    expect(at.revival('c').story.at(-1)).toContain('max_retries');
  });

  test('the task goes to a substitute with the steps that are done, when the policy says so', async () => {
    const at = await startNode();
    const script = 'if [ "$LAZARUS_AGENT" = lead ]; then kill -9 $PPID; sleep 5; fi';
    const file = poison({
      policies: {
        auto_revive: 'yes',
        max_retries: 1,
        handoff_approval: 'auto',
        substitute_agents: ['nobody', 'other'],
      },
    });
    file['tasks'] = [task('t', [step('a'), step('b', script)], { assigned_to: 'lead' })];
    at.drop(file);
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toMatchObject({ 't/a': 1, 't/b': 3 });
    await at.fileSays('c', 'tasks/t.json', { assigned_to: 'other', status: 'completed' });
    expect(at.cell('c').notes.at(-1)?.text).toContain('handed over from lead to other');
    expect(at.revival('c')).toMatchObject({ outcome: 'substituted' });
    expect(at.json('c', 'checkpoints/other/context.json')).toMatchObject({
      task_id: 't',
      taken_over_from: 'lead',
      their_checkpoint: { context_hash: expect.any(String) },
    });
    await eventually(() =>
      expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'substituted', substitute: 'other' }),
    );
  });

  test('a person hands it over: the request names who could, and the answer is an agent', async () => {
    const at = await startNode();
    at.drop(
      poison({
        policies: { auto_revive: 'yes', max_retries: 0, substitute_agents: ['other'] },
        tasks: [task('t', [step('a', gate('g'))], { assigned_to: 'lead' })],
      }),
    );
    await at.waitsAt('c', 'g');
    await at.killWorker('c');
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'));
    expect(at.revival('c').choices).toContainEqual(
      expect.objectContaining({ choice: 'substitute', means: expect.stringContaining('other') }),
    );
    await at.tellLazarus('c', { type: 'revival.substitute', by: 'me', agentId: 'other' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await at.fileSays('c', 'tasks/t.json', { assigned_to: 'other' });
  });
});

describe('a revival is verified', () => {
  test('a context that was damaged meanwhile is written anew, and the ledger says so', async () => {
    const at = await startNode();
    await askedFor(at);
    const path = 'checkpoints/lead/context.json';
    writeFileSync(at.path('c', path), '{"agent_id": "lead", "task');
    move(at, 'approved');
    await eventually(() => expect(at.revival('c').status).toBe('revived'));
    expect(at.json('c', path)).toMatchObject({ agent_id: 'lead', task_id: 't', steps_done: 0 });
    const hash = createHash('sha256').update(at.text('c', path)).digest('hex');
    await eventually(() =>
      expect(at.json('c', 'agents/lead.json')['checkpoint']).toMatchObject({ context_hash: hash }),
    );
    expect(at.revival('c').story.join('\n')).toContain(`written anew: ${path}`);
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });

  test('a checkpoint that was damaged meanwhile is written anew as well', async () => {
    const at = await startNode();
    await askedFor(at);
    writeFileSync(at.path('c', 'checkpoints/lead/state.json'), 'garbage');
    move(at, 'approved');
    await eventually(() => expect(at.revival('c').status).toBe('revived'));
    expect(at.revival('c').story.join('\n')).toContain('written anew: checkpoints/lead/state.json');
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await at.restart();
    await at.cellIs('c', 'completed');
  });

  test.each([
    ['a safe step that was cut off runs again', {}, 2],
    [
      'one that may have run is asked for by its probe, and does not run twice',
      { retry: 'probe', probe: ['test', '-e', 'artifacts/done'] },
      1,
    ],
  ])(
    'put back to the previous checkpoint, no finished step runs again; %s',
    async (_name, more, runs) => {
      const at = await startNode();
      const cutOff = step('b', `touch artifacts/done; ${gate('g')}`, more);
      at.drop(
        mission('c', [task('t', [step('a'), cutOff, step('c')])], {
          isolation_level: 'level_1',
          policies: { auto_revive: 'ask', checkpoint_interval: 0.1 },
        }),
      );
      await at.waitsAt('c', 'g');
      await eventually(() =>
        expect(readdirSync(at.path('c', 'checkpoints/lead')).join()).toMatch(/state\.\d+\.json/),
      );
      await at.killWorker('c');
      await eventually(() => expect(at.revival('c').status).toBe('pending_approval'));
      await at.tellLazarus('c', { type: 'revival.approve', by: 'me', rollBack: true });
      await eventually(() => expect(at.revival('c').status).toBe('revived'));
      expect(at.revival('c').story.join('\n')).toContain('put back to the checkpoint');
      at.open('c', 'g');
      await at.cellIs('c', 'completed');
      expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': runs, 't/c': 1 });
    },
  );
});

test('what an agent knows cannot be written: it has failed, and goes on when that is mended', async () => {
  const at = await startNode();
  at.drop(mission('c', [task('t', [step('a')])], { status: 'paused' }));
  await eventually(() => expect(at.cell('c').status).toBe('paused'));
  // Its actor is there: one that is made later would look for a checkpoint of an earlier life, and be held.
  await eventually(() => expect(at.node.kernel.system.has(agentAddress('c', 'lead'))).toBe(true));
  const { chmodSync, mkdirSync, rmSync, symlinkSync } = await import('node:fs');
  mkdirSync(at.path('c', 'checkpoints'), { recursive: true });
  rmSync(at.path('c', 'checkpoints/lead'), { recursive: true, force: true });
  symlinkSync('/nonexistent', at.path('c', 'checkpoints/lead'));
  chmodSync(at.path('c'), 0o755);
  await at.tell('c', { type: 'cell.resume' });
  await eventually(() => expect(at.agent('c').status).toBe('failed'), { timeoutMs: 20_000 });
  await eventually(() => expect(at.revival('c').signature).toContain('effect_error'));
  rmSync(at.path('c', 'checkpoints/lead'));
  await eventually(() => expect(at.revival('c').status).toMatch(/pending_approval|revived/), {
    timeoutMs: 20_000,
  });
  if (at.revival('c').status === 'pending_approval')
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
  await at.cellIs('c', 'completed');
  expect(at.counts('c')).toEqual({ 't/a': 1 });
});

describe('an agent whose own actor is held', () => {
  /** Every checkpoint of the agent is damaged while no node runs, and the cell's own records, that could stand in for them, are gone. */
  function damage(at: TestNode): () => void {
    const folder = at.path('c', 'checkpoints/lead');
    const files = readdirSync(folder).filter((name) => name.startsWith('state'));
    const whole = files.map((name) => ({ name, text: readFileSync(join(folder, name)) }));
    for (const { name } of whole) writeFileSync(join(folder, name), 'garbage');
    const records = at.path('c', '.lazarus/journal');
    renameSync(records, `${records}~`);
    return () => whole.forEach(({ name, text }) => writeFileSync(join(folder, name), text));
  }

  test('is reported with the reason and tried again; mended, a person lets it go on', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g')), step('b')])]));
    await at.waitsAt('c', 'g');
    let mend = (): void => {};
    await at.restart({}, () => (mend = damage(at)));
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'), {
      timeoutMs: 20_000,
    });
    expect(at.revival('c').reason).toContain('its actor is held');
    expect(at.revival('c').choices.map(({ choice }) => choice)).not.toContain(
      'previous_checkpoint',
    );
    await at.fileSays('c', 'agents/lead.json', { status: 'failed' });
    const isAsked = () =>
      expect(at.json('c', 'agents/lead.json')['status_reason']).toMatch(
        /^its actor is held: .*; waits for a person .*`lazarus revivals show c\.lead\.1`$/,
      );
    await eventually(isAsked);
    await at.restart(); // it is held again, and asked about as before
    await at.node.scanned;
    isAsked();
    mend();
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
    await eventually(() => expect(at.revival('c').status).toBe('revived'));
    await at.fileSays('c', 'agents/lead.json', { status: 'active' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });
});
