/** How a drift's action ended, and what that means for the drift. */
import { end, inTurn, keyOf, say, stand, toSupervisor } from './drift-context.ts';
import type { DriftContext, Step } from './drift-context.ts';
import { withdrawal } from './drift-proposal.ts';
import { recommendationId } from './drift.ts';
import { become } from './drift-setup.ts';
import type { Delivered } from './drift-setup.ts';
import type { Drift, Recommendation, RemedyOutcome } from './supervision.ts';

const statusIn = (event: Delivered): string =>
  event.type === 'action.settled' ? event.status : '?';
const reasonIn = (event: Delivered): string | null =>
  event.type === 'action.settled' ? event.reason : null;

export const noteEnded = become((context, event, at) => {
  const reason = reasonIn(event);
  const because = `${statusIn(event)}${reason === null ? '' : `: ${reason}`}`;
  return say(context, { what: 'action_ended', because, at });
});
export const startVerifying = become((context, _event, at) =>
  stand({ ...context, verifyUntil: at + context.ruling.verifyWithin * 1000 }, 'verifying'),
);

const verified = (context: DriftContext, at: number): Step =>
  inTurn(
    context,
    (now) => say(now, { what: 'remedy_verified', because: 'the drift is gone', at }),
    (now) => end(now, { outcome: 'verified', reason: null, at }),
  );
export const endVerified = become((context, _event, at) => verified(context, at));
/** D5: the drift went while the action ran; what went by itself before that is nobody's success. */
export const endGone = become((context, _event, at) => {
  const { gone, action } = context;
  const ranAt = action?.ranAt ?? null;
  const helped = gone?.reason === 'drift_resolved_auto' && ranAt !== null && gone.at >= ranAt;
  return helped ? verified(context, at) : end(context, { outcome: 'withdrawn', reason: null, at });
});

export const over = (outcome: RemedyOutcome) =>
  become((context, event, at) => end(context, { outcome, reason: reasonIn(event), at }));

/** D4: what it needs now is a person. */
export const escalate = (outcome: 'failed' | 'not_verified') =>
  become((context, event, at) => {
    const { action, ruling } = context;
    const seconds = ruling.verifyWithin;
    const why =
      outcome === 'failed'
        ? `${action?.actionId ?? 'its action'} failed: ${reasonIn(event) ?? '?'}`
        : `${action?.actionId ?? 'its action'} ran well, and the drift was there ${seconds} s later`;
    const because = `${why}. A person has to look`;
    return inTurn(
      context,
      (now) => end(now, { outcome, reason: reasonIn(event), at }),
      (now) => askPerson(now, because, at),
    );
  });
/** Nothing of it is in hand. */
export const escalateWornOut = become((context, _event, at) =>
  askPerson(context, context.ruling.decision.because, at),
);

const askPerson = (context: DriftContext, because: string, at: number): Step =>
  inTurn(
    { ...context, advised: context.drift && diagnostics(context.drift) },
    (now) => stand(now, 'escalated'),
    (now) => say(now, { what: 'remedy_escalated', because, at }),
    (now) => say(now, { what: 'reconcile_blocked', because, at }),
  );

const diagnostics = (target: Drift): Recommendation => ({
  id: recommendationId('diagnostics', target),
  event: 'reconcile_blocked',
  remedy: 'diagnostics',
  risk: 'none',
});

export const decline = become((context, event, at) => {
  const reason = reasonIn(event);
  const status = statusIn(event);
  const what = status === 'cancelled' ? 'action_cancelled' : 'action_ended';
  const because = `${status}${reason === null ? '' : `: ${reason}`}`;
  return inTurn(
    context,
    (now) => say(now, { what, because, at }),
    (now) => end(now, { outcome: 'declined', reason, at }),
    (now) => stand(now, 'declined'),
  );
});

export const noteWithdrawn = become((context, event, at) => {
  const reason = reasonIn(event);
  return inTurn(
    context,
    (now) => say(now, { what: 'action_cancelled', because: reason ?? withdrawal(now), at }),
    (now) => end(now, { outcome: 'withdrawn', reason, at }),
  );
});
export const standRecommended = become((context) => stand(context, 'recommended'));

export const resolve = become((context, _event, at) =>
  inTurn(
    { ...context, asking: null, unwritten: null },
    (now) => stand(now, 'resolved'),
    (now) => say(now, { what: 'drift_resolved', because: withdrawal(now), at }),
  ),
);
export const sayDone = become((context) => ({
  context,
  out: [toSupervisor({ type: 'drift.done', key: keyOf(context) })],
}));
