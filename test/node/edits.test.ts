/** People and the runtime write the same files: who wins, what is a request, and that nobody's words are lost. */
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';
import { dropInto, startNodeProcess, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

/** A mission whose first task stands at the gate `g` of its only step. */
async function atGate(at: TestNode, id: string, more: JsonObject = {}): Promise<void> {
  at.drop(mission(id, [task('t', [step('wait', gate('g'))])], more));
  await at.waitsAt(id, 'g');
  await at.fileSays(id, 'tasks/t.json', { status: 'in_progress' });
}

const T = 'tasks/t.json';

describe('people’s own fields', () => {
  test('an edit of the present file wins, beside what the runtime writes', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    at.edit('c', T, { title: 'Mine', 'x-new': { a: 1 } });
    await eventually(() => expect(at.task('c', 't').title).toBe('Mine'));
    at.open('c', 'g');
    await at.fileSays('c', T, { title: 'Mine', 'x-new': { a: 1 }, status: 'completed' });
  });

  test('an edit made from an old file changes only what was edited in it', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    const old = at.json('c', T);
    at.edit('c', T, { description: 'by the first', priority: 'high' });
    await at.fileSays('c', T, { _rev: Number(old['_rev']) + 1 });
    at.write('c', T, { ...old, title: 'by the second', status: 'failed' });
    const merged = await at.fileSays('c', T, {
      title: 'by the second',
      description: 'by the first',
    });
    expect(merged).toMatchObject({ priority: 'high', status: 'in_progress' });
    at.open('c', 'g');
    await at.taskIs('c', 't', 'completed');
  });

  test('a file without _rev replaces people’s fields and none of the runtime’s', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    const { steps } = at.json('c', T);
    at.write('c', T, { task_id: 't', title: 'Anew', status: 'pending', steps: steps ?? [] });
    await at.fileSays('c', T, { title: 'Anew', status: 'in_progress', assigned_to: 'lead' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/wait': 1 });
  });

  test('a future _rev is no way to set runtime fields, and does not stay', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    at.edit('c', T, { _rev: 9000, title: 'From the future', status: 'failed' });
    const file = await at.fileSays('c', T, { title: 'From the future', status: 'in_progress' });
    expect(file['_rev']).toBeLessThan(9000);
    at.open('c', 'g');
    await at.taskIs('c', 't', 'completed');
  });

  test.each(['rename', 'in place'])(
    'no edit is lost to a projection that races it (%s)',
    async (how) => {
      const at = await startNode();
      const steps = Array.from({ length: 12 }, (_, i) => step(`s${i}`, 'sleep 0.05'));
      at.drop(mission('c', [task('t', steps)]));
      await at.fileSays('c', T, { status: 'in_progress' });
      const edits: string[] = [];
      for (let n = 0; at.task('c', 't').status !== 'completed'; n += 1) {
        edits.push(`x-${n}`);
        const file = {
          ...(JSON.parse(readFileSync(at.path('c', T), 'utf8')) as JsonObject),
          [`x-${n}`]: n,
        };
        if (how === 'rename') at.write('c', T, file);
        else writeFileSync(at.path('c', T), JSON.stringify(file));
        await sleep(7);
      }
      await at.cellIs('c', 'completed');
      await eventually(() =>
        expect(Object.keys(at.json('c', T))).toEqual(expect.arrayContaining(edits)),
      );
      expect(at.runs('c')).toHaveLength(12);
    },
  );

  test('an edit that is taken in while other files are written is not written over with what was so before it', async () => {
    const at = await startNode();
    const waiting = Array.from({ length: 150 }, (_, n) =>
      task(`t${100 + n}`, [step('a')], { dependencies: ['later'] }),
    );
    at.drop(mission('c', waiting));
    const last = 'tasks/t249.json';
    await at.fileSays('c', last, { blocked_reason: 'waits for later, which does not exist' });
    at.write('c', 'tasks/later.json', task('later', [step('a', gate('g'))]));
    await eventually(() => expect(at.task('c', 't249').blocked_reason).toBeNull());
    const writing = at.node.projector.project('c'); // all of them say something else now
    at.edit('c', last, { title: 'Mine' });
    await at.node.door.lookAt('c');
    await writing;
    expect(at.json('c', last)['title']).toBe('Mine');
    await at.fileSays('c', last, { title: 'Mine', blocked_reason: null });
  });

  test('edits made while no node runs are taken in at the next start, removed files too', async () => {
    const at = await startNode();
    const waits = task('waits', [step('one')], { dependencies: ['absent'] });
    at.drop(
      mission('c', [task('t', [step('one')]), waits], { agents: [agent('lead'), agent('b')] }),
    );
    await at.taskIs('c', 't', 'completed');
    await at.fileSays('c', 'tasks/waits.json', {
      blocked_reason: 'waits for absent, which does not exist',
    });
    await at.restart({}, () => {
      at.edit('c', 'cell.json', { mission_name: 'Renamed' });
      rmSync(at.path('c', 'tasks/waits.json'));
      rmSync(at.path('c', 'agents/b.json'));
    });
    await at.cellIs('c', 'completed');
    expect(at.cell('c').mission_name).toBe('Renamed');
    expect(at.cell('c').tasks.map(({ task_id: id }) => id)).toEqual(['t']);
    expect(at.cell('c').agents.map(({ agent_id: id }) => id)).toEqual(['lead']);
    expect(at.exists('c', 'tasks/waits.json')).toBe(false);
  });

  test.each(['cleanly', 'killed'])(
    'a mission that is removed while no node runs (stopped %s) is known no more',
    async (how) => {
      const missions = temporaryMissions();
      const first = await startNodeProcess(missions);
      dropInto(missions, mission('c', [task('t', [step('wait', gate('g'))])]));
      dropInto(missions, mission('d', [task('t', [step('one')])]));
      await eventually(() => expect(existsSync(`${missions}/c/artifacts/g.waiting`)).toBe(true));
      if (how === 'killed') await first.crash();
      else {
        writeFileSync(`${missions}/c/artifacts/g.open`, '');
        first.child.kill('SIGTERM');
        await once(first.child, 'exit');
      }
      rmSync(`${missions}/c`, { recursive: true });
      const at = await startNode({}, missions);
      await at.cellIs('d', 'completed');
      await eventually(() =>
        expect(at.node.status().cells.map(({ cell_id: id }) => id)).toEqual(['d']),
      );
      expect(existsSync(`${missions}/c`)).toBe(false);
    },
  );
});

