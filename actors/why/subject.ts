/** What `lazarus why` was asked about: a bare id serves while it can mean one thing only; else the answer names them. */
import { isActionId } from '../../machines/action-file.ts';
import { actionAddress, agentAddress, cellAddress } from '../../machines/addresses.ts';
import {
  driftAddress,
  incidentAddress,
  isDriftAddress,
  SUPERVISOR,
} from '../../machines/addresses.ts';
import { lazarusAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { LazarusContext } from '../../machines/lazarus-context.ts';
import { ACTIONS, idOf } from '../actions/action-index.ts';
import type { CellStatusView, StatusView } from '../status.ts';
import { nearNames, resolveCell } from '../verbs/ids.ts';
import { driftCalled, withoutLine } from './drift.ts';
import type { WhyReader } from './explanation.ts';

export type Subject =
  | { kind: 'cell'; cellId: string }
  | { kind: 'task'; cellId: string; taskId: string }
  | { kind: 'agent'; cellId: string; agentId: string }
  | { kind: 'revival'; cellId: string; agentId: string; revivalId: string }
  | { kind: 'action'; actionId: string }
  | { kind: 'actor'; address: string }
  | { kind: 'effect'; address: string; seq: number; invoke: string }
  | { kind: 'record'; address: string; seq: number };

/** Throws RuntimeError NOT_FOUND, AMBIGUOUS_ID. */
export function resolveSubject(reader: WhyReader, text: string): Subject {
  const marked = /^([^#]+)#(\d+)(?:#(.+))?$/.exec(text);
  if (marked) {
    const [, address = '', seq, invoke] = marked;
    return invoke === undefined
      ? { kind: 'record', address, seq: Number(seq) }
      : { kind: 'effect', address, seq: Number(seq), invoke };
  }
  const view = reader.status();
  if (isDriftAddress(text)) return { kind: 'actor', address: withoutLine(text) };
  if (/^(cell|system)\//.test(text)) return byAddress(view, text);
  const candidates = [
    ...members(view, text),
    ...revivals(reader, view, text),
    ...actions(reader, text),
    ...services(reader, text),
  ];
  const [only] = candidates;
  if (only && candidates.length === 1) return only;
  if (candidates.length > 1) throw ambiguous(text, candidates);
  if (text.includes('/')) return pairOrService(reader, view, text);
  return { kind: 'cell', cellId: cellOrNothing(view, text).cell_id };
}

/** The form that can mean nothing else. */
export function fullName(subject: Subject): string {
  switch (subject.kind) {
    case 'cell':
      return cellAddress(subject.cellId);
    case 'task':
      return `${cellAddress(subject.cellId)}/task/${subject.taskId}`;
    case 'agent':
      return agentAddress(subject.cellId, subject.agentId);
    case 'revival':
      return subject.revivalId;
    case 'action':
      return actionAddress(subject.actionId);
    case 'actor':
      return subject.address;
    case 'effect':
      return `${subject.address}#${subject.seq}#${subject.invoke}`;
    case 'record':
      return `${subject.address}#${subject.seq}`;
    default:
      return subject satisfies never;
  }
}

/** Cells and their members by what they are called in addresses; a task, which is no actor, by the same form. */
function byAddress(view: StatusView, text: string): Subject {
  const [kind, cellId = '', member, id = ''] = text.split('/');
  if (text.startsWith(ACTIONS)) return { kind: 'action', actionId: idOf(text) };
  if (kind !== 'cell') return { kind: 'actor', address: text };
  if (member === undefined) return { kind: 'cell', cellId };
  const cell = view.cells.find(({ cell_id: known }) => known === cellId);
  if (member === 'task' && cell?.tasks.some(({ task_id: known }) => known === id))
    return { kind: 'task', cellId, taskId: id };
  if (member === 'agent' && cell?.agents.some(({ agent_id: known }) => known === id))
    return { kind: 'agent', cellId, agentId: id };
  return { kind: 'actor', address: text };
}

function members(view: StatusView, text: string): Subject[] {
  return view.cells.flatMap((cell): Subject[] => {
    const id = text.startsWith(`${cell.cell_id}/`) ? text.slice(cell.cell_id.length + 1) : text;
    return membersOf(cell, id);
  });
}

function membersOf(cell: CellStatusView, id: string): Subject[] {
  const { cell_id: cellId, tasks, agents } = cell;
  const found: Subject[] = [];
  if (tasks.some(({ task_id: known }) => known === id))
    found.push({ kind: 'task', cellId, taskId: id });
  if (agents.some(({ agent_id: known }) => known === id))
    found.push({ kind: 'agent', cellId, agentId: id });
  return found;
}

/** Of a homelab's service that is well there is no actor: where somebody looks after a homelab, it is one of these. */
function pairOrService(reader: WhyReader, view: StatusView, text: string): Subject {
  try {
    return resolvePair(view, text);
  } catch (error) {
    const isUnknown = error instanceof RuntimeError && error.code === 'NOT_FOUND';
    if (!isUnknown || reader.actor(SUPERVISOR) === undefined) throw error;
    const cut = text.indexOf('/');
    return { kind: 'actor', address: driftAddress(text.slice(0, cut), text.slice(cut + 1)) };
  }
}

/** `<beginning of a cell_id>/<id>`. */
function resolvePair(view: StatusView, text: string): Subject {
  const cut = text.indexOf('/');
  const cell = resolveCell(view, text.slice(0, cut));
  const id = text.slice(cut + 1);
  const found = membersOf(cell, id);
  const [only] = found;
  if (only && found.length === 1) return only;
  if (found.length > 1) throw ambiguous(text, found);
  throw unknown(`cell ${cell.cell_id} has no task or agent ${id}`, id, namesOf([cell]));
}

/** The present request of an agent, or one that is over; ids hold the agent's name, so few agents are asked. */
function revivals(reader: WhyReader, view: StatusView, text: string): Subject[] {
  return view.revivals
    .filter(({ agent_id: agentId }) => text.includes(agentId))
    .flatMap(({ cell_id: cellId, agent_id: agentId }): Subject[] => {
      const actor = reader.actor(lazarusAddress(cellId, agentId));
      if (actor === undefined || 'held' in actor) return [];
      const { revivalId, history, count } = actor.context as LazarusContext;
      const number = Number(/\.([1-9]\d{0,15})$/.exec(text)?.[1]);
      const isOlder = text === `${cellId}.${agentId}.${number}` && number <= count; // the history is bounded
      const isKnown =
        revivalId === text || history.some((past) => past.revivalId === text) || isOlder;
      return isKnown ? [{ kind: 'revival', cellId, agentId, revivalId: text }] : [];
    });
}

function actions(reader: WhyReader, text: string): Subject[] {
  const isOne = isActionId(text) && reader.actor(actionAddress(text)) !== undefined;
  return isOne ? [{ kind: 'action', actionId: text }] : [];
}

/** `<host>/<service>`, as the lists name it; a drift says what the incident is too. */
function services(reader: WhyReader, text: string): Subject[] {
  const drift = driftCalled(reader, text);
  const isAction = actions(reader, text).length > 0; // it has the name of what was recommended
  if (drift !== undefined && !isAction) return [{ kind: 'actor', address: drift }];
  const cut = text.indexOf('/');
  if (cut < 1 || cut === text.length - 1) return [];
  const address = incidentAddress(text.slice(0, cut), text.slice(cut + 1));
  return reader.actor(address) === undefined ? [] : [{ kind: 'actor', address }];
}

function cellOrNothing(view: StatusView, text: string): CellStatusView {
  try {
    return resolveCell(view, text);
  } catch (error) {
    if (!(error instanceof RuntimeError) || error.code !== 'NOT_FOUND') throw error;
    throw unknown(`nothing is called ${text}`, text, namesOf(view.cells));
  }
}

const namesOf = (cells: readonly CellStatusView[]): string[] => [
  ...new Set(
    cells.flatMap(({ tasks, agents, cell_id: cellId }) => [
      cellId,
      ...tasks.map(({ task_id: id }) => id),
      ...agents.map(({ agent_id: id }) => id),
    ]),
  ),
];

function ambiguous(text: string, candidates: readonly Subject[]): RuntimeError {
  const names = candidates.map(fullName);
  return new RuntimeError(`${text} can mean: ${names.join(', ')}`, {
    code: 'AMBIGUOUS_ID',
    details: { candidates: names },
    hint: `Name one of them in full, for example ${names[0]}`,
  });
}

function unknown(message: string, text: string, known: string[]): RuntimeError {
  const near = nearNames(text, known);
  return new RuntimeError(message, {
    code: 'NOT_FOUND',
    details: { near },
    hint:
      near.length > 0
        ? `Did you mean ${near.join(', ')}?`
        : 'It takes a task, an agent, a mission, a revival, an action, a service of the homelab (<host>/<service>), the address of an actor, or the key of an effect; `lazarus status` has them.',
  });
}
