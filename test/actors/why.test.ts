/** `why`: the answer from committed state, and the chain of causes with the place of every record. */
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readerOf, readVerb } from '../../actors/control.ts';
import { readOffline } from '../../actors/offline.ts';
import { decodeRecord } from '../../actors/records.ts';
import { explain } from '../../actors/why/explain.ts';
import type { Explanation } from '../../actors/why/explanation.ts';
import { historyOf } from '../../actors/why/history.ts';
import type { History } from '../../actors/why/history.ts';
import { homesOf } from '../../actors/why/newest-first.ts';
import { redacted } from '../../actors/why/words.ts';
import { missionsLayout } from '../../cells/layout.ts';
import { recordAt } from '../../cells/record-places.ts';
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const why = (node: TestNode, what: string): Explanation => explain(readerOf(node.node), what);

function chainOf(node: TestNode, told: Explanation, limit = 40): History {
  const { journal, root } = missionsLayout(node.missions);
  const cellDirs = homesOf(told.focus, (cellId) => join(root, cellId));
  const toLsn = node.node.kernel.committedLsn();
  return historyOf({ journalFolder: journal, cellDirs, toLsn }, told.focus, limit);
}

const textsOf = ({ records }: History): string[] =>
  records.map(({ who, text }) => `${who}: ${text}`);

/** Every place leads back to the record it was printed for, and every cause to a record before its effect. */
function holdsTogether({ records }: History): void {
  const known = new Map(records.map((record) => [`${record.address}#${record.seq}`, record]));
  for (const record of records) {
    const { file, record: n, offset, length } = record.place;
    const found = recordAt(file, n);
    expect(found?.place).toEqual({ file, record: n, offset, length });
    expect(decodeRecord(found?.line ?? '')).toMatchObject({ a: record.address, n: record.seq });
    const cause = record.cause === null ? undefined : known.get(record.cause);
    if (cause) expect(cause.at <= record.at).toBe(true);
    if (record.origin === null && !record.is_cause && !record.lost_cause)
      expect(cause, `${record.text} is caused by ${record.cause}`).toBeDefined();
  }
}

async function withKilledWorker(): Promise<TestNode> {
  const node = await startNode();
  node.drop(
    mission(
      'c',
      [
        task('t', [step('s', gate('g'), { retry: 'never' })]),
        task('u', [step('x')], { dependencies: ['t'] }),
      ],
      {
        isolation_level: 'level_1',
        policies: { auto_revive: 'ask' },
      },
    ),
  );
  await node.waitsAt('c', 'g');
  await node.killWorker('c');
  await eventually(() => {
    if (node.node.status().in_doubt.length === 0) throw new Error('nothing in doubt');
  });
  await node.fileSays('c', 'agents/lead.json', { status: 'failed' });
  return node;
}