describe('a status is a request', () => {
  test('a cell is paused, made active again, and cancelled by its file', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    await at.request('c', 'cell.json', { status: 'paused' });
    await at.cellIs('c', 'paused');
    await at.fileSays('c', 'agents/lead.json', { status: 'paused', current_task: 't' });
    await at.request('c', 'cell.json', { status: 'active' });
    await at.cellIs('c', 'active');
    await at.request('c', 'cell.json', { status: 'failed' });
    await at.cellIs('c', 'failed');
    await at.fileSays('c', 'cell.json', {
      status_reason: 'cancelled: status was set to failed in cell.json',
    });
    await at.taskIs('c', 't', 'pending');
    await at.request('c', 'cell.json', { status: 'active' });
    await at.taskIs('c', 't', 'in_progress');
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });

  test('an agent is paused and made idle again by its file', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g'))]), task('u', [step('b')])]));
    await at.waitsAt('c', 'g');
    await at.fileSays('c', 'agents/lead.json', { status: 'active' });
    await at.request('c', 'agents/lead.json', { status: 'paused' });
    await at.fileSays('c', 'agents/lead.json', { status: 'paused' });
    at.open('c', 'g');
    await at.fileSays('c', 'tasks/u.json', {
      blocked_reason: 'waits for agent lead, which is paused',
    });
    expect(at.runs('c')).toEqual(['t/a']);
    await eventually(async () => {
      // Its checkpoint may just be written into the same file: then the request was made of an old one, and is made again.
      await at.request('c', 'agents/lead.json', { status: 'idle' });
      expect(at.agent('c').status).not.toBe('paused');
    });
    await at.cellIs('c', 'completed');
    await at.fileSays('c', 'agents/lead.json', { status: 'idle' });
  });

  test('a task is cancelled, and tried again, by its file', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    at.edit('c', T, { status: 'failed' });
    await at.taskIs('c', 't', 'failed');
    await at.fileSays('c', T, { blocked_reason: `cancelled: status was set to failed in ${T}` });
    await at.cellIs('c', 'failed');
    at.open('c', 'g');
    at.edit('c', T, { status: 'pending' });
    await at.cellIs('c', 'completed');
    await at.fileSays('c', T, { attempts: 2, status: 'completed' });
  });

  test('one that does not fit is overwritten, and noted', async () => {
    const at = await startNode();
    await atGate(at, 'c');
    at.edit('c', 'cell.json', { status: 'completed' });
    at.edit('c', T, { status: 'completed' });
    at.edit('c', 'agents/lead.json', { status: 'idle', current_task: null });
    await at.fileSays('c', 'cell.json', { status: 'active' });
    await at.fileSays('c', T, { status: 'in_progress' });
    await at.fileSays('c', 'agents/lead.json', { status: 'active', current_task: 't' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await at.taskIs('c', 't', 'completed');
    at.edit('c', T, { status: 'pending' });
    await at.fileSays('c', T, { status: 'completed' });
    at.edit('c', 'cell.json', { status: 'paused' });
    await at.fileSays('c', 'cell.json', { status: 'completed' });
    const notes = at.cell('c').notes.map(({ text }) => text);
    expect(notes).toEqual(
      expect.arrayContaining([
        expect.stringContaining('cell.json: status was not changed: a cell is "completed" when'),
        expect.stringContaining('only a failed task can be tried again'),
        expect.stringContaining('cell.json: status was not changed: the cell is completed'),
      ]),
    );
    expect(at.counts('c')).toEqual({ 't/wait': 1 });
  });
});

