/** Verbs that only look. They work on committed state, so they serve a running node and a folder without one alike. */
import { cellFileOf } from '../../machines/cell-context.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { StatusView } from '../status.ts';
import { resolveCell } from './ids.ts';
import { inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb, VerbInput } from './verb.ts';

export const readingVerbs: ReadingVerb[] = [
  reading('status', 'Everything: what runs, what is stuck and why, what waits for a person.', {
    input: inputOf([]),
    run: (reader) => asJsonObject(reader.status()),
  }),
  reading('cell.list', 'The cells, one line each.', {
    input: inputOf([]),
    run: (reader) => ({ cells: listCells(reader.status()) }),
  }),
  reading('cell.show', 'One cell: agents, tasks, success criteria, revivals, doubts.', {
    input: inputOf(['cell']),
    run: showCell,
  }),
  reading('doubt.list', 'Steps that may have run and whose outcome nobody knows.', {
    input: inputOf([]),
    run: (reader) => ({ in_doubt: reader.status().in_doubt.map(asJsonObject) }),
  }),
];

function reading(
  name: string,
  summary: string,
  rest: Pick<ReadingVerb, 'input' | 'run'>,
): ReadingVerb {
  return { kind: 'reads', name, summary, remote: true, ...rest };
}

function listCells(view: StatusView): JsonValue[] {
  return view.cells.map(({ cell_id, mission_name, status, phase, reason, path, agents, tasks }) => {
    const completed = tasks.filter((task) => task.status === 'completed').length;
    return {
      cell_id,
      mission_name,
      status,
      phase,
      reason,
      path,
      agents: agents.length,
      tasks: tasks.length,
      tasks_completed: completed,
    };
  });
}

function showCell(reader: MissionReader, { cell = '' }: VerbInput): JsonObject {
  const view = reader.status();
  const found = resolveCell(view, cell);
  const isOf = ({ cell_id: id }: { cell_id: string }): boolean => id === found.cell_id;
  const context = reader.cell(found.cell_id);
  return {
    ...asJsonObject(found),
    running: view.running,
    success_criteria: context ? criteriaOf(context) : [],
    revivals: view.revivals.filter(isOf).map(asJsonObject),
    in_doubt: view.in_doubt.filter(isOf).map(asJsonObject),
  };
}

/** What the mission is measured by, and how that stands: checked by a command, or confirmed by a person. */
function criteriaOf(context: CellContext): JsonValue[] {
  return cellFileOf(context).success_criteria.map(({ name, run }) => {
    const check = context.checks?.find((result) => result.name === name);
    const confirmed = context.confirmed[name];
    return {
      name,
      run: run ?? null,
      met: run === undefined ? confirmed !== undefined : (check?.ok ?? null),
      detail: check?.detail ?? null,
      confirmed_by: confirmed?.by ?? null,
    };
  });
}
