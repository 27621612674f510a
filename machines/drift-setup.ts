/** What the drift machine is made of: its events, effects and guards. drift.machine.ts is the table that uses them. */
import { fromPromise, setup } from 'xstate';
import type { DriftContext, Step } from './drift-context.ts';
import type { EffectDone, EffectFailed, SendParams, SpawnParams, Stamp } from './events.ts';
import type { ActionStatus } from './remediation.ts';
import { WORDS_ONLY } from './supervision.ts';
import type { DriftEvent } from './supervision.ts';
import type { Telling } from './supervision-event.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

export type Delivered =
  | (DriftEvent & Stamp)
  | EffectDone<'telling' | 'tellAgain' | 'patience' | 'pause' | 'deadline'>
  | EffectFailed<'telling'>;

/** Names that are tried for one action. */
export const MAX_SERIAL = 50;
/** How long an action may take to answer before it is asked again, in ms of running time: twice as long each time. */
export const PATIENCE_MS = 30_000;
const LONGEST_PATIENCE_MS = 1_920_000;
/** Tries to tell a step, with growing pauses of 1 s, 2 s, 4 s ... */
const TELL_TRIES = 8;

export const drift = setup({
  types: {
    context: typeOnly<DriftContext>(),
    input: typeOnly<Pick<DriftContext, 'host' | 'service'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    tell: fromPromise<void, Telling>(async () => unbound('tell')),
    waitUntil: fromPromise<void, { at: number } | { up: number }>(async () => unbound('waitUntil')),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
  },
  guards: {
    wantsProposal: ({ context: { drift: told, gone, advised, ruling } }) =>
      told !== null &&
      gone === null &&
      advised !== null &&
      ruling.decision.mode !== 'recommend' &&
      !WORDS_ONLY.includes(advised.remedy),
    isWornOut: ({ context: { drift: told, gone, ruling } }) =>
      told !== null && gone === null && ruling.escalates === true,
    isGone: ({ context }) => context.gone !== null,
    isAsked: ({ context, event }) => isAsked(context, event),
    isAskedAndGone: ({ context, event }) => isAsked(context, event) && context.gone !== null,
    isAskedAndOutdated: ({ context, event }) =>
      isAsked(context, event) &&
      (context.gone !== null || context.advised?.id !== context.asking?.recommendationId),
    isTakenAndMayTryAgain: ({ context, event }) =>
      isAsked(context, event) && (context.asking?.serial ?? MAX_SERIAL) < MAX_SERIAL,
    isMine: ({ context, event }) => isMine(context, event),
    isNotMine: ({ context, event }) => !isMine(context, event),
    isMineAt: ({ context, event }, { at }: { at: readonly (ActionStatus | 'held')[] }) =>
      event.type === 'action.moved' && isMine(context, event) && at.includes(event.status),
    hasEnded: ({ context, event }, params: { as: readonly ActionStatus[]; gone?: true }) =>
      event.type === 'action.settled' &&
      isMine(context, event) &&
      params.as.includes(event.status) &&
      (params.gone !== true || context.gone !== null),
    isApprovable: ({ context: { action }, event }) =>
      event.type === 'remedy.approve' &&
      action?.actionId === event.actionId &&
      action.isApprovable &&
      action.status === 'pending',
    /** What is pending is not what is advised now. */
    isOtherRemedy: ({ context, event }) =>
      event.type === 'drift.stands' && event.recommendation.id !== context.action?.recommendationId,
    isOutdated: ({ context }) =>
      context.gone !== null || context.advised?.id !== context.action?.recommendationId,
    isResolved: ({ event }) =>
      event.type === 'drift.gone' && event.reason === 'drift_resolved_auto',
    hasTelling: ({ context }) => context.tellings.length > 0,
    allTold: ({ context }) => context.tellings.length === 0,
    tellTriesLeft: ({ context }) => context.tellTries < TELL_TRIES,
  },
});

/** About the action that has not said yet what became of its file. */
const isAsked = ({ asking }: DriftContext, event: Delivered): boolean =>
  'actionId' in event && asking !== null && event.actionId === asking.actionId;
const isMine = ({ action }: DriftContext, event: Delivered): boolean =>
  'actionId' in event && action !== null && event.actionId === action.actionId;

/** `tries`: how often it was asked, this time included. */
export const patience = ({ context, event }: { context: DriftContext; event: Delivered }) => ({
  up:
    stampOf(event).up +
    Math.min(LONGEST_PATIENCE_MS, PATIENCE_MS * 2 ** Math.max(0, Math.min(context.tries - 1, 10))),
});

type Make = (context: DriftContext, event: Delivered, at: number) => Step;

export const become = (make: Make) =>
  drift.enqueueActions(({ context, event, enqueue }) => {
    const { context: next, out } = make(context, event, stampOf(event).at);
    enqueue.assign(() => next);
    for (const one of out) enqueue(one);
  });
export const note = (make: (...args: Parameters<Make>) => Partial<DriftContext>) =>
  become((context, event, at) => ({
    context: { ...context, ...make(context, event, at) },
    out: [],
  }));
