/**
 * Cell, agents and Lazarus together under any order of files, requests, outcomes and restarts. What the machines promise
 * in their opening lines is looked at after every single event. (Failures and revivals: revival-invariants.test.ts.)
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import { agentFileOf, agentStatus, permissionsOf } from '../../machines/cell-context.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { mergeChange } from '../../machines/cell-files.ts';
import { mayDo } from '../../machines/permissions.ts';
import { projectFiles } from '../../machines/projection.ts';
import { statusOf } from '../../machines/agent-context.ts';
import { CELL, MachineWorld } from '../support/machine-world.ts';
import { anyLife, life } from '../support/life-commands.ts';
import { carryOut, makeAllWell } from '../support/machine-life.ts';

/** Many lives take their time on a busy machine. */
vi.setConfig({ testTimeout: 60_000 });

/** After every event of the cell. */
function checkCell(before: CellContext, after: CellContext, cause: string): void {
  const holders = Object.entries(after.agents)
    .filter(([, agent]) => agent.currentTask !== null)
    .map(([id, agent]) => `${agent.currentTask}@${id}`);
  const running = Object.entries(after.tasks)
    .filter(([, task]) => task.status === 'in_progress')
    .map(([id, task]) => `${id}@${task.assignedTo}`);
  expect(holders.sort(), 'C1').toEqual(running.sort());

  for (const [id, task] of Object.entries(after.tasks)) {
    const was = before.tasks[id];
    if (was?.status === 'completed') expect(task.status, 'C2').toBe('completed');
    if (was?.status === 'failed' && task.status !== 'failed')
      expect(['task.retry', 'files.changed'], 'C2').toContain(cause);
    if (task.status === 'in_progress' && was?.status !== 'in_progress') checkAssigned(after, id);
  }
  if (after.phase === 'completed')
    expect(
      Object.values(after.tasks).every((task) => task.status === 'completed'),
      'C7',
    ).toBe(true);
  if (after.phase === 'failed' || after.phase === 'completed') expect(running, 'S3').toEqual([]);
  checkRevs(before, after);
}

/** C6 */
function checkAssigned(context: CellContext, id: string): void {
  const task = context.tasks[id];
  const agent = task?.assignedTo ?? '';
  const asker = { agentId: agent, role: agentFileOf(context, agent).role };
  const aim = { taskId: id, assignedTo: task?.wishedAgent ?? null };
  expect(mayDo(asker, 'execute', aim, permissionsOf(context)).allowed, 'C6').toBe(true);
  expect(context.agents[agent]?.told, 'S1').toBe('run');
  expect(context.agents[agent]?.reported, 'S1').not.toBe('failed');
}

/** D2 */
function checkRevs(before: CellContext, after: CellContext): void {
  const [was, is] = [projectFiles(before), projectFiles(after)];
  for (const [path, content] of Object.entries(is)) {
    const past = was[path];
    if (!past) continue;
    const same = JSON.stringify({ ...past, _rev: 0 }) === JSON.stringify({ ...content, _rev: 0 });
    const rise = Number(content['_rev']) - Number(past['_rev']);
    if (same) expect(rise, `D2 ${path}`).toBe(0);
    else expect(rise, `D2 ${path}`).toBeGreaterThan(0);
  }
}

/** When all messages have arrived, those who speak of the same thing agree. */
function checkAgreement(world: MachineWorld): void {
  for (const [id, known] of Object.entries(world.cell.agents)) {
    if (!known.spawned || world.isHeld(agentAddress(CELL, id))) continue;
    const { context } = world.agent(id).snapshot;
    expect(context.assignment?.taskId ?? null).toBe(known.currentTask);
    expect(statusOf(context).status, 'A7').toBe(agentStatus(known));
    expect(context.paused).toBe(known.told === 'pause');
    if (context.lost) expect(world.lazarus(id).value, 'L1').not.toBe('watching');
  }
  const comesBack = Object.entries(projectFiles(world.cell)).filter(([path, content]) => {
    const known = world.cell.files[path];
    return (
      known && mergeChange(world.cell, { path, kind: known.kind, id: known.id, content }).changed
    );
  });
  expect(comesBack, 'G3').toEqual([]);
}

test('any order of events keeps every numbered promise', () => {
  fc.assert(
    fc.property(life, (commands) => {
      let before: CellContext | null = null;
      let cause = '';
      const world: MachineWorld = new MachineWorld({
        watch: (address) => {
          if (address !== cellAddress(CELL)) return;
          const after = world.cell;
          if (before) checkCell(before, after, cause);
          before = after;
        },
      });
      for (const next of commands) {
        cause =
          next.kind === 'tell' ? next.event.type : next.kind === 'edit' ? 'files.changed' : '';
        carryOut(world, next);
        checkAgreement(world);
      }
    }),
    { numRuns: 200 },
  );
});

test('a life with a restart before every event is the same life', () => {
  fc.assert(
    fc.property(anyLife, (commands) => {
      const [straight, restarting] = [new MachineWorld(), new MachineWorld({ restarting: true })];
      for (const next of commands) {
        carryOut(straight, next);
        carryOut(restarting, next);
      }
      expect(restarting.persisted()).toEqual(straight.persisted());
      expect(restarting.log).toEqual(straight.log);
    }),
    { numRuns: 150 },
  );
});

test('being told the same again changes nothing', () => {
  fc.assert(
    fc.property(life, (commands) => {
      const world = new MachineWorld();
      for (const next of commands) carryOut(world, next);
      const [before, sent] = [world.persisted(), world.log.length];
      world.tell({ type: 'host.probed', capabilities: world.cell.host });
      expect(world.persisted()).toEqual(before);
      expect(world.log.length).toBe(sent);
    }),
    { numRuns: 100 },
  );
});

test('when faults end and people answer, every task ends or says what blocks it', () => {
  fc.assert(
    fc.property(life, (commands) => {
      const world = new MachineWorld();
      for (const next of commands) carryOut(world, next);
      makeAllWell(world);
      for (const [id, task] of Object.entries(world.cell.tasks)) {
        expect(task.status, id).not.toBe('in_progress');
        if (task.status === 'pending') expect(task.blockedReason, id).not.toBeNull();
      }
    }),
    { numRuns: 100 },
  );
});