describe('given a worker that was killed in a step that is never repeated, and a policy that asks', () => {
  test('why is its agent failed: the signal, the policy and the file it stands in, what can be answered and until when', async () => {
    const node = await withKilledWorker();
    const told = why(node, 'lead');
    expect(told.answer).toContain(
      'Agent lead failed: the worker was ended by SIGKILL during task t, step s.',
    );
    expect(told.answer).toContain('Lazarus asks a person');
    expect(told.policies[0]).toMatchObject({
      name: 'auto_revive',
      value: 'ask',
      path: 'cell.json',
      pointer: '/policies/auto_revive',
      decided: true,
    });
    expect(told.needs.map(({ command }) => command)).toContain('lazarus revivals approve c.lead.1');
    expect(told.next.find(({ what }) => what.includes('lapses'))?.at).toMatch(/^\d{4}-/);
    const chain = chainOf(node, told);
    holdsTogether(chain);
    const exit = chain.records.find(({ type }) => type === 'xstate.done.actor.worker');
    expect(exit).toMatchObject({
      origin: 'worker',
      text: expect.stringContaining('its worker is gone: SIGKILL') as string,
    });
    const failed = chain.records.find(({ type }) => type === 'agent.failed');
    expect(failed?.cause).toBe(`${exit?.address}#${exit?.seq}`);
  });

  test('why is the task in doubt, and why does the one behind it wait: both name the step, and the command that settles it', async () => {
    const node = await withKilledWorker();
    const doubt = why(node, 'c/t');
    expect(doubt.answer).toMatch(
      /^Task t is in doubt: step s was cut off and may have run\. Its file says retry "never"/,
    );
    expect(doubt.needs[0]).toMatchObject({ command: 'lazarus doubt done|retry|fail c/t' });
    const chain = chainOf(node, doubt);
    holdsTogether(chain);
    expect(chain.records.some(({ type }) => type === 'actor.started')).toBe(true);
    expect(chain.records[0]).toMatchObject({ type: 'files.changed', origin: 'file edit' });
    const behind = why(node, 'u');
    expect(behind.answer).toContain('At the root of it: task t is in_progress');
    expect(behind.needs[0]).toMatchObject({ command: 'lazarus doubt done|retry|fail c/t' });
  });

  test('why that effect, by its key: it began, has no outcome, and waits for a person', async () => {
    const node = await withKilledWorker();
    const { key } = node.doubt('c');
    const told = why(node, key);
    expect(told.answer).toContain('is in doubt');
    const types = chainOf(node, told).records.map(({ type }) => type);
    expect(types).toContain('actor.started');
    expect(types).not.toContain('xstate.done.actor.step');
    await node.settle('c', 'done');
    const over = why(node, key);
    expect(over.answer).toContain('is over');
  });

  test('why that revival, by its id: the same case', async () => {
    const node = await withKilledWorker();
    const told = why(node, 'c.lead.1');
    expect(told).toMatchObject({ kind: 'revival', id: 'c.lead.1', cell_id: 'c' });
    expect(told.story.length).toBeGreaterThan(0);
    expect(chainOf(node, told).records.some(({ type }) => type === 'agent.failed')).toBe(true);
  });

  test('when no node runs, then the same is said from the files alone, and nothing is written', async () => {
    const node = await withKilledWorker();
    const copy = join(temporaryMissions(), 'copy');
    cpSync(node.missions, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') });
    const reader = await readOffline(copy);
    const [up, down] = [why(node, 'lead'), explain(reader, 'lead')];
    expect(down.answer).toBe(up.answer);
    expect(down.policies).toEqual(up.policies);
    expect(readVerb(reader, 'why', { subject: 'lead' })).toMatchObject({ running: false });
  });
});

describe('given tasks that end as they should, or not', () => {
  test('a failed step: the exit code, that it is not tried again and why, from the file edit to the end of the step', async () => {
    const node = await startNode();
    node.drop(mission('c', [task('t', [step('s', 'exit 3', { retry: 'never' })])]));
    await node.taskIs('c', 't', 'failed');
    const told = why(node, 't');
    expect(told.answer).toBe(
      'Task t failed for good: step s exited with code 3. It is not tried again by itself: step s is not declared retry "safe".',
    );
    expect(told.needs).toEqual([{ what: 'to try it again', command: 'lazarus task retry c/t' }]);
    const chain = chainOf(node, told);
    holdsTogether(chain);
    expect(textsOf(chain)).toContain('agent lead: the step ended: exit code 3');
    expect(textsOf(chain).at(-1)).toBe('mission: task t: failed, step s exited with code 3');
  });

  test('a paused mission, a paused agent, a task that nobody can do: each says so, with the command that goes on', async () => {
    const node = await startNode();
    node.drop(
      mission('c', [
        task('t', [step('s', gate('g'))]),
        task('w', [step('x')], { assigned_to: 'nobody' }),
      ]),
    );
    await node.waitsAt('c', 'g');
    expect(why(node, 'w').answer).toMatch(/^Task w waits: .*nobody/);
    await node.tell('c', { type: 'cell.pause' });
    expect(why(node, 't').answer).toContain(
      'stands still when step s has ended: the mission is paused',
    );
    expect(why(node, 't').needs).toContainEqual({
      what: 'to let the mission go on',
      command: 'lazarus cell resume c',
    });
    expect(why(node, 'c').answer).toContain('Mission c is paused');
    node.open('c', 'g');
  });

  test('a revival that succeeded is told afterwards', async () => {
    const node = await startNode();
    node.drop(mission('c', [task('t', [step('s', gate('g'))])], { isolation_level: 'level_1' }));
    await node.waitsAt('c', 'g');
    await node.killWorker('c');
    node.open('c', 'g');
    await node.cellIs('c', 'completed');
    await eventually(() => {
      if (!why(node, 'lead').answer.includes('Lazarus brought it back')) throw new Error('not yet');
    });
    expect(why(node, 'c.lead.1').answer).toMatch(
      /^At .* Lazarus brought it back \(failure: worker_exit:SIGKILL/,
    );
  });
});

describe('history', () => {
  test('given a clean stop and start, when the records have left the shared journal, then the chain is the same from the copies', async () => {
    const node = await startNode();
    node.drop(mission('c', [task('t', [step('s'), step('r', 'exit 1', { retry: 'never' })])]));
    await node.taskIs('c', 't', 'failed');
    const before = chainOf(node, why(node, 't'));
    await node.restart();
    const after = chainOf(node, why(node, 't'));
    expect(textsOf(after)).toEqual(textsOf(before));
    expect(after.records[0]?.place.file).toContain(join('c', '.lazarus', 'journal'));
    expect(after.dropped_before).toBeNull();
    holdsTogether(after);
  });

  test('given that the oldest records were dropped, then it says where history begins', async () => {
    const node = await startNode();
    node.drop(mission('c', [task('t', [step('s', gate('g'))])]));
    await node.waitsAt('c', 'g');
    await node.restart({}, () => {
      const folder = node.path('c', '.lazarus/journal');
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
    });
    node.open('c', 'g');
    await node.taskIs('c', 't', 'completed');
    const chain = chainOf(node, why(node, 't'));
    expect(chain.dropped_before).toMatch(/^\d{4}-/);
    expect(chain.records.some(({ text }) => text.includes('completed'))).toBe(true);
  });

  test('given more records than the limit, then the newest are told with their causes, and that there are more', async () => {
    const node = await startNode();
    node.drop(
      mission('c', [
        task(
          't',
          Array.from({ length: 8 }, (_, i) => step(`s${i}`)),
        ),
      ]),
    );
    await node.taskIs('c', 't', 'completed');
    const chain = chainOf(node, why(node, 't'), 2);
    expect(chain.more).toBe(true);
    expect(chain.records.filter(({ is_cause: isCause }) => !isCause)).toHaveLength(2);
    expect(textsOf(chain).at(-1)).toContain('completed');
    holdsTogether(chain);
  });

  test('given a record, then what led to it and what it caused are told', async () => {
    const node = await startNode();
    node.drop(mission('c', [task('t', [step('s')])]));
    await node.cellIs('c', 'completed');
    const assigned = chainOf(node, why(node, 't')).records.find(
      ({ type }) => type === 'task.assigned',
    );
    const told = why(node, `${assigned?.address}#${assigned?.seq}`);
    const types = chainOf(node, told).records.map(({ type }) => type);
    expect(types).toEqual(
      expect.arrayContaining(['files.changed', 'task.assigned', 'task.progressed']),
    );
  });

  test('what is named like a secret is not shown', () => {
    expect(redacted({ a: [{ api_key: 'x', b: 1 }], token: 't' })).toEqual({
      a: [{ api_key: '[redacted]', b: 1 }],
      token: '[redacted]',
    });
  });
});

describe('what can be asked about', () => {
  test('a name that can mean several things is refused with the names that mean one', async () => {
    const node = await startNode();
    for (const id of ['one', 'two'])
      node.drop(
        mission(id, [task('lead', [step('s', gate('g'))])], {
          agents: [agent('lead'), agent('x')],
        }),
      );
    await node.waitsAt('one', 'g');
    await node.waitsAt('two', 'g');
    expect(() => why(node, 'lead')).toThrow(RuntimeError);
    const names = [`${cellAddress('one')}/task/lead`, agentAddress('one', 'lead')];
    for (const name of names) expect(() => why(node, 'one/lead')).toThrow(name);
    expect(why(node, names[0] ?? '').kind).toBe('task');
    expect(why(node, names[1] ?? '').kind).toBe('agent');
    expect(() => why(node, 'x')).toThrow(/can mean/);
    expect(() => why(node, 'nothing')).toThrow(/nothing is called nothing/);
    expect(() => why(node, 'cell/none/agent/a')).toThrow(/no actor lives/);
    for (const id of ['one', 'two']) node.open(id, 'g');
  });
});
