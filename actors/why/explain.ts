/** From what was asked about to what committed state says of it. Reading alone: it serves a node that runs and one that is down. */
import { cellAddress, homeCell, isDriftAddress } from '../../machines/addresses.ts';
import { agentStatus, findTask, findAgent } from '../../machines/cell-context.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { WhyReader } from './explanation.ts';
import { explainAction } from './action.ts';
import { explainAgent, explainRevival } from './agent.ts';
import { isoOf, NO_FOCUS, sentence } from './explanation.ts';
import type { Explanation } from './explanation.ts';
import { explainDrift, explainNoDrift, isDrift } from './drift.ts';
import { explainIncident, isIncident } from './incident.ts';
import { fullName, resolveSubject } from './subject.ts';
import type { Subject } from './subject.ts';
import { explainTask, resumeNeeds } from './task.ts';
import { effectWords, waitsOf } from './waits.ts';

type Explained = Omit<Explanation, 'cell_id' | 'path'>;

/** Throws RuntimeError NOT_FOUND, AMBIGUOUS_ID. */
export function explain(source: WhyReader, text: string): Explanation {
  const view = source.status(); // once: it looks at every cell
  const reader: WhyReader = {
    status: () => view,
    inDoubt: () => view.in_doubt,
    cell: (cellId) => source.cell(cellId),
    actor: (address) => source.actor(address),
    clock: () => source.clock(),
  };
  const subject = resolveSubject(reader, text);
  const cellId = 'cellId' in subject ? subject.cellId : cellOf(addressOf(subject));
  const path = view.cells.find(({ cell_id: id }) => id === cellId)?.path ?? null;
  return { cell_id: cellId, path, ...explained(reader, subject) };
}

const addressOf = (subject: Exclude<Subject, { cellId: string }>): string =>
  'address' in subject ? subject.address : fullName(subject);

/** A `system/lazarus/<cell>/<agent>` speaks of that cell. */
function cellOf(address: string): string | null {
  const parts = address.split('/');
  if (parts[0] === 'cell') return homeCell(address);
  return parts[1] === 'lazarus' ? (parts[2] ?? null) : null;
}

function explained(reader: WhyReader, subject: Subject): Explained {
  switch (subject.kind) {
    case 'actor':
      return explainActor(reader, subject.address);
    case 'action':
      return explainAction(reader, subject.actionId) ?? explainActor(reader, fullName(subject));
    case 'effect':
      return explainEffect(reader, subject);
    case 'record':
      return explainRecord(subject);
    case 'revival':
      return explainRevival(reader, reader.cell(subject.cellId), subject);
    default:
      break;
  }
  const context = reader.cell(subject.cellId);
  if (context === undefined) return explainActor(reader, cellAddress(subject.cellId));
  if (subject.kind === 'cell') return explainCell(reader, context);
  if (subject.kind === 'task') {
    if (findTask(context, subject.taskId)) return explainTask(reader, context, subject.taskId);
  } else if (findAgent(context, subject.agentId)) {
    return explainAgent(reader, context, subject.agentId);
  }
  throw new RuntimeError(`${fullName(subject)} is not known`, { code: 'NOT_FOUND' });
}

function explainCell(reader: WhyReader, context: CellContext): Explained {
  const { cellId, phase, reason } = context;
  const tasks = Object.entries(context.tasks);
  const done = tasks.filter(([, { status }]) => status === 'completed').length;
  const failed = Object.entries(context.agents).filter(([, a]) => agentStatus(a) === 'failed');
  const stuck = tasks.filter(([, t]) => t.status === 'failed' || t.blockedReason !== null);
  return {
    kind: 'cell',
    id: cellAddress(cellId),
    answer: sentence(
      `mission ${cellId} is ${phase}${reason === null ? '' : `: ${reason}`}; ${done} of ${tasks.length} tasks are done.`,
      stuck.length > 0
        ? `Ask about ${names(stuck.map(([id]) => `${cellId}/${id}`))} for what stands still.`
        : null,
      failed.length > 0 ? `Failed agents: ${names(failed.map(([id]) => id))}.` : null,
    ),
    facts: [
      { name: 'phase', value: phase },
      ...context.notes
        .slice(-3)
        .map(({ at, text }) => ({ name: 'noted', value: `${isoOf(at)} ${text}` })),
    ],
    policies: [],
    next: waitsOf(reader, reader.actor(cellAddress(cellId))),
    needs: [
      ...resumeNeeds(context, null),
      ...(phase === 'confirming'
        ? [{ what: 'confirm the open criteria', command: `lazarus cell show ${cellId}` }]
        : []),
    ],
    story: [],
    focus: { ...NO_FOCUS, cell: cellId, addresses: [cellAddress(cellId)] },
  };
}

