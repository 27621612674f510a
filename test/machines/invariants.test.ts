/**
 * Cell, agents and Lazarus together under any order of files, requests, outcomes and restarts. What the machines promise
 * in their opening lines is looked at after every single event.
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import { agentFileOf, agentStatus, permissionsOf } from '../../machines/cell-context.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { mergeChange } from '../../machines/cell-files.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { CellEvent } from '../../machines/events.ts';
import type { FileChange } from '../../machines/mission.ts';
import { mayDo } from '../../machines/permissions.ts';
import { projectFiles } from '../../machines/projection.ts';
import { statusOf } from '../../machines/agent-context.ts';
import { CELL, EXIT_0, EXIT_2, MachineWorld, SAVED, SMOOTH } from '../support/machine-world.ts';
import { agentFile, cellFile, configFile, gone, taskFile } from '../support/machine-world.ts';

/** Many lives take their time on a busy machine. */
vi.setConfig({ testTimeout: 60_000 });

type Command =
  | { kind: 'tell'; event: CellEvent }
  | { kind: 'edit'; path: string; field: string; value: string }
  | { kind: 'effect'; pick: number; well: boolean }
  | { kind: 'answer'; agentId: string; approve: boolean }
  | { kind: 'pass'; ms: number };

const agentId = fc.constantFrom('a', 'b', 'c');
const taskId = fc.constantFrom('1', '2', '3', '4');
const retry = fc.constantFrom('safe', 'never');
const step = fc.record({
  name: fc.constantFrom('x', 'y'),
  run: fc.constant<string[]>(['run']),
  retry,
});

const file: fc.Arbitrary<FileChange> = fc.oneof(
  fc
    .record({
      policies: fc.record({ auto_revive: fc.constantFrom('yes', 'no', 'ask') }),
      max_agents: fc.constantFrom(1, 10),
      isolation_level: fc.constantFrom('level_1', 'level_1', 'none', 'level_2'),
    })
    .map((extra) => cellFile(extra)),
  fc
    .tuple(agentId, fc.constantFrom('lead', 'write', 'read'))
    .map(([id, role]) => agentFile(id, { role })),
  fc
    .tuple(
      taskId,
      fc.uniqueArray(step, { selector: (s) => s.name, minLength: 1 }),
      fc.uniqueArray(taskId, { maxLength: 2 }),
    )
    .map(([id, steps, dependencies]) => taskFile(id, { steps, dependencies })),
  fc
    .tuple(agentId, fc.uniqueArray(taskId))
    .map(([id, execute]) => configFile('permissions', { [id]: { execute } })),
  taskId.map((id) => gone(taskFile(id))),
  agentId.map((id) => gone(agentFile(id))),
  fc.constant(gone(cellFile())),
  fc.constant(gone(configFile('permissions', {}))),
);

const request: fc.Arbitrary<CellEvent> = fc.oneof(
  fc.constantFrom<CellEvent>(
    { type: 'cell.pause' },
    { type: 'cell.resume' },
    { type: 'cell.resume' },
    { type: 'cell.cancel', reason: 'x' },
    { type: 'cell.hold', reason: 'x' },
    { type: 'cell.release', reason: 'x' },
  ),
  agentId.map((id) => ({ type: 'agent.pause' as const, agentId: id })),
  agentId.map((id) => ({ type: 'agent.resume' as const, agentId: id })),
  taskId.map((id) => ({ type: 'task.retry' as const, taskId: id })),
  taskId.map((id) => ({ type: 'task.cancel' as const, taskId: id, reason: 'x' })),
);

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: file.map((f) => tell({ type: 'files.changed', changes: [f] })) },
  { weight: 2, arbitrary: request.map(tell) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('edit' as const),
      path: fc.constantFrom('cell.json', 'agents/a.json', 'tasks/1.json', 'tasks/2.json'),
      field: fc.constantFrom('status', 'assigned_to', 'title'),
      value: fc.constantFrom('paused', 'idle', 'active', 'failed', 'pending', 'completed', 'b'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('effect' as const),
      pick: fc.nat(1000),
      well: fc.constantFrom(true, true, true, false),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('answer' as const), agentId, approve: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.nat(100_000).map((ms) => ({ kind: 'pass' as const, ms })) },
);

