/** Time limits, pauses, cancelling and trying again, in the middle of work. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';

const ONCE = { auto_revive: 'yes', max_retries: 0 };

describe('time limits', () => {
  test('of a step, a task and a cell end what runs too long and say so', async () => {
    const at = await startNode();
    const long = gate('never-opened');
    const limits = { policies: ONCE };
    at.drop(mission('long-step', [task('t', [step('s', long, { timeout: 0.2 })])], limits));
    at.drop(mission('long-task', [task('t', [step('s', long)], { timeout: 0.2 })], limits));
    const two = [task('t', [step('s', long)]), task('u', [step('s')])];
    at.drop(mission('long-cell', two, { ...limits, timeout: 0.4 }));
    await at.cellIs('long-step', 'failed');
    await at.fileSays('long-step', 'tasks/t.json', {
      status: 'failed',
      blocked_reason: 'step s ran longer than its timeout of 0.2 s',
    });
    await at.cellIs('long-task', 'failed');
    await at.fileSays('long-task', 'tasks/t.json', {
      status: 'failed',
      blocked_reason: 'the task ran longer than its timeout of 0.2 s',
    });
    await at.cellIs('long-cell', 'failed');
    await at.fileSays('long-cell', 'cell.json', {
      status_reason: 'timeout: ran longer than 0.4 s',
    });
    await at.fileSays('long-cell', 'tasks/t.json', { status: 'pending' });
    await at.fileSays('long-cell', 'agents/lead.json', { status: 'idle', current_task: null });
  });

  test('a cell that timed out goes on when it is asked to, with its time anew', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('s', gate('g'))])], { timeout: 0.4 }));
    await at.cellIs('c', 'failed');
    at.open('c', 'g');
    await at.tell('c', { type: 'cell.resume' });
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/s': 2 });
  });

  test('neither a pause nor the time without a node counts', async () => {
    const at = await startNode();
    const plan = [task('t', [step('a', gate('g')), step('b')], { timeout: 1 })];
    at.drop(mission('c', plan, { policies: ONCE, timeout: 1 }));
    await at.waitsAt('c', 'g');
    await at.tell('c', { type: 'cell.pause' });
    at.open('c', 'g');
    await at.cellIs('c', 'paused');
    await at.fileSays('c', 'tasks/t.json', { status: 'in_progress' });
    await sleep(600);
    await at.restart();
    await sleep(600);
    await at.tell('c', { type: 'cell.resume' });
    await at.cellIs('c', 'completed');
  });
});

describe('pauses', () => {
  test('a paused cell finishes its step and begins nothing; resumed, it goes on where it was', async () => {
    const at = await startNode();
    const plan = [task('t', [step('a', gate('g')), step('b')]), task('u', [step('a')])];
    at.drop(mission('c', plan));
    await at.waitsAt('c', 'g');
    await at.tell('c', { type: 'cell.pause' });
    await at.cellIs('c', 'paused');
    at.open('c', 'g');
    await at.fileSays('c', 'agents/lead.json', { status: 'paused', current_task: 't' });
    await expect.poll(() => at.task('c', 't').steps_done).toBe(1);
    await sleep(200);
    expect(at.runs('c')).toEqual(['t/a']);
    expect(at.task('c', 't')).toMatchObject({ status: 'in_progress', current_step: null });
    await at.tell('c', { type: 'cell.resume' });
    await at.cellIs('c', 'completed');
    expect(at.runs('c')).toEqual(['t/a', 't/b', 'u/a']);
  });

  test('a paused agent rests, the others go on with what is theirs', async () => {
    const at = await startNode();
    const plan = [
      task('t', [step('a', gate('g')), step('b')], { assigned_to: 'x' }),
      task('u', [step('a')], { assigned_to: 'x' }),
      task('v', [step('a', gate('h'))], { assigned_to: 'y' }),
      task('w', [step('a')]),
    ];
    at.drop(mission('c', plan, { agents: [agent('x'), agent('y')] }));
    await at.waitsAt('c', 'g');
    await at.waitsAt('c', 'h');
    await at.tell('c', { type: 'agent.pause', agentId: 'x' });
    for (const name of ['g', 'h']) at.open('c', name);
    await at.taskIs('c', 'w', 'completed');
    await at.fileSays('c', 'tasks/u.json', {
      blocked_reason: 'waits for agent x, which is paused',
    });
    await at.fileSays('c', 'agents/x.json', { status: 'paused', current_task: 't' });
    await at.fileSays('c', 'agents/y.json', { status: 'idle' });
    await at.restart();
    expect(at.agent('c', 'x').status).toBe('paused');
    expect(at.counts('c')['t/b']).toBeUndefined();
    await at.tell('c', { type: 'agent.resume', agentId: 'x' });
    await at.cellIs('c', 'completed');
    expect(Object.values(at.counts('c'))).toEqual([1, 1, 1, 1, 1]);
  });

  test('a cell that is dropped as paused does nothing until it is resumed', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a')])], { status: 'paused' }));
    await at.cellIs('c', 'paused');
    await at.fileSays('c', 'tasks/t.json', { status: 'pending' });
    expect(at.runs('c')).toEqual([]);
    await at.request('c', 'cell.json', { status: 'active' });
    await at.cellIs('c', 'completed');
  });
});

describe('failures of steps', () => {
  test('safe steps are tried again up to max_retries, and the whole attempt runs again', async () => {
    const at = await startNode();
    const plan = [task('t', [step('a'), step('b', 'false')])];
    at.drop(mission('c', plan, { policies: { auto_revive: 'yes', max_retries: 2 } }));
    await at.cellIs('c', 'failed');
    expect(at.counts('c')).toEqual({ 't/a': 3, 't/b': 3 });
    const file = await at.fileSays('c', 'tasks/t.json', {
      status: 'failed',
      attempts: 3,
      blocked_reason: 'step b exited with code 1',
    });
    expect(file['result']).toMatchObject({
      stepsDone: 1,
      exitCode: 1,
      error: { code: 'STEP_FAILED' },
    });
    expect(at.json('c', 'cell.json')['status_reason']).toBe(
      'task t failed (step b exited with code 1) and nothing else can go on',
    );
  });

  test('with a step that must not run twice the task fails at once; a retry keeps what is done', async () => {
    const at = await startNode();
    const flaky = 'test -e artifacts/mended';
    const plan = [task('t', [step('a', 'true', { retry: 'never' }), step('b', flaky)])];
    at.drop(mission('c', plan));
    await at.cellIs('c', 'failed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
    at.write('c', 'artifacts/mended', 'yes');
    await at.tell('c', { type: 'task.retry', taskId: 't' });
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 2 });
    await at.fileSays('c', 'tasks/t.json', { attempts: 2, status: 'completed' });
  });

  test('a program that does not exist is a failure like any other', async () => {
    const at = await startNode();
    const plan = [task('t', [{ name: 's', run: ['no-such-program'], retry: 'safe' }])];
    at.drop(mission('none', plan, { policies: ONCE }));
    at.drop(mission('one', plan, { policies: ONCE, isolation_level: 'level_1' }));
    for (const id of ['none', 'one']) {
      await at.cellIs(id, 'failed');
      await at.fileSays(id, 'tasks/t.json', { blocked_reason: 'step s exited with code 127' });
    }
  });

  test('a cancelled task ends its step; the rest goes on, and the cell says what it lacks', async () => {
    const at = await startNode();
    const plan = [task('t', [step('a', gate('g'))]), task('u', [step('a')])];
    at.drop(mission('c', plan));
    await at.waitsAt('c', 'g');
    await at.tell('c', { type: 'task.cancel', taskId: 't', reason: 'no longer needed' });
    await at.taskIs('c', 'u', 'completed');
    await at.cellIs('c', 'failed');
    await at.fileSays('c', 'tasks/t.json', {
      status: 'failed',
      blocked_reason: 'cancelled: no longer needed',
    });
    await expect(
      at.tell('c', { type: 'task.cancel', taskId: 't', reason: 'twice' }),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(at.tell('c', { type: 'task.retry', taskId: 'u' })).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  });
});
