/** A cell that waits costs no memory, is shown all the same, and wakes for whatever concerns it. */
import { expect, test } from 'vitest';
import { mission, startNode, step, task } from '../support/node.ts';

test('an idle cell sleeps; looking at it does not wake it', async () => {
  const at = await startNode();
  at.drop(mission('c', [task('t', [step('a')])]));
  await at.cellIs('c', 'completed');
  await at.taskIs('c', 't', 'completed');
  await at.asleep('c');
  expect(at.cell('c').status).toBe('completed');
  await at.node.door.lookAt('c');
  await at.node.projector.project('c');
  expect(at.isAwake('c')).toBe(false);
});

test('it wakes for a file, for an event and for its timeout, and goes on as if it had not slept', async () => {
  const at = await startNode();
  const waits = task('t', [step('a')], { dependencies: ['later'] });
  const limit = { success_criteria: [{ name: 'nice' }] };
  at.drop(mission('file', [waits]));
  at.drop(mission('event', [task('t', [step('a')])], { status: 'paused' }));
  at.drop(mission('timer', [task('t', [step('a')])], { ...limit, timeout: 1 }));
  await at.fileSays('file', 'tasks/t.json', {
    blocked_reason: 'waits for later, which does not exist',
  });
  await at.cellIs('event', 'paused');
  await at.fileSays('timer', 'cell.json', {
    status_reason: 'criterion nice waits for a person to confirm it',
  });
  for (const id of ['file', 'event', 'timer']) await at.asleep(id);

  at.write('file', 'tasks/later.json', task('later', [step('a')]));
  await at.cellIs('file', 'completed');
  await at.tell('event', { type: 'cell.resume' });
  await at.cellIs('event', 'completed');
  await at.cellIs('timer', 'failed');
  await at.fileSays('timer', 'cell.json', { status_reason: 'timeout: ran longer than 1 s' });
  expect(at.runs('file')).toEqual(['later/a', 't/a']);
});

test('its timer is kept over a restart while it sleeps', async () => {
  const at = await startNode();
  const limit = { success_criteria: [{ name: 'nice' }], timeout: 1 };
  at.drop(mission('c', [task('t', [step('a')])], limit));
  await at.fileSays('c', 'cell.json', {
    status_reason: 'criterion nice waits for a person to confirm it',
  });
  await at.asleep('c');
  await at.restart();
  await at.cellIs('c', 'failed');
});
