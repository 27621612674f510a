/** Workers are killed, as an operator would with `kill -9`, and the work goes on. */
import { describe, expect, test } from 'vitest';
import { LiveWorkers } from '../../actors/live-workers.ts';
import { WorkerPool } from '../../actors/worker-pool.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const T = 'tasks/t.json';

/** A mission with a worker, whose first step stands at the gate `g`. */
async function atGate(
  at: TestNode,
  id: string,
  first: JsonObject = {},
  more: JsonObject = {},
): Promise<void> {
  const plan = [task('t', [step('a', gate('g'), first), step('b')])];
  at.drop(mission(id, plan, { isolation_level: 'level_1', ...more }));
  await at.waitsAt(id, 'g');
  await eventually(() => expect(at.agent(id).pid).not.toBeNull());
}

/** No agent may be called active with a process that is gone, whenever one looks. */
function watchPids(at: TestNode): () => void {
  const wrong: unknown[] = [];
  const timer = setInterval(() => {
    for (const { agents } of at.node.status().cells)
      for (const { pid, status } of agents)
        if (pid !== null && !isAlive(pid)) wrong.push({ pid, status });
  }, 1);
  return () => {
    clearInterval(timer);
    expect(wrong).toEqual([]);
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('a worker is killed', () => {
  test('in a safe step: it runs again in the next worker, and the ledger has a line', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    const stopWatching = watchPids(at);
    const pid = await at.killWorker('c');
    await eventually(() => {
      const { pid: next } = at.agent('c');
      expect(next).not.toBeNull();
      expect(next).not.toBe(pid);
    });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    stopWatching();
    expect(at.counts('c')).toEqual({ 't/a': 2, 't/b': 1 });
    await at.fileSays('c', T, { attempts: 1 });
    expect(at.agent('c').revivals).toBe(1);
    await eventually(() =>
      expect(at.ledger('c')).toMatchObject([
        {
          revival_id: 'c.lead.1',
          agent_id: 'lead',
          status: 'revived',
          signature: 'worker_exit:SIGKILL@t/a',
          reason: 'the worker was ended by SIGKILL during task t, step a',
          attempts: 1,
        },
      ]),
    );
  });

  test('between steps: nothing is repeated', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    await at.tell('c', { type: 'agent.pause', agentId: 'lead' });
    at.open('c', 'g');
    await eventually(() => expect(at.task('c', 't').steps_done).toBe(1));
    await at.tell('c', { type: 'agent.resume', agentId: 'lead' });
    await at.cellIs('c', 'completed');
    at.write('c', 'tasks/u.json', task('u', [step('a', gate('h'))]));
    await at.killWorker('c');
    await at.waitsAt('c', 'h');
    at.open('c', 'h');
    await at.cellIs('c', 'completed');
    expect(Object.values(at.counts('c')).slice(0, 2)).toEqual([1, 1]);
  });

  test('in a step with a probe: the probe decides, and nothing is asked of people', async () => {
    const at = await startNode();
    const probe = (script: string) => ({ retry: 'probe', probe: ['sh', '-c', script] });
    await atGate(at, 'done', probe('touch artifacts/g.open; exit 0'));
    await atGate(at, 'not-done', probe('touch artifacts/g.open; exit 1'));
    for (const id of ['done', 'not-done']) await at.killWorker(id);
    for (const id of ['done', 'not-done']) await at.cellIs(id, 'completed');
    expect(at.counts('done')).toEqual({ 't/a': 1, 't/b': 1 });
    expect(at.counts('not-done')).toEqual({ 't/a': 2, 't/b': 1 });
    expect(at.node.status().in_doubt).toEqual([]);
  });

  test('and the probe cannot tell: the step is in doubt until a person settles it', async () => {
    const at = await startNode();
    await atGate(at, 'c', { retry: 'probe', probe: ['sh', '-c', 'exit 7'] });
    await at.killWorker('c');
    await at.fileSays('c', T, {
      status: 'in_progress',
      blocked_reason:
        'in doubt: step a was cut off and may have run; settle it with `lazarus doubt`',
    });
    await at.settle('c', 'done');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
  });

  test('in a step that must not run twice: in doubt, and settled as done, retry or failed', async () => {
    const at = await startNode();
    const settled = ['done', 'not_started', 'failed'] as const;
    for (const kind of settled) await atGate(at, kind, { retry: 'never' });
    for (const kind of settled) await at.killWorker(kind);
    for (const kind of settled) {
      const reason = 'in doubt: step a was cut off and may have run';
      await eventually(() => expect(at.json(kind, T)['blocked_reason']).toContain(reason));
      expect(at.task(kind, 't')).toMatchObject({ status: 'in_progress' });
      expect(at.doubt(kind)).toMatchObject({ agent_id: 'lead', task_id: 't', step: 'a' });
    }
    for (const kind of settled) {
      await at.settle(kind, kind);
      await expect(at.settle(kind, kind)).rejects.toThrow('no doubt');
    }
    await at.cellIs('done', 'completed');
    expect(at.counts('done')).toEqual({ 't/a': 1, 't/b': 1 });
    await eventually(() => expect(at.json('not_started', T)['blocked_reason'] ?? null).toBeNull());
    expect(at.task('not_started', 't').status).toBe('in_progress');
    at.open('not_started', 'g');
    await at.cellIs('not_started', 'completed');
    expect(at.counts('not_started')).toEqual({ 't/a': 2, 't/b': 1 });
    await at.cellIs('failed', 'failed');
    await at.fileSays('failed', T, { blocked_reason: 'settled as failed by a person' });
    expect(at.counts('failed')).toEqual({ 't/a': 1 });
  });

  test('and the node is restarted: the doubt is still there, and is settled then', async () => {
    const at = await startNode();
    await atGate(at, 'c', { retry: 'never' });
    await at.killWorker('c');
    await eventually(() => at.doubt('c'));
    const { key } = at.doubt('c');
    await at.restart();
    await eventually(() => expect(at.doubt('c').key).toBe(key));
    await at.fileSays('c', T, { status: 'in_progress' });
    expect(at.task('c', 't').blocked_reason).toContain('in doubt');
    await at.settle('c', 'done');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
  });

  test('twice in a row: the second revival waits a little, and both are told', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    const first = await at.killWorker('c');
    await eventually(() => expect(at.agent('c').revivals).toBe(1));
    const second = await at.killWorker('c');
    expect(second).not.toBe(first);
    await eventually(() => expect(at.agent('c').revivals).toBe(2));
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await eventually(() =>
      expect(at.ledger('c').map((l) => l['status'])).toEqual(['revived', 'revived']),
    );
  });
});

