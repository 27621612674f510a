/** Verbs about incidents: what the planner has open, what the observed world has, what cools down, and how a person ends that. */
import { readWorldFile } from '../../cells/world-files.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { incidentAddress, PLANNER } from '../../machines/addresses.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import { serviceKey } from '../../machines/health-event.ts';
import { quietTypes, remainingSeconds } from '../../machines/incident-context.ts';
import type { IncidentContext } from '../../machines/incident-context.ts';
import { enrolled } from '../../machines/incident-roll.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { PlannerContext } from '../../machines/planner-context.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import { incidentsIn } from '../../machines/world-incidents.ts';
import { lifeOf } from '../planner/incident-view.ts';
import { statusOf } from '../why/incident.ts';
import { PAGE_FIELDS, pageOf } from './page.ts';
import type { PageInput } from './page.ts';
import { byOf, inputOf } from './verb.ts';
import type { CheckedInput, MissionReader, ReadingVerb, VerbInput, WritingVerb } from './verb.ts';

const SERVICE_FIELDS: JsonObject = {
  host: { type: 'string', minLength: 1, maxLength: 200, description: 'host of the service' },
  service: {
    type: 'string',
    minLength: 1,
    maxLength: 401,
    description: 'the service, or <host>/<service>',
  },
};
const ALL: JsonObject = {
  all: { type: 'boolean', description: 'also those that are over' },
};

export const planningReadingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'incidents.list',
    summary:
      'What is wrong in the homelab, with counts: as the planner heard it, and (observed) as world/incidents.json has it.',
    remote: true,
    input: inputOf([], [], { ...ALL, ...PAGE_FIELDS }),
    run: listIncidents,
  },
  {
    kind: 'reads',
    name: 'cooldowns.list',
    summary: 'Services that get no new proposal for a while, and how long yet.',
    remote: true,
    input: inputOf([], [], PAGE_FIELDS),
    run: listCooldowns,
  },
];

export const planningVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'cooldowns.reset',
    summary: 'Ends the cooldown of a service: its next event is diagnosed.',
    remote: true,
    rights: 'operate',
    idempotent: true,
    input: { ...inputOf([], ['by'], SERVICE_FIELDS), required: ['service'] },
    async run(node, input: VerbInput) {
      const { host, service } = targetOf(input);
      const by = byOf(input);
      const { system } = node.kernel;
      const address = incidentAddress(host, service);
      if (!system.has(address)) throw unknownService(host, service);
      const { context } = system.read(address).snapshot;
      const was = remainingSeconds(context as IncidentContext, system.clock.now().at);
      await system.send(address, { type: 'cooldown.reset', by });
      return { host, service, was_remaining_seconds: was, remaining_seconds: 0, by };
    },
  },
];

/** Throws RuntimeError INVALID_ARGUMENT when no host is named. */
function targetOf({ host, service = '' }: VerbInput): { host: string; service: string } {
  if (host !== undefined) return { host, service };
  const cut = service.indexOf('/');
  if (cut > 0 && cut < service.length - 1)
    return { host: service.slice(0, cut), service: service.slice(cut + 1) };
  throw new RuntimeError(`${service} does not name a host`, {
    code: 'INVALID_ARGUMENT',
    hint: 'Name it as <host>/<service>, as `lazarus cooldowns list` does.',
  });
}

const unknownService = (host: string, service: string): RuntimeError =>
  new RuntimeError(`nothing bad was heard of ${serviceKey(host, service)}`, {
    code: 'NOT_FOUND',
    hint: 'See what was: `lazarus incidents list --all`.',
  });

interface Found {
  key: string;
  life: string;
  context: IncidentContext;
}

/** As of the last commit; what is held is told by the status. */
function incidents(reader: MissionReader): Found[] {
  const planner = reader.actor(PLANNER);
  if (planner === undefined || 'held' in planner) return [];
  return enrolled((planner.context as PlannerContext).roll).flatMap((address) => {
    const found = reader.actor(address);
    if (found === undefined || 'held' in found) return [];
    const context = found.context as IncidentContext;
    return { key: serviceKey(context.host, context.service), life: lifeOf(found.state), context };
  });
}

