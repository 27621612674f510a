/** Verbs that only look. They work on committed state, so they serve a running node and a folder without one alike. */
import { cellFileOf, taskFileOf } from '../../machines/cell-context.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { CellStatusView } from '../status.ts';
import { resolveCell, resolveMember } from './ids.ts';
import { CELL, CELLS, DOUBTS, TASK } from './outputs.ts';
import { PAGE_FIELDS, pageOf } from './page.ts';
import type { PageInput } from './page.ts';
import { inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb, VerbInput } from './verb.ts';

export const readingVerbs: ReadingVerb[] = [
  reading('status', 'Everything: what runs, what is stuck and why, what waits for a person.', {
    input: inputOf([]),
    run: (reader) => asJsonObject(reader.status()),
  }),
  reading('cell.list', 'The cells, one line each.', {
    input: inputOf([], [], {
      status: { type: 'string', maxLength: 20, description: 'Only those of this status.' },
      ...PAGE_FIELDS,
    }),
    output: CELLS,
    run: listCells,
  }),
  reading('cell.show', 'One cell: agents, tasks, success criteria, revivals, doubts.', {
    input: inputOf(['cell']),
    output: CELL,
    run: showCell,
  }),
  reading('task.show', 'One task: how far it is, what it waits for, and its file.', {
    input: inputOf(['task']),
    output: TASK,
    run: showTask,
  }),
  reading('doubt.list', 'Steps that may have run and whose outcome nobody knows.', {
    input: inputOf([]),
    output: DOUBTS,
    run: (reader) => ({ in_doubt: reader.inDoubt().map(asJsonObject) }),
  }),
];

function reading(
  name: string,
  summary: string,
  rest: Pick<ReadingVerb, 'input' | 'output' | 'run'>,
): ReadingVerb {
  return { kind: 'reads', name, summary, remote: true, ...rest };
}

type ListInput = PageInput & { status?: string };

function listCells(reader: MissionReader, { status, ...page }: ListInput): JsonObject {
  const all = reader.status().cells;
  const wanted = status === undefined ? all : all.filter((cell) => cell.status === status);
  const { items, ...more } = pageOf(wanted, ({ cell_id: id }) => id, page);
  return { cells: oneLineEach(items), ...more };
}

function oneLineEach(cells: readonly CellStatusView[]): JsonValue[] {
  return cells.map(({ cell_id, mission_name, status, phase, reason, path, agents, tasks }) => {
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

function showTask(reader: MissionReader, { task = '' }: VerbInput): JsonObject {
  const view = reader.status();
  const { cellId, id } = resolveMember(view, 'task', task);
  const found = resolveCell(view, cellId).tasks.find(({ task_id: known }) => known === id);
  const context = reader.cell(cellId);
  if (!context || !found)
    throw new RuntimeError(`cell ${cellId} cannot be read now`, {
      code: 'CELL_HELD',
      hint: 'The reason stands in `lazarus status`.',
    });
  return {
    cell_id: cellId,
    ...asJsonObject(found),
    file: asJsonObject(taskFileOf(context, id)),
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
