/**
 * Why a host or service of the homelab is as the supervisor has it: what drifts, what is advised and decided, what became of the
 * action, what comes next. One that is well again has no actor: its story stands in the journal.
 */
import {
  actionAddress,
  driftAddress,
  incidentAddress,
  SUPERVISOR,
} from '../../machines/addresses.ts';
import type { DriftContext } from '../../machines/drift-context.ts';
import type { JsonValue } from '../../machines/json.ts';
import { valuesIn } from '../../machines/shards.ts';
import { whyWaiting } from '../../machines/supervisor-context.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import type { ActorView } from '../verbs/verb.ts';
import { isoOf, NO_FOCUS, sentence } from './explanation.ts';
import type { Explanation, Fact, Need, WhyReader } from './explanation.ts';
import { waitsOf } from './waits.ts';

type Explained = Omit<Explanation, 'cell_id' | 'path'>;

const DRIFTS = `${SUPERVISOR}/`;
/** Of what was tried before, the newest. */
const MAX_PAST = 3;

export const isDrift = ({ machine }: ActorView): boolean => machine.startsWith('drift@');

/** A line of `state/agent-events.log` is called `<address>#<time>.<count>`: it is about that drift. */
export const withoutLine = (text: string): string => text.replace(/#\d+\.\d+$/, '');

export function explainDrift(reader: WhyReader, address: string, actor: ActorView): Explained {
  const context = actor.context as DriftContext;
  const { host, service, drift, gone } = context;
  const supervisor = contextOf(reader);
  const waits =
    supervisor && drift
      ? whyWaiting(supervisor, drift.key, reader.clock()?.at ?? Date.now())
      : null;
  const incident = incidentAddress(host, service ?? host);
  const hasIncident = reader.actor(incident) !== undefined;
  return {
    kind: 'drift',
    id: address,
    answer: answerOf(context, waits),
    facts: [
      ...driftFacts(context),
      ...fact('waits', waits),
      ...pastFacts(context),
      ...fact('well since', gone === null ? null : isoOf(gone.at)),
      ...fact('incident', hasIncident ? incident : null),
    ],
    policies: [],
    next: waitsOf(reader, actor),
    needs: needsOf(context),
    story: context.story.map(
      ({ at, what, because, actionId }) =>
        `${isoOf(at)} ${what}${actionId === null ? '' : ` (${actionId})`}: ${because}`,
    ),
    focus: {
      ...NO_FOCUS,
      addresses: [address, ...(hasIncident ? [incident] : []), ...actionAddresses(context)],
      askers: hasIncident ? [incident] : [],
    },
  };
}

/** Nothing of it is wrong now, as far as the supervisor knows. */
export function explainNoDrift(address: string): Explained {
  const name = decodeURIComponent(address.slice(DRIFTS.length));
  return {
    kind: 'drift',
    id: address,
    answer: sentence(
      `nothing is known to be wrong with ${name}; if something was, its records are below`,
    ),
    facts: [],
    policies: [],
    next: [],
    needs: [{ what: 'see what drifts', command: 'lazarus drift' }],
    story: [],
    focus: { ...NO_FOCUS, addresses: [address] },
  };
}

/** By `<host>/<service>`, `<host>`, or the id of what is recommended. Undefined: nothing of that name drifts. */
export function driftCalled(reader: WhyReader, text: string): string | undefined {
  const cut = text.indexOf('/');
  const address =
    cut < 0 ? driftAddress(text, null) : driftAddress(text.slice(0, cut), text.slice(cut + 1));
  const actor = text === '' ? undefined : reader.actor(address);
  if (actor !== undefined && !('held' in actor) && isDrift(actor)) return address;
  const context = contextOf(reader);
  const standing = context === undefined ? [] : valuesIn(context.standing);
  for (const { drift, recommendation } of standing)
    if (recommendation.id === text) return driftAddress(drift.host, drift.service);
  return undefined;
}

function contextOf(reader: WhyReader): SupervisorContext | undefined {
  const actor = reader.actor(SUPERVISOR);
  return actor === undefined || 'held' in actor ? undefined : (actor.context as SupervisorContext);
}

const actionAddresses = ({ action, past }: DriftContext): string[] =>
  [action?.actionId, past.at(-1)?.actionId].filter((id) => id !== undefined).map(actionAddress);

function answerOf(context: DriftContext, waits: string | null): string {
  const { drift, host, service, status, action, ruling, gone } = context;
  const name = service === null ? host : `${host}/${service}`;
  if (drift === null) return sentence(`nothing was told of ${name} yet`);
  if (gone !== null) return sentence(`${name} is as it should be since ${isoOf(gone.at)}`);
  const { because } = drift;
  const id = action?.actionId ?? '';
  switch (status) {
    case 'recommended':
      return sentence(`${because}. Only recommended: ${ruling.decision.because}`);
    case 'proposed':
      return sentence(`${because}. ${id} is proposed:`, waits ?? 'a person decides about it');
    case 'acting':
      return sentence(`${because}. ${id} was approved, and is not over`);
    case 'verifying':
      return sentence(
        `${because}. Its action went well; by ${isoOf(context.verifyUntil)} the drift has to be gone`,
      );
    case 'declined':
      return sentence(`${because}. A person said no; nothing more is proposed while it stands`);
    case 'escalated':
      return sentence(`${because}. What was done did not help: a person has to look`);
    case 'resolved':
      return sentence(`${name} is as it should be`);
    default:
      return status satisfies never;
  }
}

const fact = (name: string, value: JsonValue | undefined): Fact[] =>
  value === undefined || value === null || value === '' ? [] : [{ name, value }];

function driftFacts({ drift, advised, ruling, since, action, dependants }: DriftContext): Fact[] {
  if (drift === null) return [];
  const { decision, requiresHuman } = ruling;
  return [
    ...fact('drift', `${drift.kind}${drift.critical ? ', critical' : ''}`),
    ...fact('since', isoOf(since)),
    ...fact('trigger', drift.trigger),
    ...fact('waits for', drift.blockedBy.join(', ')),
    ...fact('advice', advised && `${advised.event}: ${advised.remedy} (${advised.id})`),
    ...fact('policy', `${decision.mode}: ${decision.because}`),
    ...fact('needs a person', decision.mode === 'recommend' ? undefined : requiresHuman),
    ...fact('action', action && `${action.actionId}, ${action.status}`),
    ...fact('depend on it', dependants.join(', ')),
  ];
}

function pastFacts({ past }: DriftContext): Fact[] {
  return past.slice(-MAX_PAST).map(({ actionId, outcome, at, reason }) => ({
    name: 'was tried',
    value: `${actionId}: ${outcome}, ${isoOf(at)}${reason === null ? '' : `: ${reason}`}`,
  }));
}

function needsOf({ status, action, advised, gone }: DriftContext): Need[] {
  if (gone !== null) return [];
  if (status === 'proposed' && action !== null)
    return [
      { what: 'look at what is proposed', command: `lazarus actions show ${action.actionId}` },
    ];
  if (status === 'recommended' && advised !== null)
    return [
      { what: `do it: ${advised.remedy}; or let it be proposed`, command: 'lazarus policy show' },
    ];
  if (status === 'escalated') return [{ what: 'look at the service yourself', command: null }];
  return [];
}