const names = (ids: readonly string[]): string =>
  ids.length > 5 ? `${ids.slice(0, 5).join(', ')} and ${ids.length - 5} more` : ids.join(', ');

function explainActor(reader: WhyReader, address: string): Explained {
  const actor = reader.actor(address);
  const held = reader.status().held.find(({ what }) => what === address)?.reason;
  if (actor === undefined && held === undefined && isDriftAddress(address))
    return explainNoDrift(address);
  if (actor === undefined && held === undefined)
    throw new RuntimeError(`no actor lives at ${address}`, {
      code: 'ACTOR_UNKNOWN',
      hint: 'Missions, agents and tasks stand in `lazarus status`; revivals are at system/lazarus/<cell_id>/<agent_id>.',
    });
  const reason = held ?? (actor && 'held' in actor ? actor.held : undefined);
  if (actor && !('held' in actor) && reason === undefined && isIncident(actor))
    return explainIncident(reader, address, actor);
  if (actor && !('held' in actor) && reason === undefined && isDrift(actor))
    return explainDrift(reader, address, actor);
  const isHeld = reason !== undefined;
  const view = actor && !('held' in actor) ? actor : undefined;
  const state = JSON.stringify(view?.state ?? null);
  return {
    kind: 'actor',
    id: address,
    answer: isHeld
      ? sentence(`${address} is held: its records are kept and nothing is applied. ${reason}`)
      : sentence(
          `${address} (${view?.machine ?? '?'}) is at ${state} after record ${view?.seq ?? '?'}`,
        ),
    facts: view
      ? [
          { name: 'machine', value: view.machine },
          { name: 'state', value: view.state },
          { name: 'seq', value: view.seq },
        ]
      : [],
    policies: [],
    next: waitsOf(reader, view, { upkeep: true }),
    needs: isHeld
      ? [{ what: 'once that is mended', command: `lazarus cell release ${address}` }]
      : [],
    story: [],
    focus: { ...NO_FOCUS, cell: cellOf(address), addresses: [address] },
  };
}

function explainEffect(reader: WhyReader, effect: Extract<Subject, { kind: 'effect' }>): Explained {
  const { address, seq, invoke } = effect;
  const key = fullName(effect);
  const actor = reader.actor(address);
  if (actor === undefined)
    throw new RuntimeError(`no actor lives at ${address}`, { code: 'ACTOR_UNKNOWN' });
  const pending = 'held' in actor ? undefined : actor.invokes[invoke];
  const doubt = reader.inDoubt().find((known) => known.key === key);
  const isPending = pending?.seq === seq;
  const what = isPending ? effectWords(pending) : `effect ${invoke}`;
  return {
    kind: 'effect',
    id: key,
    answer: doubt
      ? sentence(`${what} is in doubt: it may have run, and nobody knows how it ended`)
      : isPending
        ? sentence(`${what} has no outcome yet`, reader.clock() ? null : '; no node runs')
        : sentence(`${what} is over: its outcome, or what withdrew it, is among the records below`),
    facts: isPending ? [{ name: 'effect', value: pending.src }] : [],
    policies: [],
    next: [],
    needs: doubt
      ? [
          {
            what: `look at what it did (artifacts/logs/${doubt.task_id}/), then say how it ended`,
            command: `lazarus doubt done|retry|fail ${doubt.cell_id}/${doubt.task_id}`,
          },
        ]
      : [],
    story: [],
    focus: {
      ...NO_FOCUS,
      cell: cellOf(address),
      records: [`${address}#${seq}`],
      effect: { address, seq, invoke },
    },
  };
}

function explainRecord(record: Extract<Subject, { kind: 'record' }>): Explained {
  const { address, seq } = record;
  return {
    kind: 'record',
    id: fullName(record),
    answer: sentence(`record ${seq} of ${address}, what led to it, and what it caused`),
    facts: [],
    policies: [],
    next: [],
    needs: [],
    story: [],
    focus: { ...NO_FOCUS, cell: cellOf(address), records: [`${address}#${seq}`] },
  };
}
