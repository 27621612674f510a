/** The actions of the drift machine, by name; here, what it is told of the drift, and how it tells of it. */
import { inTurn, say, sayStatus } from './drift-context.ts';
import type { DriftContext } from './drift-context.ts';
import * as outcome from './drift-outcome.ts';
import * as proposal from './drift-proposal.ts';
import { become, note } from './drift-setup.ts';
import type { Delivered } from './drift-setup.ts';
import { asJsonObject, jsonEqual } from './json.ts';
import type { Recommendation, Ruling } from './supervision.ts';

type Stands = Extract<Delivered, { type: 'drift.stands' }>;
const rulingIn = (ruling: Ruling): Ruling => {
  const { decision, requiresHuman, escalates, verifyWithin, policySha256 } = ruling;
  return {
    decision,
    requiresHuman,
    ...(escalates && { escalates }),
    verifyWithin,
    policySha256,
  };
};

const recommend = (context: DriftContext, { drift: told, recommendation }: Stands, at: number) =>
  say(context, { what: recommendation.event, because: told.because, at });

/**
 * A new episode: nothing of the one before is in hand. Who was held and hears late told of that one when this had begun for the
 * supervisor.
 */
const begin = become((context, event, at) => {
  if (event.type !== 'drift.stands') return { context, out: [] };
  const next: DriftContext = {
    ...context,
    ...told(event),
    advised: event.recommendation,
    since: at,
    gone: null,
    status: 'recommended',
    unwritten: null,
    episodes: context.episodes + 1,
  };
  return inTurn(
    next,
    (now) => (context.episodes > 0 ? sayStatus(now) : { context: now, out: [] }),
    (now) => recommend(now, event, at),
  );
});

const told = (event: Stands): Pick<DriftContext, 'drift' | 'dependants' | 'ruling'> => ({
  drift: event.drift,
  dependants: event.dependants ?? [],
  ruling: rulingIn(event),
});

/** It stands otherwise. One that a person has to look at stays so. */
const restand = become((context, event, at) => {
  if (event.type !== 'drift.stands') return { context, out: [] };
  const isOtherKind = event.drift.kind !== context.drift?.kind;
  const isAgain = context.gone !== null;
  const since = isOtherKind || isAgain ? at : context.since;
  const next: DriftContext = { ...context, ...told(event), since, gone: null };
  if (context.status === 'escalated') return { context: next, out: [] };
  const advised = { ...next, advised: event.recommendation };
  const isOther = isOtherKind || isAgain || !isSame(event.recommendation, context.advised);
  return inTurn(
    advised,
    (now) => (isAgain ? sayStatus(now) : { context: now, out: [] }), // it is a new drift to the supervisor
    (now) => (isOther ? recommend(now, event, at) : { context: now, out: [] }),
  );
});
const isSame = (a: Recommendation, b: Recommendation | null): boolean =>
  b !== null && jsonEqual(asJsonObject(a), asJsonObject(b));

const takeRuling = note((_context, event) =>
  event.type === 'drift.decided' ? { ruling: rulingIn(event) } : {},
);
const noteGone = note((_context, event, at) =>
  event.type === 'drift.gone' ? { gone: { reason: event.reason, at } } : {},
);

const nextTelling = note(({ tellings }) => ({ tellings: tellings.slice(1), tellTries: 0 }));
const countTellTry = note(({ tellTries }, _event, at) => ({
  tellTries: tellTries + 1,
  tellAt: at + 1000 * 2 ** tellTries,
}));

const { withdrawal: _withdrawal, ...proposals } = proposal;
const { over, escalate, ...outcomes } = outcome;

export const driftActions = {
  ...proposals,
  ...outcomes,
  begin,
  restand,
  takeRuling,
  noteGone,
  endFailed: over('failed'),
  endWithdrawn: over('withdrawn'),
  escalateFailed: escalate('failed'),
  escalateNotVerified: escalate('not_verified'),
  nextTelling,
  countTellTry,
};
