/** What a node would make of a cell's files, without one: the cell's own machine, fed with them, and nothing carried out. */
import type { CellContext } from '../machines/cell-context.ts';
import { asJsonObject } from '../machines/json.ts';
import type { FileChange } from '../machines/mission.ts';
import type { MachineRegistry } from './logic.ts';

/** `hold`: why nothing is given out; without it the tasks that could start at once are assigned, and those that never can are blocked. */
export function previewCell(
  registry: MachineRegistry,
  { cellId, changes, hold }: { cellId: string; changes: readonly FileChange[]; hold?: string },
): CellContext {
  const logic = registry.latest('cell');
  const stamp = { at: Date.now(), up: 0 };
  let snapshot = logic.init({ cellId, policies: {}, ...stamp, seq: 1 }, []);
  const events = [
    ...(hold === undefined ? [] : [{ type: 'cell.hold', reason: hold }]),
    { type: 'files.changed', changes: changes.map(asJsonObject) },
  ];
  for (const [index, event] of events.entries())
    snapshot = logic.apply(snapshot, Object.assign(event, stamp, { seq: index + 2 }), []);
  return snapshot.context as CellContext;
}
