/** Where steps run: in the host, in a worker of the agent's own, or nowhere when the host lacks what was asked for. */
import { existsSync, rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';

test('at level none a step is a child of the node, at level_1 of the agent’s worker', async () => {
  const at = await startNode();
  const tell = step('tell', `echo $PPID > artifacts/parent; ${gate('g')}`);
  at.drop(mission('none', [task('t', [tell])]));
  at.drop(mission('one', [task('t', [tell])], { isolation_level: 'level_1' }));
  for (const id of ['none', 'one']) await at.waitsAt(id, 'g');
  expect(at.agent('none').pid).toBeNull();
  const worker = await eventually(() => {
    const { pid, health } = at.agent('one');
    expect(health).toBe('healthy');
    return pid;
  });
  expect(Number(at.text('none', 'artifacts/parent'))).toBe(process.pid);
  expect(Number(at.text('one', 'artifacts/parent'))).toBe(worker);
  for (const id of ['none', 'one']) at.open(id, 'g');
  for (const id of ['none', 'one']) await at.cellIs(id, 'completed');
});

test('a step sees its place and nothing of the runtime’s own environment', async () => {
  process.env['A_SECRET_OF_THE_HOST'] = 'token';
  const at = await startNode();
  const plan = [task('t', [step('s', 'env | sort > artifacts/env; pwd > artifacts/pwd')])];
  for (const level of ['none', 'level_1']) {
    at.drop(mission(level, plan, { isolation_level: level }));
    await at.cellIs(level, 'completed');
    const env = at.text(level, 'artifacts/env');
    expect(env).not.toContain('A_SECRET_OF_THE_HOST');
    for (const line of [`LAZARUS_CELL=${level}`, 'LAZARUS_AGENT=lead', 'LAZARUS_TASK=t'])
      expect(env).toContain(`${line}\n`);
    for (const line of ['LAZARUS_STEP=s', 'LAZARUS_ATTEMPT=1', 'LAZARUS_KEY=cell/'])
      expect(env).toContain(line);
    expect(at.text(level, 'artifacts/pwd').trim()).toBe(at.path(level).replace(/\/$/, ''));
  }
  delete process.env['A_SECRET_OF_THE_HOST'];
});

test('what this host cannot give holds the cell, with its name', async () => {
  const at = await startNode();
  const plan = [task('t', [step('s')])];
  const asked: Record<string, object> = {
    l2: { isolation_level: 'level_2' },
    l3: { isolation_level: 'level_3' },
    cpu: { config: { isolation: { resource_limits: { cpu: '2 cores', memory: '4GB' } } } },
    net: { config: { isolation: { network_isolation: true } } },
    user: { config: { isolation: { security_context: { user: 'nobody' } } } },
    stricter: { config: { isolation: { level: 'level_3' } } },
  };
  for (const [id, more] of Object.entries(asked)) at.drop(mission(id, plan, { ...more }));
  const missing: Record<string, string> = {
    l2: 'isolation level_2 is not available on this host',
    l3: 'isolation level_3 is not available on this host',
    cpu: 'this host cannot enforce cpu, memory as config/isolation.json asks',
    net: 'this host cannot enforce network as config/isolation.json asks',
    user: 'this host cannot enforce user as config/isolation.json asks',
    stricter: 'isolation level_3 is not available on this host',
  };
  for (const [id, reason] of Object.entries(missing)) {
    await at.cellIs(id, 'held');
    expect(at.cell(id).reason).toContain(reason);
    await eventually(() => {
      expect(at.json(id, 'cell.json')['status_reason']).toContain(reason);
      expect(at.json(id, 'cell.json')['status']).toBe('paused');
    });
    expect(at.runs(id)).toEqual([]);
  }
  expect(at.cell('stricter').isolation_level).toBe('level_3');
  expect(at.cell('stricter').notes.map(({ text }) => text)).toEqual([
    'cell.json asks for none, config/isolation.json for level_3: the stricter level_3 holds',
  ]);
});

test('a limit with on_unavailable "show" runs without it; a level never does', async () => {
  const at = await startNode();
  const plan = [task('t', [step('s')])];
  const limits = { resource_limits: { cpu: '2 cores' }, on_unavailable: 'show' };
  at.drop(mission('limit', plan, { config: { isolation: limits } }));
  const level = { level: 'level_2', on_unavailable: 'show' };
  at.drop(mission('level', plan, { config: { isolation: level } }));
  await at.cellIs('limit', 'completed');
  expect(at.cell('limit').limits).toEqual([{ name: 'cpu', enforced: false }]);
  await at.cellIs('level', 'held');
});

test('a held cell goes on when its files ask for less', async () => {
  const at = await startNode();
  at.drop(mission('c', [task('t', [step('s')])], { isolation_level: 'level_2' }));
  await at.cellIs('c', 'held');
  await at.request('c', 'cell.json', { isolation_level: 'level_1' });
  await at.cellIs('c', 'completed');
  expect(at.runs('c')).toEqual(['t/s']);
});

test('a worker ends when its agent is removed, and when the node stops', async () => {
  const at = await startNode();
  const plan = [task('t', [step('s', gate('g'))]), task('u', [step('s', gate('h'))])];
  const agents = [agent('a'), agent('b')];
  at.drop(mission('c', plan, { agents, isolation_level: 'level_1' }));
  await at.waitsAt('c', 'g');
  await at.waitsAt('c', 'h');
  const isGone = (pid: number): void => expect(existsSync(`/proc/${pid}`)).toBe(false);
  const [a = 0, b = 0] = ['a', 'b'].map((id) => Number(at.agent('c', id).pid));
  rmSync(at.path('c', 'agents/a.json'));
  await eventually(() => isGone(a));
  await at.stop();
  isGone(b);
});
