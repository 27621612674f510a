/** `lazarus inject`, with a node and without one. */
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { isUp, lazarus, missionsFolder, Running, writeCell } from '../support/cli.ts';

const TASKS = [{ task_id: 't', steps: [{ name: 's', run: ['sleep', '600'], retry: 'safe' }] }];

test('given a node, then a public event is taken, one with an id once, and anything else is refused with what there is', async () => {
  const missions = missionsFolder();
  writeCell(missions, 'm', { tasks: TASKS });
  const node = Running.of(missions, 'up', '--http', 'off');
  await isUp(missions, node);
  await eventually(async () => {
    const { out } = await lazarus(missions, 'cell', 'list');
    expect(out).toContain('active');
  });
  const pause = '{"type": "cell.pause", "id": "once"}';
  const first = await lazarus(missions, 'inject', 'cell/m', pause, '--json');
  expect(first.err).toBe('');
  expect(first.code).toBe(0);
  expect(first.json()).toMatchObject({ ok: true, to: 'cell/m' });
  const again = await lazarus(missions, 'inject', 'cell/m', pause, '--json');
  expect(again.json()).toMatchObject({ ok: true, duplicate: true, seq: first.json()['seq'] });
  const own = await lazarus(missions, 'inject', 'cell/m', '{"type": "task.finished"}');
  expect(own.code).not.toBe(0);
  expect(own.err).toContain('cell.pause');
});

test('given no event or none that is JSON, then it is a misuse; given no address, what may be sent is listed', async () => {
  const missions = missionsFolder();
  const garbage = await lazarus(missions, 'inject', 'cell/m', 'nonsense');
  expect(garbage.code).toBe(2);
  expect(garbage.err).toContain('no JSON object');
  const list = await lazarus(missions, 'inject');
  expect(list.code).toBe(0);
  expect(list.out).toContain('task.retry');
});