test('a step that begins while its worker is dying waits for the next one', async () => {
  const at = await startNode();
  const { missions, node } = at;
  const log = { info() {}, warn() {}, error() {} };
  const pool = new WorkerPool({ nodeId: node.nodeId, log });
  const place = { cellId: 'c', agentId: 'lead', cellDir: missions };
  const workers = new LiveWorkers();
  const [dying, next] = [await pool.start(place), await pool.start(place)];
  await Promise.all([dying.ready, next.ready]);
  workers.add('c', 'lead', dying);
  dying.kill();
  const waiting = workers.next('c', 'lead', new AbortController().signal);
  const isFree = new Promise((resolve) => setImmediate(() => resolve('the event loop goes on')));
  expect(await Promise.race([waiting, isFree])).toBe('the event loop goes on');
  workers.add('c', 'lead', next);
  expect((await waiting).pid).toBe(next.pid);
  await pool.close();
});

test('a step in doubt waits for a person, not for the task’s timeout', async () => {
  const at = await startNode();
  const plan = [task('t', [step('a', gate('g'), { retry: 'never' })], { timeout: 1 })];
  at.drop(mission('c', plan, { isolation_level: 'level_1' }));
  await at.waitsAt('c', 'g');
  await at.killWorker('c');
  await eventually(() => at.doubt('c'));
  await eventually(() => expect(at.agent('c').revivals).toBe(1));
  await new Promise((resolve) => setTimeout(resolve, 1500)); // longer than the task's timeout
  expect(at.task('c', 't')).toMatchObject({
    status: 'in_progress',
    blocked_reason: expect.stringContaining('in doubt'),
  });
  await at.settle('c', 'done');
  await at.cellIs('c', 'completed');
  expect(at.counts('c')).toEqual({ 't/a': 1 });
});

