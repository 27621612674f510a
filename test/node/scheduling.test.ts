/** Who does what, and when; and that whoever waits is told why. */
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';

const command = (run: string) => ({ kind: 'command', run: ['sh', '-c', run] });

test('tasks go by dependency, then priority, then age, then name', async () => {
  const at = await startNode();
  const plan = [
    task('a-low', [step('s')], { priority: 'low' }),
    task('b-late', [step('s')], { created_at: '2026-02-02T00:00:00Z' }),
    task('c-early', [step('s')], { created_at: '2026-01-01T00:00:00Z' }),
    task('d-high', [step('s')], { priority: 'high', dependencies: ['z-root'] }),
    task('z-root', [step('s')], { priority: 'high' }),
  ];
  at.drop(mission('c', plan));
  await at.cellIs('c', 'completed');
  const order = at.runs('c').map((run) => run.split('/')[0]);
  expect(order).toEqual(['z-root', 'd-high', 'c-early', 'b-late', 'a-low']);
});

test('two agents share the work, each at one task at a time', async () => {
  const at = await startNode();
  const plan = [
    task('t1', [step('s', gate('one'))]),
    task('t2', [step('s', gate('two'))]),
    task('t3', [step('s')]),
  ];
  at.drop(mission('c', plan, { agents: [agent('x'), agent('y')] }));
  await at.waitsAt('c', 'one');
  await at.waitsAt('c', 'two');
  await at.fileSays('c', 'tasks/t3.json', { status: 'pending', blocked_reason: null });
  at.open('c', 'two');
  await at.fileSays('c', 'tasks/t3.json', { status: 'completed', assigned_to: 'y' });
  at.open('c', 'one');
  await at.cellIs('c', 'completed');
});

test('whatever keeps a task from being done is named in its file', async () => {
  const at = await startNode();
  const plan = [
    task('egg', [step('s')], { dependencies: ['hen'] }),
    task('hen', [step('s')], { dependencies: ['egg'] }),
    task('chick', [step('s')], { dependencies: ['egg'] }),
    task('missing', [step('s')], { dependencies: ['nothing'] }),
    task('writer', [step('s')], { requires: { role: 'audit' } }),
    task('skill', [step('s')], { requires: { capabilities: ['dance'] } }),
    task('stranger', [step('s')], { assigned_to: 'nobody' }),
    task('reader', [step('s')], { assigned_to: 'r' }),
    task('denied', [step('s')], { assigned_to: 'w' }),
    task('bare', [], {}),
  ];
  const agents = [agent('lead'), agent('r', { role: 'read' }), agent('w', { role: 'write' })];
  const config = { permissions: { w: { execute: ['other'] } } };
  at.drop(mission('c', plan, { agents, config }));
  const why: Record<string, string> = {
    egg: 'dependency cycle: egg -> hen -> egg',
    hen: 'dependency cycle: egg -> hen -> egg',
    chick: 'waits for egg, which is blocked',
    missing: 'waits for nothing, which does not exist',
    stranger: 'is assigned to nobody, which does not exist',
    reader: 'agent r has no right to execute reader: role read only reads',
    denied: 'agent w has no right to execute denied: config/permissions.json does not list it',
  };
  for (const [id, reason] of Object.entries(why))
    await at.fileSays('c', `tasks/${id}.json`, { status: 'pending', blocked_reason: reason });
  const reasonOf = (id: string) => at.json('c', `tasks/${id}.json`)['blocked_reason'];
  await eventually(() => {
    expect(reasonOf('writer')).toContain('agent lead has role lead, not audit');
    expect(reasonOf('skill')).toContain('agent lead lacks dance');
    expect(reasonOf('bare')).toContain('has no steps and no agent with a model');
  });
  expect(at.runs('c')).toEqual([]);
  expect(at.cell('c').status).toBe('active');
});

