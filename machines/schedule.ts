/**
 * The order of tasks: what is ready, and why the rest waits. Pure, iterative (a chain of thousands must not overflow the
 * stack) and linear in tasks plus dependencies.
 *
 * T1 A task is ready when it is pending and every task it depends on is completed; a reason may block it all the same.
 * T2 Every pending task that no ordinary progress can make ready has a reason a person understands. One that merely waits
 *    for work under way has none.
 */
import type { Priority, TaskStatus } from './mission.ts';

export interface PlannedTask {
  id: string;
  status: TaskStatus;
  dependencies: readonly string[];
  priority: Priority;
  createdAt: string | null;
  /** The agent that has it in hand and failed; null when it is in good hands. */
  failedAgent?: string | null;
}

export interface Schedule {
  /** In the order in which they should be given out. */
  ready: string[];
  /** Reasons by task id. */
  blocked: Map<string, string>;
}

const PRIORITIES: readonly Priority[] = ['high', 'medium', 'low'];
/** Longer cycles are named by their ends: the text stands in every task of the cycle. */
const MAX_NAMED = 12;

/** `refusal`: why nobody could do a task that is ready; null when somebody can. */
export function schedule(
  tasks: readonly PlannedTask[],
  refusal: (taskId: string) => string | null = () => null,
): Schedule {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const pending = tasks.filter((task) => task.status === 'pending');
  const blocked = new Map<string, string>();
  const { order, cyclic } = peel(pending, byId);
  const isReady = (task: PlannedTask): boolean =>
    task.dependencies.every((id) => byId.get(id)?.status === 'completed');
  const ready = pending.filter(isReady).sort(inOrder);
  for (const { id } of ready) {
    const reason = refusal(id);
    if (reason !== null) blocked.set(id, reason);
  }
  // Both lists have dependencies before dependants, so a reason is there when it is asked for.
  const components = stronglyConnected(cyclic);
  for (const [id, reason] of describeCycles(components, byId)) blocked.set(id, reason);
  for (const id of [...order.map((task) => task.id), ...components.flat()]) {
    const task = byId.get(id);
    const reason = task && !blocked.has(id) ? waitReason(task, byId, blocked) : null;
    if (reason !== null) blocked.set(id, reason);
  }
  return { ready: ready.map((task) => task.id), blocked };
}

/** Priority, then age, then id: total, so that the same cell always goes the same way. */
export function inOrder(a: PlannedTask, b: PlannedTask): number {
  return (
    PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) ||
    compare(a.createdAt ?? '', b.createdAt ?? '') ||
    compare(a.id, b.id)
  );
}

function waitReason(
  task: PlannedTask,
  byId: ReadonlyMap<string, PlannedTask>,
  blocked: ReadonlyMap<string, string>,
): string | null {
  const missing = task.dependencies.find((id) => !byId.has(id));
  if (missing !== undefined) return `waits for ${missing}, which does not exist`;
  const failed = task.dependencies.find((id) => byId.get(id)?.status === 'failed');
  if (failed !== undefined) return `waits for ${failed}, which failed`;
  const standing = task.dependencies.find((id) => byId.get(id)?.failedAgent != null);
  if (standing !== undefined)
    return `waits for ${standing}, whose agent ${byId.get(standing)?.failedAgent} failed`;
  const stuck = task.dependencies.find((id) => blocked.has(id));
  return stuck === undefined ? null : `waits for ${stuck}, which is blocked`;
}

/** Kahn's algorithm: pending tasks in dependency order, and those that are left because a cycle is before them. */
function peel(
  pending: readonly PlannedTask[],
  byId: ReadonlyMap<string, PlannedTask>,
): { order: PlannedTask[]; cyclic: PlannedTask[] } {
  const waitsFor = new Map<string, number>();
  const dependants = new Map<string, PlannedTask[]>();
  for (const task of pending) {
    const before = task.dependencies.filter((id) => byId.get(id)?.status === 'pending');
    waitsFor.set(task.id, before.length);
    for (const id of before) {
      const list = dependants.get(id);
      if (list) list.push(task);
      else dependants.set(id, [task]);
    }
  }
  const order = pending.filter((task) => waitsFor.get(task.id) === 0);
  for (const task of order) {
    for (const dependant of dependants.get(task.id) ?? []) {
      const left = (waitsFor.get(dependant.id) ?? 0) - 1;
      waitsFor.set(dependant.id, left);
      if (left === 0) order.push(dependant);
    }
  }
  return { order, cyclic: pending.filter((task) => (waitsFor.get(task.id) ?? 0) > 0) };
}

