/**
 * A person is asked about an agent: with the whole story, and every answer leads somewhere. So does none. An answer counts
 * once, and for the request it was given to.
 */
import { describe, expect, test } from 'vitest';
import type { FileChange } from '../../machines/mission.ts';
import type { JsonObject } from '../../machines/json.ts';
import { agentFile, cellFile, EXIT_0, gone } from '../support/machine-world.ts';
import { SAVED, taskFile, VERIFIED } from '../support/machine-world.ts';
import type { MachineWorld } from '../support/machine-world.ts';
import { A, answer, BREAKS, bringTo, caseOf, comeBack } from '../support/breaking-agents.ts';
import { entryOf, failUntilFutile, finishTask, isAsking } from '../support/breaking-agents.ts';
import { LAZARUS_A, MANUAL, mission, missionWith, S } from '../support/breaking-agents.ts';
import { safeSteps, startWorker } from '../support/breaking-agents.ts';

const story = (world: MachineWorld): string => caseOf(world).story.join('\n');
const assignedTo = (world: MachineWorld): unknown => world.task('root')['assigned_to'];

describe('a person is asked, with the whole story', () => {
  /** After two revivals that brought nothing. */
  function asked(...extra: FileChange[]): MachineWorld {
    const world = missionWith(MANUAL, ...extra);
    failUntilFutile(world);
    expect(isAsking(world)).toBe(true);
    world.done(LAZARUS_A, 'ledger');
    return world;
  }

  test('what happened, what depends on it, what can be answered and with which command', () => {
    const world = missionWith(MANUAL);
    failUntilFutile(world);
    expect(entryOf(world)).toMatchObject({
      reason: 'the worker was ended by SIGKILL during task root, step one',
      signature: 'worker_exit:SIGKILL@root/one',
      because:
        '2 revivals brought no finished step (max_retries); worker_exit:SIGKILL@root/one came 3 times in a row',
      expires_at: new Date(world.clock.at + 86_400_000).toISOString(),
    });
    expect(entryOf(world).choices.map(({ choice, command }) => [choice, command])).toEqual([
      ['retry', 'lazarus revivals approve c1.a.3'],
      ['previous_checkpoint', 'lazarus revivals approve c1.a.3 --previous-checkpoint'],
      ['substitute', 'lazarus revivals approve c1.a.3 --substitute b'],
      ['give_up', 'lazarus revivals reject c1.a.3'],
    ]);
    expect(world.task('middle')['blocked_reason']).toBe('waits for root, whose agent a failed');
    expect(world.task('leaf')['blocked_reason']).toBe('waits for middle, which is blocked');
  });

  test('retry: it comes back, and its counters begin anew', () => {
    const world = asked();
    answer(world, 'approve', { revivalId: 'c1.a.3' });
    comeBack(world);
    expect(entryOf(world)).toMatchObject({
      outcome: 'revived',
      approved_by: 'ann',
      answered: 'retry',
    });
    world.done(LAZARUS_A, 'ledger');
    failUntilFutile(world); // one revival was the approved one
    expect(caseOf(world).history.map(({ outcome }) => outcome)).toEqual([
      'revived',
      'revived',
      'asking',
      'revived',
      'revived',
      'asking',
    ]);
  });

  test('roll back: its state is put back, the cell says what it has in hand, no finished step is run again', () => {
    const world = missionWith(MANUAL);
    const early = world.agent('a').persisted();
    world.done(A, 'step', EXIT_0);
    failUntilFutile(world);
    world.done(LAZARUS_A, 'ledger');
    answer(world, 'approve', { rollBack: true });
    expect(world.lazarus('a').value).toEqual({ reviving: 'rollingBack' });
    expect(world.agent('a').running.has('worker')).toBe(false);
    world.rollBack('a', early);
    world.done(LAZARUS_A, 'rollBack', { toSeq: 4 });
    startWorker(world);
    world.done(A, 'verify', VERIFIED);
    expect(entryOf(world)).toMatchObject({ outcome: 'revived', answered: 'roll_back' });
    expect(story(world)).toContain('its state was put back to the checkpoint at seq 4');
    expect(world.agent('a').running.get('step')?.input).toMatchObject({ stepIndex: 1 });
    finishTask(world, A);
    expect(world.task('root')).toMatchObject({ status: 'completed', attempts: 1 });
  });

  test('put back to a time before its task was given out, it is at its task all the same', () => {
    const paused = cellFile({ ...MANUAL.content, status: 'paused' });
    const world = mission([paused, agentFile('b')]);
    const early = world.agent('a').persisted();
    world.tell({ type: 'cell.resume' });
    bringTo(world, 'root');
    world.done(A, 'beginContext', SAVED);
    failUntilFutile(world);
    world.done(LAZARUS_A, 'ledger');
    answer(world, 'approve', { rollBack: true });
    world.rollBack('a', early);
    world.done(LAZARUS_A, 'rollBack', { toSeq: 1 });
    startWorker(world);
    world.done(A, 'verify', VERIFIED);
    expect(world.file('agents/a.json')).toMatchObject({ status: 'active', current_task: 'root' });
    finishTask(world, A);
    expect(world.task('root')).toMatchObject({ status: 'completed', attempts: 1 });
  });

  test('one that never stopped is put back: until it is verified it stands as failed', () => {
    const world = missionWith(MANUAL);
    const early = world.agent('a').persisted();
    world.done(A, 'step', EXIT_0);
    BREAKS.event_rejected.cause(world);
    answer(world, 'approve', { rollBack: true });
    world.rollBack('a', early);
    world.done(LAZARUS_A, 'rollBack', { toSeq: 4 });
    expect(world.file('agents/a.json')).toMatchObject({
      status: 'failed',
      status_reason: 'its state was put back; revival c1.a.1 is under way (attempt 1)',
    });
    startWorker(world);
    world.done(A, 'verify', VERIFIED);
    expect(world.file('agents/a.json')).toMatchObject({ status: 'active', current_task: 'root' });
  });

  test('roll back without an earlier checkpoint: it is asked again, with the reason, under the same id', () => {
    const world = asked();
    answer(world, 'approve', { rollBack: true });
    world.fails(LAZARUS_A, 'rollBack', 'agent a has no earlier checkpoint to go back to');
    expect(entryOf(world)).toMatchObject({
      revival_id: 'c1.a.3',
      outcome: 'asking',
      answered: null,
      because: 'its state was not put back: agent a has no earlier checkpoint to go back to',
    });
    answer(world, 'approve', { revivalId: 'c1.a.3' });
    comeBack(world);
    expect(entryOf(world)).toMatchObject({ outcome: 'revived', answered: 'retry' });
  });

  test.each<[string, JsonObject]>([
    ['the one named', { agentId: 'b' }],
    ['the policy’s own', { agentId: null }],
  ])('substitute: %s takes the task over', (_, fields) => {
    const world = asked();
    answer(world, 'substitute', fields);
    expect(assignedTo(world)).toBe('b');
    expect(entryOf(world)).toMatchObject({
      outcome: 'substituted',
      substitute: 'b',
      answered: 'substitute',
      approved_by: 'ann',
    });
  });

  test('substitute that cannot: it is asked again, with the reason, and the answer is free again', () => {
    const world = asked();
    answer(world, 'substitute', { agentId: 'nobody' });
    expect(entryOf(world)).toMatchObject({
      outcome: 'asking',
      answered: null,
      because: expect.stringContaining('there is no agent nobody'),
    });
    answer(world, 'substitute', { agentId: 'b' });
    expect(assignedTo(world)).toBe('b');
  });

  test('give up: it stays failed with its task, what does not depend on it goes on', () => {
    const world = asked();
    answer(world, 'reject', { revivalId: 'c1.a.3' });
    expect(entryOf(world)).toMatchObject({
      outcome: 'rejected',
      answered: 'give_up',
      status: 'failed',
    });
    expect(world.file('agents/a.json')).toMatchObject({
      status: 'failed',
      status_reason: expect.stringContaining('given up by ann'),
    });
    expect(world.task('middle')['blocked_reason']).toBe('waits for root, whose agent a failed');
    finishTask(world, S);
    expect(world.task('later')['status']).toBe('in_progress');
  });

  test('nobody answers: it lapses, the mission stands where it stood, and a later word still counts', () => {
    const world = asked();
    world.pass(86_400_000);
    world.done(LAZARUS_A, 'expiry');
    expect(entryOf(world)).toMatchObject({
      outcome: 'expired',
      because: 'nobody answered in time',
    });
    expect(world.task('root')['blocked_reason']).toContain('nobody answered in time');
    world.done(LAZARUS_A, 'ledger');
    answer(world, 'approve');
    comeBack(world);
    expect(entryOf(world)).toMatchObject({ revival_id: 'c1.a.4', outcome: 'revived' });
  });

  test('answered twice: the second is refused, and changes nothing', () => {
    const world = asked();
    answer(world, 'approve', { revivalId: 'c1.a.3' });
    const before = world.persisted();
    for (const what of ['approve', 'reject', 'substitute'])
      expect(() => answer(world, what, { revivalId: 'c1.a.3', agentId: null })).toThrowError(
        expect.objectContaining({ code: 'CONFLICT' }),
      );
    expect(world.persisted()).toEqual(before);
  });

  test('an answer to an older request is refused, and the one at hand stays open', () => {
    const world = asked();
    for (const revivalId of ['c1.a.1', 'c1.a.2', 'c1.a.9'])
      expect(() => answer(world, 'approve', { revivalId })).toThrowError(
        expect.objectContaining({ code: 'CONFLICT' }),
      );
    expect(isAsking(world)).toBe(true);
  });

  test.each(['actor_held', 'event_rejected'] as const)(
    'given %s, an agent that is removed: its case is closed, although it cannot say so itself',
    (kind) => {
      const world = missionWith(
        MANUAL,
        taskFile('root', { steps: safeSteps() }),
        agentFile('a', { policies: { auto_revive: 'ask' } }),
      );
      BREAKS[kind].cause(world);
      expect(isAsking(world)).toBe(true);
      expect(world.agent('a').snapshot.context.failures).toBe(0);
      world.done(LAZARUS_A, 'ledger');
      world.files(gone(agentFile('a')));
      expect(entryOf(world)).toMatchObject({ outcome: 'removed', status: 'failed', asked: true });
      expect(assignedTo(world)).toBe('b');
      world.done(LAZARUS_A, 'ledger');
      expect(world.lazarus('a').value).toBe('watching');
      expect(caseOf(world)).toMatchObject({ current: null, revivalId: null, faults: [] });
    },
  );

  test('an agent that never failed is removed: nobody is told, and there is nobody to tell', () => {
    const world = missionWith(MANUAL);
    world.files(gone(agentFile('b')));
    expect(world.actors.has('system/lazarus/c1/b')).toBe(false);
    const told = world.actor('cell/c1').sent.filter(({ to }) => to === 'system/lazarus/c1/b');
    expect(told).toMatchObject([{ event: { type: 'agent.removed' }, ifThere: true }]);
  });

  test('the agent is removed: the question is, too, its task goes to whoever can, and its id begins anew', () => {
    const world = asked(taskFile('root', { steps: safeSteps() }));
    world.files(gone(agentFile('a')));
    expect(entryOf(world)).toMatchObject({ outcome: 'removed', because: 'the agent was removed' });
    expect(assignedTo(world)).toBe('b');
    world.done(LAZARUS_A, 'ledger');
    expect(caseOf(world)).toMatchObject({ current: null, restarts: [], withoutProgress: 0 });
  });
});
