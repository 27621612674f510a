/** What the action machine is made of: its events, effects and guards. action.machine.ts is the table that uses them. */
import { fromPromise, setup } from 'xstate';
import { judge } from './action-context.ts';
import type { ActionContext, Moved, MoveInput } from './action-context.ts';
import type { PlannedRun, Runnable, RunOutcome, Verdict } from './action-context.ts';
import type { EffectDone, EffectFailed, SendParams, Stamp } from './events.ts';
import { endsTrouble } from './health-event.ts';
import type { JsonObject } from './json.ts';
import type { ActionEvent } from './remediation.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

type EffectId = 'write' | 'move' | 'plan' | 'run' | 'health' | 'escalate';
export type Delivered =
  | (ActionEvent & Stamp)
  | EffectDone<EffectId>
  | EffectFailed<EffectId>
  | EffectDone<'expiry' | 'deadline' | 'retry'>;

/** Tries to write the result into the file. */
const FINISH_TRIES = 20;
/** In histories: what no person did. */
export const OURS = 'lazarus';

export const action = setup({
  types: {
    context: typeOnly<ActionContext>(),
    input: typeOnly<{ actionId?: string } & Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<Delivered>(),
    tags: typeOnly<'moving' | 'settled' | 'underway'>(),
  },
  actors: {
    writePending: fromPromise<Moved, { actionId: string; content: JsonObject }>(async () =>
      unbound('writePending'),
    ),
    moveFile: fromPromise<Moved, MoveInput>(async () => unbound('moveFile')),
    planRun: fromPromise<PlannedRun, { run: Runnable }>(async () => unbound('planRun')),
    runAction: fromPromise<RunOutcome, { run: Runnable; plan: PlannedRun }>(async () =>
      unbound('runAction'),
    ),
    awaitHealthy: fromPromise<{ by: string }, { run: Runnable; since: number; until: number }>(
      async () => unbound('awaitHealthy'),
    ),
    escalate: fromPromise<void, { about: JsonObject }>(async () => unbound('escalate')),
    waitUntil: fromPromise<void, { at: number }>(async () => unbound('waitUntil')),
  },
  actions: { send: (_args, _params: SendParams) => {} },
  guards: {
    judgedAs: ({ context, event }, { kind }: { kind: Verdict['kind'] }) =>
      judge(context, stampOf(event).at).kind === kind,
    /** What was approved stands where it was approved. */
    isAsApproved: ({ context, event }) =>
      event.type === 'action.found' &&
      event.status === 'approved' &&
      event.sha256 === context.approval?.sha256,
    stands: ({ context, event }) =>
      event.type === 'action.found' && event.status === context.place?.status,
    isTold: ({ context, event }) => 'event' in event && reportsHealth(context, event),
    wasGranted: ({ context }) => context.granted,
    wasMoved: ({ event }) => movedBy(event)?.outcome === 'moved',
    wasWritten: ({ event }) => movedBy(event)?.outcome !== 'elsewhere',
    hasLapsed: ({ context, event }) =>
      context.approval !== null && context.approval.expiresAt <= stampOf(event).at,
    wantsRehearsal: ({ context, event }) =>
      event.type === 'gate.refused' && event.dryRun === true && !context.rehearsed,
    hasRunWell: ({ event }) => outcomeOf(event)?.ok === true,
    verifies: ({ context }) => context.plan?.verifies === true,
    mayRetry: ({ context }) => context.finishTries < FINISH_TRIES,
    hasFailed: ({ context }) => context.status === 'failed' && context.move?.kind === 'fail',
  },
});

export type Args = { context: ActionContext; event: Delivered };

export function movedBy(event: Delivered): Moved | undefined {
  if (event.type !== 'xstate.done.actor.move' && event.type !== 'xstate.done.actor.write')
    return undefined;
  return event.output as unknown as Moved;
}

export function outcomeOf(event: Delivered): RunOutcome | undefined {
  return event.type === 'xstate.done.actor.run'
    ? (event.output as unknown as RunOutcome)
    : undefined;
}

/** News of before the run ended say nothing of what came of it. Many programs tell whole seconds: these may be of their end. */
function reportsHealth({ ranUntil, content }: ActionContext, event: Delivered): boolean {
  if (event.type !== 'service.reported' || !event.healthy || ranUntil === null) return false;
  const trouble = content?.['source_event'];
  if (!endsTrouble(event.event, typeof trouble === 'string' ? trouble : '')) return false;
  const at = Date.parse(event.event.at);
  return (at % 1000 === 0 ? at + 999 : at) >= ranUntil;
}