/** A reason for every task that is itself in a cycle; those that only come after one are not among them. */
function describeCycles(
  components: readonly string[][],
  byId: ReadonlyMap<string, PlannedTask>,
): Map<string, string> {
  const reasons = new Map<string, string>();
  for (const component of components) {
    const cycle = shortestCycle(component.toSorted(compare), byId);
    if (cycle === null) continue;
    const text = `dependency cycle: ${abbreviated(cycle).join(' -> ')}`;
    const named = new Set(cycle);
    for (const id of component)
      reasons.set(id, named.has(id) ? text : `waits for ${cycle[0] ?? id}, which is in a ${text}`);
  }
  return reasons;
}

/** The shortest way from the first id back to itself, written in the direction "depends on"; null if there is none. */
function shortestCycle(
  component: readonly string[],
  byId: ReadonlyMap<string, PlannedTask>,
): string[] | null {
  const [start] = component;
  if (start === undefined) return null;
  const inside = new Set(component);
  const cameFrom = new Map<string, string>();
  const queue = [start];
  for (const id of queue) {
    for (const next of (byId.get(id)?.dependencies ?? []).toSorted(compare)) {
      if (next === start) return walkBack(cameFrom, start, id);
      if (!inside.has(next) || cameFrom.has(next)) continue;
      cameFrom.set(next, id);
      queue.push(next);
    }
  }
  return null;
}

function walkBack(cameFrom: ReadonlyMap<string, string>, start: string, last: string): string[] {
  const path = [start];
  for (let id = last; id !== start; id = cameFrom.get(id) ?? start) path.push(id);
  return [...path, start].reverse();
}

function abbreviated(cycle: readonly string[]): string[] {
  if (cycle.length <= MAX_NAMED) return [...cycle];
  const left = `(${cycle.length - MAX_NAMED} more)`;
  return [...cycle.slice(0, MAX_NAMED - 2), left, ...cycle.slice(-2)];
}

/**
 * Tarjan's algorithm with its own stack, over the given tasks and the dependencies among them. A component comes after
 * those that it depends on.
 */
function stronglyConnected(tasks: readonly PlannedTask[]): string[][] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const components: string[][] = [];
  for (const root of tasks) {
    if (index.has(root.id)) continue;
    const frames: { id: string; next: number }[] = [{ id: root.id, next: 0 }];
    for (let frame = frames.at(-1); frame; frame = frames.at(-1)) {
      const { id } = frame;
      if (frame.next === 0) {
        index.set(id, index.size);
        low.set(id, index.get(id) ?? 0);
        stack.push(id);
        onStack.add(id);
      }
      const next = byId.get(id)?.dependencies[frame.next++];
      if (next === undefined) {
        frames.pop();
        const parent = frames.at(-1)?.id;
        if (parent !== undefined) lower(low, parent, low.get(id));
        if (low.get(id) === index.get(id)) components.push(popComponent(stack, onStack, id));
      } else if (byId.has(next)) {
        if (!index.has(next)) frames.push({ id: next, next: 0 });
        else if (onStack.has(next)) lower(low, id, index.get(next));
      }
    }
  }
  return components;
}

function lower(low: Map<string, number>, id: string, value: number | undefined): void {
  low.set(id, Math.min(low.get(id) ?? 0, value ?? 0));
}

function popComponent(stack: string[], onStack: Set<string>, root: string): string[] {
  const component = stack.splice(stack.lastIndexOf(root));
  for (const id of component) onStack.delete(id);
  return component;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