test('a reason goes when its cause does: files that are mended while the cell runs', async () => {
  const at = await startNode();
  const plan = [
    task('after', [step('s')], { dependencies: ['later'] }),
    task('skill', [step('s')], { requires: { capabilities: ['dance'] } }),
    task('denied', [step('s')], { assigned_to: 'w' }),
  ];
  const config = { permissions: { w: { execute: [] } } };
  at.drop(mission('c', plan, { agents: [agent('lead'), agent('w', { role: 'write' })], config }));
  await at.fileSays('c', 'tasks/after.json', {
    blocked_reason: 'waits for later, which does not exist',
  });
  at.write('c', 'tasks/later.json', task('later', [step('s')]));
  await at.taskIs('c', 'after', 'completed');
  at.edit('c', 'agents/lead.json', { capabilities: ['dance', 'sing'] });
  await at.taskIs('c', 'skill', 'completed');
  at.write('c', 'config/permissions.json', { w: { execute: ['denied'] } });
  await at.cellIs('c', 'completed');
  const file = await at.fileSays('c', 'tasks/denied.json', { status: 'completed' });
  expect(file).not.toHaveProperty('blocked_reason');
});

test('no more agents than max_agents are started, and the rest say so', async () => {
  const at = await startNode();
  const agents = [agent('a'), agent('b'), agent('c')];
  const plan = [task('t', [step('s', gate('g'))], { assigned_to: 'c' })];
  at.drop(mission('m', plan, { agents, max_agents: 2 }));
  await at.fileSays('m', 'agents/c.json', { status_reason: 'was not started: max_agents is 2' });
  await at.fileSays('m', 'tasks/t.json', {
    blocked_reason: 'waits for agent c, which was not started: max_agents is 2',
  });
  await at.request('m', 'cell.json', { max_agents: 3 });
  await at.waitsAt('m', 'g');
  at.open('m', 'g');
  await at.cellIs('m', 'completed');
});

test('a task without steps waits for an agent with a command, which gets the task on its stdin', async () => {
  const at = await startNode();
  at.drop(mission('c', [task('bare', [], { description: 'Do it', 'x-size': 3 })]));
  await eventually(() =>
    expect(at.json('c', 'tasks/bare.json')['blocked_reason']).toContain('runner'),
  );
  const runner = command('cat > artifacts/stdin.json; echo "$LAZARUS_AGENT" > artifacts/who');
  at.edit('c', 'agents/lead.json', { runner });
  await at.cellIs('c', 'completed');
  expect(at.text('c', 'artifacts/who')).toBe('lead\n');
  expect(at.json('c', 'artifacts/stdin.json')).toMatchObject({
    task_id: 'bare',
    description: 'Do it',
    'x-size': 3,
    assigned_to: 'lead',
    attempt: 1,
  });
});

test('an artifact that a task declares and does not make fails it', async () => {
  const at = await startNode();
  const plan = [task('t', [step('s')], { artifacts: ['report.txt', 'artifacts/other.txt'] })];
  at.drop(mission('c', plan, { policies: { auto_revive: 'yes', max_retries: 1 } }));
  await at.cellIs('c', 'failed');
  await at.fileSays('c', 'tasks/t.json', {
    status: 'failed',
    attempts: 2,
    blocked_reason: 'declared artifacts are missing: report.txt, artifacts/other.txt',
  });
});

test('success criteria: a command must succeed, a text must be confirmed', async () => {
  const at = await startNode();
  const criteria = [
    { name: 'proof', run: ['test', '-e', 'artifacts/proof'] },
    { name: 'looks good' },
  ];
  at.drop(mission('c', [task('t', [step('s')])], { success_criteria: criteria }));
  await at.cellIs('c', 'failed');
  await at.fileSays('c', 'cell.json', { status_reason: 'criterion proof does not hold: exit 1' });
  at.write('c', 'artifacts/proof', 'yes');
  await at.tell('c', { type: 'cell.resume' });
  await at.fileSays('c', 'cell.json', {
    status: 'active',
    status_reason: 'criterion looks good waits for a person to confirm it',
  });
  await expect(
    at.tell('c', { type: 'criterion.confirm', name: 'proof', by: 'me' }),
  ).rejects.toThrow('checked by a command');
  await at.tell('c', { type: 'criterion.confirm', name: 'looks good', by: 'me' });
  await at.cellIs('c', 'completed');
  expect(at.runs('c')).toEqual(['t/s']);
});