describe('Lazarus stops trying', () => {
  test('after too many deaths in a short time: the status says so, and a person revives it', async () => {
    const at = await startNode();
    await atGate(at, 'c', {}, { restart: { intensity: 2, period: 60 } });
    const stopWatching = watchPids(at);
    for (let deaths = 1; deaths <= 3; deaths += 1) {
      const pid = await at.killWorker('c');
      await eventually(() => {
        const { pid: next, status } = at.agent('c');
        expect(next === null ? status : next).not.toBe(pid);
        if (deaths < 3) expect(next).not.toBeNull();
        if (deaths < 3) expect(at.revival('c').revivals).toBe(deaths);
        else expect(status).toBe('failed');
      });
    }
    stopWatching();
    const file = await at.fileSays('c', 'agents/lead.json', {
      status: 'failed',
      current_task: 't',
    });
    await eventually(() =>
      expect(at.json('c', 'agents/lead.json')['status_reason']).toContain(
        'waits for a person (more than 2 revivals within 60 s): `lazarus revivals show c.lead.',
      ),
    );
    expect(file).not.toHaveProperty('pid');
    expect(at.agent('c')).toMatchObject({ status: 'failed', health: 'unhealthy', pid: null });
    expect(at.revival('c')).toMatchObject({ status: 'pending_approval', revivals: 2 });
    await eventually(() => expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'asking' }));
    await at.restart();
    expect(at.agent('c')).toMatchObject({ status: 'failed', pid: null });
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await eventually(() =>
      expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'revived', approved_by: 'me' }),
    );
  });

  test('when revivals bring no finished step (max_retries)', async () => {
    const at = await startNode();
    await atGate(at, 'c', {}, { policies: { auto_revive: 'yes', max_retries: 1 } });
    const first = await at.killWorker('c');
    await eventually(() => expect(at.agent('c').pid).not.toBe(first));
    await at.killWorker('c');
    await eventually(() =>
      expect(at.agent('c').reason).toContain('1 revivals brought no finished step (max_retries)'),
    );
  });
});

describe('a person decides', () => {
  test('auto_revive "ask": the request waits, over a restart too, until it is approved', async () => {
    const at = await startNode();
    await atGate(at, 'c', {}, { policies: { auto_revive: 'ask' } });
    await at.killWorker('c');
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'));
    expect(at.node.status().pending_revivals).toBe(1);
    await eventually(() =>
      expect(at.json('c', 'agents/lead.json')['status_reason']).toContain('waits for a person'),
    );
    await at.fileSays('c', T, { status: 'in_progress' });
    await at.restart();
    expect(at.revival('c').status).toBe('pending_approval');
    await at.tellLazarus('c', { type: 'revival.approve', by: 'me' });
    await eventually(() => expect(at.agent('c').pid).not.toBeNull());
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await expect(at.tellLazarus('c', { type: 'revival.approve', by: 'me' })).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  });

  test('a rejected request stays failed; the task says whom it waits for', async () => {
    const at = await startNode();
    await atGate(at, 'c', {}, { policies: { auto_revive: 'ask' } });
    await at.killWorker('c');
    await eventually(() => expect(at.revival('c').status).toBe('pending_approval'));
    await at.tellLazarus('c', { type: 'revival.reject', by: 'me' });
    await eventually(() => expect(at.agent('c').reason).toContain('given up by me'));
    await eventually(() =>
      expect(at.json('c', T)['blocked_reason']).toContain('agent lead failed'),
    );
    await eventually(() => expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'rejected' }));
  });

  test('auto_revive "no": it stays failed', async () => {
    const at = await startNode();
    await atGate(at, 'c', {}, { policies: { auto_revive: 'no' } });
    await at.killWorker('c');
    await eventually(() => expect(at.agent('c').reason).toContain('auto_revive is "no"'));
    await at.fileSays('c', 'agents/lead.json', { status: 'failed' });
    expect(at.revival('c').status).toBe('failed');
  });
});
