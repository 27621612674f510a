/** A cell and its agents whose memories are of different ages, brought to one mind: case by case, and at any ages. */
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { remedies } from '../../actors/resync.ts';
import type { LivingAgent, Memories, Remedy } from '../../actors/resync.ts';
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import type { AgentContext } from '../../machines/agent-context.ts';
import type { RunStepInput } from '../../machines/agent-effects.ts';
import { isSafe } from '../../machines/cell-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { FileChange, Step } from '../../machines/mission.ts';
import { CELL, EXIT_0, EXIT_2, MachineWorld, SMOOTH } from '../support/machine-world.ts';
import { agentFile, cellFile, taskFile } from '../support/machine-world.ts';

/** Many lives take their time on a busy machine. */
vi.setConfig({ testTimeout: 60_000 });

const CELL_AT = cellAddress(CELL);
const steps = (retries: Record<string, string>): JsonObject[] =>
  Object.entries(retries).map(([name, retry]) => ({ name, run: ['run'], retry }));

/** What the folder keeps whatever the journal loses: which steps were begun, and how their newest runs ended. */
class Folder {
  readonly begun = new Map<string, number>();
  readonly ended = new Map<string, 'well' | 'badly'>();
  readonly #seen = new WeakSet<object>();

  /** Notes every step that began since it was last asked. */
  note(world: MachineWorld): void {
    for (const { running } of world.actors.values()) {
      const effect = running.get('step');
      if (!effect || this.#seen.has(effect)) continue;
      this.#seen.add(effect);
      const key = keyOf(effect.input as unknown as RunStepInput);
      this.begun.set(key, (this.begun.get(key) ?? 0) + 1);
      this.ended.delete(key);
    }
  }

  /** It began in an earlier life already. */
  passOver(effect: object): void {
    this.#seen.add(effect);
  }

  memories(world: MachineWorld): Memories {
    const prefix = agentAddress(CELL, '');
    const agents = new Map<string, LivingAgent>();
    for (const [address, { snapshot, running }] of world.actors)
      if (address.startsWith(prefix))
        agents.set(address.slice(prefix.length), {
          context: snapshot.context as AgentContext,
          isStepping: running.has('step'),
        });
    return {
      cell: world.cell,
      agents,
      wasBegun: (taskId, step) => this.begun.has(`${taskId}/${step}`),
      provenDone: (taskId, list) => {
        const open = list.findIndex(({ name }) => this.ended.get(`${taskId}/${name}`) !== 'well');
        return open < 0 ? list.length : open;
      },
    };
  }
}

const keyOf = ({ taskId, step }: RunStepInput): string => `${taskId}/${step.name}`;

function heal(world: MachineWorld, folder: Folder): Remedy[] {
  const found = remedies(folder.memories(world));
  for (const remedy of found) {
    if (remedy.kind === 'cell') world.tell(remedy.event);
    else if (remedy.kind === 'agent') world.send(agentAddress(CELL, remedy.agentId), remedy.event);
    else world.spawnAgent(remedy.agentId, remedy.level);
  }
  return found;
}

/** Lets one effect end; steps as told. False when nothing runs. */
function advance(world: MachineWorld, folder: Folder, { pick, well }: Choice): boolean {
  const running = [...world.actors].flatMap(([address, driver]) =>
    [...driver.running.values()]
      .filter(({ id }) => id === 'step' || id in SMOOTH)
      .map((effect) => ({ address, effect })),
  );
  const next = running[pick % Math.max(1, running.length)];
  if (!next) return false;
  const { address, effect } = next;
  if (effect.id === 'step') {
    const key = keyOf(effect.input as unknown as RunStepInput);
    folder.ended.set(key, well ? 'well' : 'badly');
    world.done(address, 'step', well ? EXIT_0 : EXIT_2);
  } else world.done(address, effect.id, SMOOTH[effect.id as keyof typeof SMOOTH]);
  folder.note(world);
  return true;
}

interface Choice {
  pick: number;
  well: boolean;
}

function newWorld(folder: Folder, files: FileChange[]): MachineWorld {
  const world = new MachineWorld();
  world.files(cellFile({ isolation_level: 'none' }), ...files);
  folder.note(world);
  return world;
}

/** Each actor as it was at its own time; those that were not there then are not there. */
function ofDifferentAges(folder: Folder, ages: Record<string, string | undefined>): MachineWorld {
  const world = new MachineWorld();
  world.actor(CELL_AT).wakeIn(ages[CELL_AT] as string);
  for (const [address, persisted] of Object.entries(ages)) {
    if (address === CELL_AT || persisted === undefined) continue;
    const agentId = address.slice(agentAddress(CELL, '').length);
    world.spawnAgent(agentId, 'none');
    world.actor(address).wakeIn(persisted);
  }
  for (const { running } of world.actors.values()) {
    const effect = running.get('step');
    if (effect) folder.passOver(effect);
  }
  return world;
}

const ONE_TASK = [
  agentFile('a'),
  taskFile('t', { steps: steps({ x: 'safe', y: 'never', z: 'safe' }) }),
];

/** The persisted states after each effect of a life in which all goes well. */
function lifeOf(files: FileChange[]): { folder: Folder; ages: Record<string, string>[] } {
  const folder = new Folder();
  const world = newWorld(folder, files);
  const ages = [world.persisted()];
  while (advance(world, folder, { pick: 0, well: true })) ages.push(world.persisted());
  return { folder, ages };
}

describe('memories of different ages', () => {
  test('given a cell that gave a task out and an agent that never heard of it, when healed, then the agent takes it', () => {
    const safe = [agentFile('a'), taskFile('t', { steps: steps({ x: 'safe' }) })];
    const { ages } = lifeOf(safe);
    const idle = new MachineWorld();
    idle.files(cellFile({ isolation_level: 'none' }), agentFile('a'));
    const folder = new Folder();
    const agentAt = agentAddress(CELL, 'a');
    const world = ofDifferentAges(folder, {
      [CELL_AT]: ages[1]?.[CELL_AT],
      [agentAt]: idle.persisted()[agentAt],
    });
    expect(heal(world, folder)).toContainEqual({
      kind: 'cell',
      event: { type: 'agent.strayed', agentId: 'a' },
    });
    while (advance(world, folder, { pick: 0, well: true }));
    expect(world.task('t')).toMatchObject({ status: 'completed', attempts: 1 });
  });

  test('given an agent at a task that its cell does not know of, when healed, then they do not answer each other for ever', () => {
    const files = [agentFile('a'), taskFile('t', { steps: steps({ x: 'safe' }) })];
    const other = [agentFile('a'), taskFile('u', { steps: steps({ x: 'safe' }) })];
    const agentAt = agentAddress(CELL, 'a');
    const folder = new Folder();
    const at = lifeOf(other).ages[1]?.[agentAt];
    const cell = new MachineWorld();
    cell.files(cellFile({ isolation_level: 'none' }), agentFile('a'));
    const world = ofDifferentAges(folder, { [CELL_AT]: cell.persisted()[CELL_AT], [agentAt]: at });
    const unhealed = ofDifferentAges(folder, {
      [CELL_AT]: cell.persisted()[CELL_AT],
      [agentAt]: at,
    });
    expect(() => unhealed.files(...files)).toThrow('messages without end');
    heal(world, folder);
    world.files(...files);
    while (advance(world, folder, { pick: 0, well: true }));
    expect(world.task('t')).toMatchObject({ status: 'completed' });
  });

  test('given a never step that the folder shows as done, when all have forgotten it, then the task goes on behind it', () => {
    const { folder, ages } = lifeOf(ONE_TASK);
    folder.ended.delete('t/z');
    folder.begun.delete('t/z');
    const world = ofDifferentAges(folder, ages[1] as Record<string, string>);
    heal(world, folder);
    while (advance(world, folder, { pick: 0, well: true }));
    expect(world.task('t')).toMatchObject({ status: 'completed' });
    expect(folder.begun.get('t/y')).toBe(1);
    expect(folder.begun.get('t/z')).toBe(1);
  });

  test('given a never step that was begun and left no outcome, when all have forgotten it, then a person decides', () => {
    const { folder, ages } = lifeOf(ONE_TASK);
    folder.ended.delete('t/y');
    const world = ofDifferentAges(folder, ages[1] as Record<string, string>);
    heal(world, folder);
    while (advance(world, folder, { pick: 0, well: true }));
    expect(world.task('t')['status']).toBe('failed');
    expect(world.task('t')['blocked_reason']).toContain('step y may have run');
    expect(folder.begun.get('t/y')).toBe(1);
  });

  test('given a cell without its agent, when healed, then the agent is made anew and told all it needs', () => {
    const { folder, ages } = lifeOf([
      agentFile('a'),
      taskFile('t', { steps: steps({ x: 'safe' }) }),
    ]);
    const world = ofDifferentAges(folder, { [CELL_AT]: ages[1]?.[CELL_AT] });
    heal(world, folder);
    expect((world.agent('a').snapshot.context as AgentContext).agent?.agent_id).toBe('a');
    while (advance(world, folder, { pick: 0, well: true }));
    expect(world.task('t')).toMatchObject({ status: 'completed' });
  });
});

const retry = fc.constantFrom('safe', 'never');
const mission = fc
  .array(fc.record({ x: retry, y: retry, z: retry }), { minLength: 1, maxLength: 4 })
  .map((tasks) => [
    agentFile('a'),
    agentFile('b'),
    ...tasks.map((retries, i) =>
      taskFile(String(i), {
        steps: steps(retries),
        dependencies: i > 1 ? [String(i - 2)] : [],
      }),
    ),
  ]);
const choice = fc.record({
  pick: fc.nat(50),
  well: fc.constantFrom(true, true, true, true, false),
});

test('whatever their ages, they come to one mind, nothing that must not run twice does, and every task comes to an end', () => {
  const life = fc.record({
    files: mission,
    before: fc.array(choice, { maxLength: 16 }),
    after: fc.array(choice, { maxLength: 10 }),
    ages: fc.record({ cell: fc.nat(8), a: fc.nat(8), b: fc.nat(8) }),
  });
  fc.assert(
    fc.property(life, ({ files, before, after, ages }) => {
      const folder = new Folder();
      const old = newWorld(folder, files);
      const states = [old.persisted()];
      for (const each of before) if (advance(old, folder, each)) states.push(old.persisted());
      const at = (age: number, address: string): string | undefined =>
        states[Math.max(0, states.length - 1 - (age % states.length))]?.[address];
      const [a, b] = [agentAddress(CELL, 'a'), agentAddress(CELL, 'b')];
      const world = ofDifferentAges(folder, {
        [CELL_AT]: at(ages.cell, CELL_AT),
        [a]: at(ages.a, a),
        [b]: at(ages.b, b),
      });
      heal(world, folder);
      folder.note(world);
      expectOneMind(world);
      for (const each of after) advance(world, folder, each);
      for (let n = 0; advance(world, folder, { pick: n, well: true }); n += 1)
        if (n > 2000) throw new Error('effects come up for ever');
      expectOneMind(world);
      for (const [id, task] of Object.entries(world.cell.tasks)) {
        if (task.status === 'pending') expect(task.blockedReason).not.toBeNull();
        else expect(task.status, id).not.toBe('in_progress');
      }
      for (const file of files)
        for (const step of stepsIn(file))
          if (!isSafe(step))
            expect(folder.begun.get(`${file.id}/${step.name}`) ?? 0).toBeLessThan(2);
    }),
    { numRuns: 750 },
  );
});

function stepsIn({ kind, content }: FileChange): Step[] {
  return kind === 'task' ? ((content?.['steps'] ?? []) as unknown as Step[]) : [];
}

function expectOneMind(world: MachineWorld): void {
  for (const [id, { currentTask, spawned }] of Object.entries(world.cell.agents)) {
    if (!spawned) continue;
    const { assignment } = world.agent(id).snapshot.context as AgentContext;
    expect(assignment?.taskId ?? null).toBe(currentTask);
    const task = currentTask === null ? undefined : world.cell.tasks[currentTask];
    expect(assignment?.attempt).toBe(task?.attempt);
  }
}
