/**
 * The smallest action that keeps the planner's contract: writes its file once, says whether that is durable, and how it
 * ended when a test says so. For tests of the planner by itself.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assign, enqueueActions, fromPromise, setup } from 'xstate';
import type { EffectRunner } from '../../actors/effects.ts';
import { writeWhole } from '../../cells/durable.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { SendParams } from '../../machines/events.ts';
import type { JsonObject } from '../../machines/json.ts';

interface Context {
  actionId: string;
  origin: string;
  content: JsonObject;
}
type Written = { outcome: 'durable' | 'taken'; path: string };
type Event =
  | { type: 'action.propose'; content: JsonObject; origin: string }
  | { type: 'small.settle'; status: string }
  | { type: 'xstate.done.actor.writing'; output: Written }
  | { type: 'xstate.error.actor.writing'; error: { message: string } };

const action = setup({
  types: { context: {} as Context, input: {} as { actionId: string }, events: {} as Event },
  actors: {
    writePending: fromPromise<Written, Pick<Context, 'actionId' | 'content'>>(() =>
      Promise.reject(new Error('bound by the test')),
    ),
  },
  actions: { send: (_args, _params: SendParams) => {} },
});
const tell = (make: (context: Context, event: Event) => { type: string } & JsonObject) =>
  enqueueActions<Context, Event, undefined, Event, never, never, never, never, never>(
    ({ context, event, enqueue }) => {
      const params: SendParams = { to: context.origin, event: make(context, event) };
      enqueue({ type: 'send', params } as never);
    },
  );

/** Somebody else's proposal for this id. */
const tooLate = enqueueActions<Context, Event, undefined, Event, never, never, never, never, never>(
  ({ context, event, enqueue }) => {
    if (event.type !== 'action.propose') return;
    const answer = { type: 'proposal.taken', actionId: context.actionId };
    const params: SendParams = { to: event.origin, event: answer };
    enqueue({ type: 'send', params } as never);
  },
);

export const smallActionMachine = action.createMachine({
  id: 'action@1',
  context: ({ input }) => ({ actionId: input.actionId, origin: '', content: {} }),
  initial: 'empty',
  states: {
    empty: {
      on: {
        'action.propose': {
          target: 'writing',
          actions: assign({
            origin: ({ event }) => event.origin,
            content: ({ event }) => event.content,
          }),
        },
      },
    },
    writing: {
      on: { 'action.propose': { actions: tooLate } },
      invoke: {
        id: 'writing',
        src: 'writePending',
        input: ({ context: { actionId, content } }) => ({ actionId, content }),
        onDone: {
          target: 'there',
          actions: tell(({ actionId }, event) => {
            const { outcome, path } = (event as { output: Written }).output;
            return { type: `proposal.${outcome}`, actionId, path };
          }),
        },
        onError: {
          target: 'empty',
          actions: tell(({ actionId }, event) => {
            const { message } = (event as { error: { message: string } }).error;
            return { type: 'proposal.failed', actionId, reason: message };
          }),
        },
      },
    },
    there: {
      on: {
        'action.propose': { actions: tooLate },
        'small.settle': {
          actions: tell(({ actionId }, event) => {
            const { status } = event as { status: string };
            return { type: 'action.settled', actionId, status, reason: null };
          }),
        },
      },
    },
  },
});

export function bindSmallAction(effects: EffectRunner, { actions }: RuntimeLayout): void {
  effects.register<Pick<Context, 'actionId' | 'content'>>('action', 'writePending', {
    semantics: 'idempotent',
    async run({ input: { actionId, content } }) {
      const path = join(actions.pending, `${actionId}.json`);
      const text = JSON.stringify(content, null, 2);
      const onlyIf = (): boolean => !existsSync(path);
      const isOurs = await writeWhole(path, text, { sync: true, what: 'action-file', onlyIf });
      const same = isOurs || readFileSync(path, 'utf8') === text;
      return { outcome: same ? 'durable' : 'taken', path };
    },
  });
}