/** A cooldown goes on while no node runs. */
const nowOf = (reader: MissionReader): number => reader.clock()?.at ?? Date.now();

function listIncidents(reader: MissionReader, { all = false, ...page }: CheckedInput): JsonObject {
  const now = nowOf(reader);
  const found = incidents(reader).filter((incident) => all === true || isOpen(incident));
  const { items, next } = pageOf(found, ({ key }) => key, page as PageInput);
  const shown = items.toSorted((a, b) => b.context.lastSeenAt - a.context.lastSeenAt);
  return {
    incidents: shown.map((incident) => incidentView(reader, incident, now)),
    total: found.length,
    ...(next === undefined ? {} : { next }),
    observed: observedOf(reader, all === true),
  };
}

/** Most in an answer, the newest. */
const MAX_OBSERVED = 1000;

/** Null: there is no runtime folder. */
function observedOf(reader: MissionReader, all: boolean): JsonObject | null {
  const { runtime_path: path } = reader.config();
  return typeof path === 'string' && path !== 'off' ? observedIn(path, all) : null;
}

/** Of the runtime folder: what `world/incidents.json` has, whoever writes it. */
export function observedIn(runtime: string, all: boolean): JsonObject {
  try {
    const file = readWorldFile(runtimeLayout(runtime).world, 'incidents');
    const found = incidentsIn(file).filter(({ active }) => all || active);
    return { incidents: found.slice(0, MAX_OBSERVED), total: found.length, problem: null };
  } catch (error) {
    return { incidents: [], total: 0, problem: toPlainError(error).message };
  }
}

/** The service has not said that it is well, or something is in hand. */
const isOpen = ({ life, context }: Found): boolean =>
  context.recoveredAt === null || life === 'diagnosing' || life === 'proposing';

function incidentView(reader: MissionReader, { life, context }: Found, now: number): JsonObject {
  const { host, service, occurrences, recoveries, firstSeenAt, lastSeenAt } = context;
  const { last, recoveredAt, proposed, outcome } = context;
  return {
    host,
    service,
    state: life,
    open: recoveredAt === null,
    occurrences,
    recoveries,
    first_seen: isoFromEpoch(firstSeenAt),
    last_seen: isoFromEpoch(lastSeenAt),
    last_event: last && { id: last.id, type: last.type, severity: last.severity },
    recovered_at: isoOrNull(recoveredAt),
    cooldown_remaining_seconds: Math.ceil(remainingSeconds(context, now)),
    quiet_types: quietView(context, now),
    last_outcome: outcome && { ...outcome, at: isoFromEpoch(outcome.at) },
    actions: proposed.map((one) => ({
      action_id: one.actionId,
      action: one.action,
      proposed_at: isoFromEpoch(one.at),
      status: statusOf(reader, one),
      reason: one.reason,
    })),
  };
}

/** What rules of the policy keep quiet there, whatever else is heard of the service. */
const quietView = (context: IncidentContext, now: number): JsonObject[] =>
  quietTypes(context, now).map(([type, until]) => ({
    type,
    remaining_seconds: Math.ceil((until - now) / 1000),
    until: isoFromEpoch(until),
  }));

const isCooling = (context: IncidentContext, now: number): boolean =>
  remainingSeconds(context, now) > 0 || quietTypes(context, now).length > 0;

function listCooldowns(reader: MissionReader, page: CheckedInput): JsonObject {
  const now = nowOf(reader);
  const cooling = incidents(reader).filter(({ context }) => isCooling(context, now));
  const { items, next } = pageOf(cooling, ({ key }) => key, page as PageInput);
  const cooldowns = items.map(({ context }) => {
    const { host, service, cooldownUntil, occurrences } = context;
    return {
      host,
      service,
      remaining_seconds: Math.ceil(remainingSeconds(context, now)),
      until: isoFromEpoch(cooldownUntil ?? now),
      occurrences,
      types: quietView(context, now),
    };
  });
  return { cooldowns, ...(next === undefined ? {} : { next }) };
}
