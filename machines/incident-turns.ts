/**
 * Whose turn it is in an incident: which types of events a rule keeps quiet, who waits behind the one that is looked into, and what
 * is over before anybody got to it. Pure.
 *
 * T1 What a rule decided quiets the type of its event, and no other: whoever else waits has a turn.
 * T2 What was said to be over is not looked into any more; what was proposed for it and touches something is taken back, as long as
 *    it is pending: nobody has said anything to it.
 */
import { troubleEndedBy } from './health-event.ts';
import type { HomelabEvent } from './homelab-events.ts';
import { heardIn, inLine, lineOf, quietTypes, quietUntil, withTime } from './incident-context.ts';
import type { Asked, Case, IncidentContext, ProposedBefore } from './incident-context.ts';
import { touches } from './proposal.ts';
import type { Diagnosis } from './proposal.ts';

type Change = Partial<IncidentContext>;

/** T1. */
export function queued(context: IncidentContext, added: Case, at: number): Change {
  const { type } = added.event;
  if (quietUntil(context, type) > at) return {};
  return lineOf([...inLine(context).filter(({ event }) => event.type !== type), added]);
}

export function taken(context: IncidentContext): Change {
  const line = inLine(context);
  return { current: line.at(-1) ?? null, ...lineOf(line.slice(0, -1)) };
}

/** T1. Those who have a turn after what a rule decided, which is quiet from then on. */
export const turnsLeft = (
  context: IncidentContext,
  { type }: NonNullable<Diagnosis['quiets']>,
  at: number,
): Case[] =>
  inLine(context).filter(
    ({ event }) => event.type !== type && quietUntil(context, event.type) <= at,
  );

export function quieted(
  context: IncidentContext,
  quiets: NonNullable<Diagnosis['quiets']>,
  at: number,
): Change {
  const { type, seconds } = quiets;
  const until = at + (seconds ?? context.cooldownSeconds) * 1000;
  const running = Object.fromEntries(quietTypes(context, at));
  return {
    quiet: until > at ? withTime(running, type, until) : running,
    ...lineOf(turnsLeft(context, quiets, at)),
  };
}

/** Of a service that says that it is well, or that something of it is. */
export function recovered(context: IncidentContext, event: HomelabEvent): Change {
  if (context.occurrences === 0) return {};
  const trouble = troubleEndedBy(event.type);
  const whole = { heard: {}, recoveredAt: Date.parse(event.at) };
  const well = { ...whole, recoveries: context.recoveries + 1 };
  if (trouble === null) return well;
  const isOver = (type: string): boolean => type.startsWith(trouble);
  const left = Object.entries(heardIn(context)).filter(([type]) => !isOver(type));
  const { current, asked = null } = context;
  const over = event.type;
  return {
    ...(left.length > 0
      ? { heard: Object.fromEntries(left) }
      : context.recoveredAt === null
        ? well
        : {}),
    ...lineOf(inLine(context).filter((one) => !isOver(one.event.type))),
    ...(current !== null && isOver(current.event.type) && { current: { ...current, over } }),
    ...(asked !== null && isOver(asked.about) && { asked: { ...asked, over } satisfies Asked }),
  };
}

/** T2. Those of them that are pending, as far as is known, and would touch something. */
export function withdrawnBy(
  { proposed }: Pick<IncidentContext, 'proposed'>,
  { type }: HomelabEvent,
): ProposedBefore[] {
  const trouble = troubleEndedBy(type);
  if (trouble === null) return [];
  return proposed.filter(
    (one) =>
      one.status === 'pending' && touches(one.action) && one.about?.startsWith(trouble) === true,
  );
}
