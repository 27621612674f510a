/** Why a service of the homelab is as the planner has it: what was heard, what came of the last look, when the next one is. */
import { actionAddress } from '../../machines/addresses.ts';
import type { ActionContext } from '../../machines/action-context.ts';
import { serviceKey } from '../../machines/health-event.ts';
import { isSettled, quietTypes } from '../../machines/incident-context.ts';
import type { IncidentContext, ProposedBefore } from '../../machines/incident-context.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { lifeOf } from '../planner/incident-view.ts';
import type { ActorView, MissionReader } from '../verbs/verb.ts';
import { isoOf, NO_FOCUS, sentence } from './explanation.ts';
import type { Explanation, Need, WhyReader } from './explanation.ts';
import { waitsOf } from './waits.ts';

export const isIncident = ({ machine }: ActorView): boolean => machine.startsWith('incident@');

export function explainIncident(
  reader: WhyReader,
  address: string,
  actor: ActorView,
): Omit<Explanation, 'cell_id' | 'path'> {
  const context = actor.context as IncidentContext;
  const { occurrences, firstSeenAt, lastSeenAt, recoveredAt, last, outcome } = context;
  const proposed = context.proposed.map((one) => ({ ...one, status: statusOf(reader, one) }));
  return {
    kind: 'incident',
    id: address,
    answer: answerOf(context, lifeOf(actor.state)),
    facts: [
      { name: 'events', value: occurrences },
      { name: 'first', value: isoOf(firstSeenAt) },
      { name: 'last', value: isoOf(lastSeenAt) },
      ...(last === null ? [] : [{ name: 'last event', value: `${last.type} (${last.severity})` }]),
      { name: 'well since', value: recoveredAt === null ? 'not yet' : isoOf(recoveredAt) },
      ...(outcome === null ? [] : [{ name: 'last look', value: outcomeText(context) }]),
      ...quietTypes(context, reader.clock()?.at ?? Date.now()).map(([type, until]) => ({
        name: 'quiet by a rule',
        value: `${type} until ${isoOf(until)}`,
      })),
      ...proposed.map(({ actionId, action, status, reason }) => ({
        name: 'proposed',
        value: `${action}: ${actionId}, ${status}${reason === null ? '' : `: ${reason}`}`,
      })),
    ],
    policies: [],
    next: waitsOf(reader, actor),
    needs: needsOf(context, lifeOf(actor.state), proposed),
    story: [],
    focus: { ...NO_FOCUS, addresses: [address], askers: [address] },
  };
}

/** As its own actor has it now; what has ended is told to the incident, and an action of long ago may have no actor. */
export function statusOf(
  reader: Pick<MissionReader, 'actor'>,
  { actionId, status }: ProposedBefore,
): ActionStatus | 'held' {
  if (isSettled(status)) return status;
  const actor = reader.actor(actionAddress(actionId));
  if (actor === undefined || 'held' in actor) return status;
  return (actor.context as ActionContext).status ?? status;
}

function answerOf(context: IncidentContext, life: string): string {
  const { host, service, occurrences, recoveredAt } = context;
  const name = `incident of ${serviceKey(host, service)}`;
  if (life === 'diagnosing') return sentence(`${name} is looked into: a model is asked`);
  if (life === 'proposing') return sentence(`${name} was diagnosed: its proposal is being written`);
  const said = recoveredAt === null ? '' : `, and the service has said that it is well`;
  const times = occurrences === 1 ? 'was heard once' : `was heard ${occurrences} times`;
  const now =
    life === 'cooling'
      ? `no new proposal until ${isoOf(context.cooldownUntil ?? 0)}`
      : 'its next event is diagnosed';
  return sentence(`${name} ${times}${said}; ${outcomeText(context)}; ${now}`);
}

function outcomeText({ outcome }: IncidentContext): string {
  if (outcome === null) return 'nothing has come of it yet';
  const { kind, text } = outcome;
  switch (kind) {
    case 'proposed':
      return `${outcome.model} proposed ${text}`;
    case 'ignored':
      return `${outcome.model} would ignore it: ${text}`;
    case 'llm_failed':
      return `nothing is proposed: ${text}`;
    case 'write_failed':
      return `the proposal could not be written: ${text}`;
    default:
      return kind satisfies never;
  }
}

function needsOf(
  { host, service, outcome }: IncidentContext,
  life: string,
  proposed: readonly { actionId: string; status: string }[],
): Need[] {
  const waiting = proposed.filter(({ status }) => status === 'pending').slice(-3);
  return [
    ...waiting.map(({ actionId }) => ({
      what: 'look at what is proposed',
      command: `lazarus actions show ${actionId}`,
    })),
    ...(life === 'quiet' && outcome?.kind === 'llm_failed'
      ? [{ what: 'see which models can be asked', command: 'lazarus models' }]
      : []),
    ...(life === 'cooling'
      ? [
          {
            what: 'have its next event diagnosed',
            command: `lazarus cooldowns reset ${serviceKey(host, service)}`,
          },
        ]
      : []),
  ];
}