describe('files that come and go', () => {
  test('a task added to a completed cell makes it work again', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('one')])]));
    await at.cellIs('c', 'completed');
    at.write(
      'c',
      'tasks/more.json',
      task('more', [step('one', gate('g'))], { dependencies: ['t'] }),
    );
    await at.cellIs('c', 'active');
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.runs('c')).toEqual(['t/one', 'more/one']);
  });

  test('a removed task is stopped and forgotten, its file never comes back', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('wait', gate('g'))]), task('u', [step('one')])]));
    await at.waitsAt('c', 'g');
    await at.taskIs('c', 't', 'in_progress');
    rmSync(at.path('c', T));
    await at.cellIs('c', 'completed');
    expect(at.cell('c').tasks.map(({ task_id: id }) => id)).toEqual(['u']);
    expect(at.runs('c')).toEqual(['t/wait', 'u/one']);
    expect(at.exists('c', T)).toBe(false);
  });

  test('the task of a removed agent goes to another, and the agent may come back', async () => {
    const at = await startNode();
    await atGate(at, 'c', { agents: [agent('lead'), agent('other', { status: 'paused' })] });
    rmSync(at.path('c', 'agents/lead.json'));
    await at.fileSays('c', T, { blocked_reason: 'waits for agent other, which is paused' });
    at.open('c', 'g');
    at.edit('c', 'agents/other.json', { status: 'idle' });
    await at.cellIs('c', 'completed');
    await at.fileSays('c', T, { assigned_to: 'other', attempts: 2 });
    expect(at.exists('c', 'agents/lead.json')).toBe(false);
    at.write('c', 'agents/lead.json', agent('lead'));
    at.write('c', 'tasks/u.json', task('u', [step('one')], { assigned_to: 'lead' }));
    await at.fileSays('c', 'tasks/u.json', { status: 'completed', assigned_to: 'lead' });
  });
});
