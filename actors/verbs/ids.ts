/**
 * The ids people type. A bare id serves when it is unique; else the answer names the candidates, and an unknown one names
 * what is near, so that the next try is right.
 */
import { RuntimeError } from '../../machines/errors.ts';
import type { CellStatusView, DoubtView, RevivalView, StatusView } from '../status.ts';

export interface Member {
  cellId: string;
  id: string;
}

/** Beginnings of a cell_id shorter than this are not taken for one. */
const MIN_PREFIX = 4;

/** A cell by its id, or by the beginning of it. Throws NOT_FOUND, AMBIGUOUS_ID. */
export function resolveCell(view: StatusView, text: string): CellStatusView {
  const exact = view.cells.find(({ cell_id: id }) => id === text);
  if (exact) return exact;
  const begun =
    text.length < MIN_PREFIX ? [] : view.cells.filter(({ cell_id: id }) => id.startsWith(text));
  const [only] = begun;
  if (only && begun.length === 1) return only;
  const ids = view.cells.map(({ cell_id: id }) => id);
  if (begun.length > 1)
    throw ambiguous(
      'cell',
      text,
      begun.map(({ cell_id: id }) => id),
    );
  throw unknown('cell', text, ids);
}

/** An agent or task: `<cell_id>/<id>`, or the bare id. Throws NOT_FOUND, AMBIGUOUS_ID. */
export function resolveMember(view: StatusView, kind: 'agent' | 'task', text: string): Member {
  const cut = text.indexOf('/');
  if (cut >= 0) {
    const cell = resolveCell(view, text.slice(0, cut));
    const id = text.slice(cut + 1);
    if (membersOf(cell, kind).includes(id)) return { cellId: cell.cell_id, id };
    throw unknown(kind, text, membersOf(cell, kind), `cell ${cell.cell_id} has no ${kind} ${id}`);
  }
  const holding = view.cells.filter((cell) => membersOf(cell, kind).includes(text));
  const [only] = holding;
  if (only && holding.length === 1) return { cellId: only.cell_id, id: text };
  if (holding.length > 1)
    throw ambiguous(
      kind,
      text,
      holding.map((cell) => `${cell.cell_id}/${text}`),
    );
  throw unknown(kind, text, [...new Set(view.cells.flatMap((cell) => membersOf(cell, kind)))]);
}

/** An effect in doubt, by its key, its task or its agent. Throws NOT_FOUND, AMBIGUOUS_ID. */
export function resolveDoubt(view: StatusView, text: string): DoubtView {
  const namesOf = (doubt: DoubtView): string[] => {
    const { key, cell_id: cell, task_id: task, agent_id: agent } = doubt;
    return [key, `${cell}/${task}`, task, `${cell}/${agent}`, agent];
  };
  const found = view.in_doubt.filter((doubt) => namesOf(doubt).includes(text));
  const [only] = found;
  if (only && found.length === 1) return only;
  if (found.length > 1)
    throw ambiguous(
      'step in doubt',
      text,
      found.map(({ key }) => key),
    );
  const known = view.in_doubt.map(({ cell_id: cell, task_id: task }) => `${cell}/${task}`);
  throw unknown('step in doubt', text, known);
}

/** What Lazarus does about an agent, by the id of its revival or by the agent. Throws NOT_FOUND, AMBIGUOUS_ID. */
export function resolveRevival(view: StatusView, text: string): RevivalView {
  const namesOf = (revival: RevivalView): (string | null)[] => {
    const { revival_id: id, cell_id: cell, agent_id: agent } = revival;
    return [id, `${cell}/${agent}`, agent, id && id.slice(cell.length + 1)];
  };
  const exact = view.revivals.filter(({ revival_id: id }) => id === text);
  const found =
    exact.length > 0 ? exact : view.revivals.filter((known) => namesOf(known).includes(text));
  const [only] = found;
  if (only && found.length === 1) return only;
  const nameOf = ({ cell_id: cell, agent_id: agent }: RevivalView): string => `${cell}/${agent}`;
  if (found.length > 1) throw ambiguous('revival', text, found.map(nameOf));
  throw unknown('revival', text, view.revivals.map(nameOf));
}

const membersOf = (cell: CellStatusView, kind: 'agent' | 'task'): string[] =>
  kind === 'agent'
    ? cell.agents.map(({ agent_id: id }) => id)
    : cell.tasks.map(({ task_id: id }) => id);

function ambiguous(kind: string, text: string, candidates: string[]): RuntimeError {
  return new RuntimeError(`${kind} ${text} can mean: ${candidates.join(', ')}`, {
    code: 'AMBIGUOUS_ID',
    details: { candidates },
    hint: `Name one of them in full, for example ${candidates[0]}`,
  });
}

function unknown(kind: string, text: string, known: string[], message?: string): RuntimeError {
  const near = nearNames(text.slice(text.lastIndexOf('/') + 1), known);
  const hint =
    near.length > 0
      ? `Did you mean ${near.join(', ')}?`
      : known.length > 0 && known.length <= 10
        ? `There is ${known.join(', ')}`
        : 'List what there is with `lazarus status`.';
  return new RuntimeError(message ?? `there is no ${kind} ${text}`, {
    code: 'NOT_FOUND',
    details: { near },
    hint,
  });
}

/** At most three of `known` that a slip of the keyboard may have meant, the nearest first. */
export function nearNames(text: string, known: readonly string[]): string[] {
  const wanted = text.toLowerCase();
  const bound = Math.max(1, Math.floor(text.length / 3));
  return known
    .map((name) => ({ name, distance: editDistance(wanted, name.slice(0, 80).toLowerCase()) }))
    .filter(
      ({ name, distance }) =>
        distance <= bound || (wanted.length > 2 && name.toLowerCase().includes(wanted)),
    )
    .toSorted((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map(({ name }) => name);
}

/** Levenshtein. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