/** So that most runs have something to do. */
const START = [
  cellFile(),
  agentFile('a'),
  agentFile('b', { role: 'write' }),
  taskFile('1'),
  taskFile('2'),
];
const first = fc.oneof(
  { weight: 3, arbitrary: fc.constant(START) },
  { weight: 1, arbitrary: fc.shuffledSubarray(START) },
);
const script = fc
  .tuple(first, fc.array(command, { minLength: 10, maxLength: 80, size: 'max' }))
  .map(([changes, commands]) => [tell({ type: 'files.changed', changes }), ...commands]);

function tell(event: CellEvent): Command {
  return { kind: 'tell', event };
}

/** A refused request is a fine outcome; any other error is not. */
function carryOut(world: MachineWorld, what: Command): void {
  try {
    perform(world, what);
  } catch (err) {
    if (!(err instanceof RuntimeError)) throw err;
  }
}

function perform(world: MachineWorld, what: Command): void {
  switch (what.kind) {
    case 'tell':
      return world.tell(what.event);
    case 'pass':
      return world.pass(what.ms);
    case 'answer': {
      const address = `system/lazarus/${CELL}/${what.agentId}`;
      const type = what.approve ? 'revival.approve' : 'revival.reject';
      if (world.actors.has(address)) world.send(address, Object.assign({ type }, { by: 'ann' }));
      return undefined;
    }
    case 'edit': {
      const known = world.cell.files[what.path];
      if (!known) return undefined;
      const content = { ...world.file(what.path), [what.field]: what.value };
      return world.files({ path: what.path, kind: known.kind, id: known.id, content });
    }
    case 'effect':
      return endEffect(world, what);
    default:
      return what satisfies never;
  }
}

function endEffect(world: MachineWorld, { pick, well }: { pick: number; well: boolean }): void {
  const effects = [...world.actors].flatMap(([address, { running }]) =>
    [...running.values()].map(({ id, src }) => ({ address, id, src })),
  );
  // Timers are due less often than other effects end, or nothing would ever get done.
  const busy = effects.filter(({ src }) => src !== 'waitUntil');
  const all = pick % 8 === 0 || busy.length === 0 ? effects : busy;
  const chosen = all[pick % Math.max(1, all.length)];
  if (!chosen) return;
  const { address, id, src } = chosen;
  if (src === 'runWorker' && well) startWorker(world, address);
  else if (src === 'runWorker') world.done(address, id, { code: 1, signal: null });
  else if (src === 'runStep') world.done(address, id, well ? EXIT_0 : EXIT_2);
  else if (src === 'finishTask')
    world.done(address, id, { artifacts: [], missing: well ? [] : ['x'] });
  else if (src === 'waitUntil') world.done(address, id);
  else if (!well) world.fails(address, id, 'disk full');
  else world.done(address, id, src === 'writeContext' ? SAVED : null);
}

function startWorker(world: MachineWorld, address: string): void {
  world.send(address, Object.assign({ type: 'worker.started' }, { pid: 7 }));
}

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
    if (!known.spawned) continue;
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
    fc.property(script, (commands) => {
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
    fc.property(script, (commands) => {
      const [straight, restarting] = [new MachineWorld(), new MachineWorld({ restarting: true })];
      for (const next of commands) {
        carryOut(straight, next);
        carryOut(restarting, next);
      }
      expect(restarting.persisted()).toEqual(straight.persisted());
      expect(restarting.log).toEqual(straight.log);
    }),
    { numRuns: 100 },
  );
});

test('being told the same again changes nothing', () => {
  fc.assert(
    fc.property(script, (commands) => {
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
    fc.property(script, (commands) => {
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

function makeAllWell(world: MachineWorld): void {
  world.files(
    cellFile({ isolation_level: 'level_1', max_agents: 10, policies: { auto_revive: 'ask' } }),
  );
  carryOut(world, tell({ type: 'cell.release', reason: 'x' }));
  carryOut(world, tell({ type: 'cell.resume' }));
  if (world.cell.phase !== 'working')
    carryOut(world, tell({ type: 'files.changed', changes: [taskFile('new')] }));
  for (let round = 0; round < 30; round += 1) {
    for (const id of Object.keys(world.cell.agents)) {
      carryOut(world, tell({ type: 'agent.resume', agentId: id }));
      carryOut(world, { kind: 'answer', agentId: id, approve: true });
      const address = agentAddress(CELL, id);
      if (world.actors.get(address)?.running.has('worker')) startWorker(world, address);
    }
    world.run({
      ...SMOOTH,
      backoff: null,
      ledgerRetry: null,
      periodicContext: SAVED,
      step: EXIT_0,
    });
  }
}
