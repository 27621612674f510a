/**
 * From a model's answer to the file of an action: what an answer must look like, what it means to executors, what the action
 * is called and what its file says. Names, order and mapping of the fields are those that other programs of such a homelab
 * read; our own come after them.
 */
import { actionAddress } from './addresses.ts';
import { happenedAt, locationTag } from './health-event.ts';
import type { HomelabEvent } from './homelab-events.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';
import type { Proposal, ProposedAction, Tightening } from './remediation.ts';

export const PROPOSED_ACTIONS: readonly ProposedAction[] = [
  'restart',
  'redeploy',
  'notify',
  'ignore',
];

const MIN_REASON = 10;

/** For the router: what an answer must fit. */
export const PROPOSAL_SCHEMA: JsonObject = {
  type: 'object',
  required: ['action', 'service', 'node', 'reason', 'confidence', 'requires_human'],
  additionalProperties: false,
  properties: {
    action: { type: 'string', enum: [...PROPOSED_ACTIONS] },
    service: { type: 'string' },
    node: { type: 'string' },
    reason: { type: 'string', minLength: MIN_REASON },
    confidence: { type: 'number', minimum: 0, maximum: 1 },
    requires_human: { type: 'boolean' },
  },
};

/** What an answer that fits the schema still lacks, in words for the model. */
export function proposalProblems(answer: JsonValue): string[] {
  const reason = isJsonObject(answer) ? answer['reason'] : undefined;
  if (typeof reason !== 'string' || plainText(reason, MIN_REASON + 1).length >= MIN_REASON)
    return [];
  return [`reason must say in at least ${MIN_REASON} characters why this action is proposed`];
}

/** The answer, if it is a proposal; a router that promised one is not taken at its word. */
export function readProposal(answer: JsonValue): Proposal | undefined {
  if (!isJsonObject(answer)) return undefined;
  const { action, service, node, reason, confidence, requires_human: human, ...more } = answer;
  const isProposal =
    Object.keys(more).length === 0 &&
    PROPOSED_ACTIONS.some((known) => known === action) &&
    typeof service === 'string' &&
    typeof node === 'string' &&
    typeof reason === 'string' &&
    typeof confidence === 'number' &&
    confidence >= 0 &&
    confidence <= 1 &&
    typeof human === 'boolean' &&
    proposalProblems(answer).length === 0;
  if (!isProposal) return undefined;
  return {
    action: action as ProposedAction,
    service,
    node,
    reason,
    confidence,
    requires_human: human,
  };
}

/** What the effect `diagnose` found out. */
export interface Diagnosis {
  /** After the guardrails. */
  proposal: Proposal;
  /** As the model gave it. */
  answered: Proposal;
  guardrails: Tightening[];
  /** `ollama/<model>`, the name of a Claude model alone, or `rules/<name>`. */
  model: string;
  /** How many requests it took; 0: no model was asked. */
  attempts: number;
  /** A rule of the policy quiets this type of events alone, for so long; null: as long as after any proposal. */
  quiets?: { type: string; seconds: number | null };
  /** Of the policy file that held; null: there was none, and the defaults held. */
  policySha256: string | null;
}

/** Whether it does something to a service; what is only told stays for people to read. */
export const touches = (action: string): boolean => action === 'restart' || action === 'redeploy';

/** Type and risk of an action, for executors. */
export function executorType(action: string): { type: string; risk: string } {
  switch (action) {
    case 'restart':
      return { type: 'container_restart', risk: 'low' };
    case 'redeploy':
      return { type: 'redeploy', risk: 'guarded' };
    case 'ignore':
      return { type: 'ignore', risk: 'none' };
    default:
      return { type: 'notify', risk: 'low' };
  }
}

/** An action of the planner's, as its incident proposes it. `serial`: 1, and more when the name was taken. */
export interface Proposing {
  event: HomelabEvent;
  diagnosis: Diagnosis;
  serial: number;
  incident: { address: string; occurrences: number; firstSeenAt: number };
}

export function actionFile({ event, diagnosis, serial, incident }: Proposing): JsonObject {
  const { proposal, answered, guardrails, model, attempts, policySha256 } = diagnosis;
  const { action, reason, confidence, requires_human, service } = proposal;
  const { host } = event.data;
  const { type, risk } = executorType(action);
  const tag = locationTag(event);
  return {
    action_id: actionId(event, serial, service),
    type,
    node: host,
    service,
    risk_level: risk,
    confidence,
    requires_human,
    description: describe(action, { host, service, reason }),
    status: 'pending',
    timestamp: happenedAt(event) / 1000,
    source_event: event.type,
    llm_model: model,
    llm_attempts: attempts,
    payload: { action, reason, ...(tag !== undefined && { location_tag: tag }) },
    guardrails,
    incident: {
      address: incident.address,
      occurrences: incident.occurrences,
      first_seen: incident.firstSeenAt / 1000,
    },
    policy_sha256: policySha256,
    ...(guardrails.length > 0 && { answered }),
  };
}

const describe = (
  action: string,
  { host, service, reason }: { host: string; service: string; reason: string },
): string => `${action.toUpperCase()} ${service} on ${host}: ${reason}`;

/** Longest names in an id, in characters; the second fits whatever they consist of. */
const NAME_CHARS = [80, 40];
/** Addresses have at most 300. */
const MAX_ADDRESS = 280;

/** Of the service that the action is about: `plan-<host>-<service>-<unix seconds>`, with `-2`, `-3` ... behind it when that is taken. It is the file's name too. */
export function actionId(
  event: HomelabEvent,
  serial: number,
  service: string = event.data.service,
): string {
  const { host } = event.data;
  const suffix = serial > 1 ? `-${serial}` : '';
  const ids = NAME_CHARS.map((most) => {
    const [node, name] = [fileToken(host, most), fileToken(service.replaceAll('/', '-'), most)];
    return `plan-${node}-${name}-${Math.floor(happenedAt(event) / 1000)}${suffix}`;
  });
  return ids.find((id) => actionAddress(id).length <= MAX_ADDRESS) ?? (ids.at(-1) as string);
}

/** A name as part of a file's: bytes other than these become `%XX`; cut where it is too long. */
export function fileToken(name: string, maxChars: number): string {
  const token = name.replaceAll(/[^A-Za-z0-9_.-]/gu, (found) =>
    [...new TextEncoder().encode(found)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
  const shown = token.startsWith('.') ? `%2E${token.slice(1)}` : token;
  return shown.length <= maxChars ? shown : shown.slice(0, maxChars).replace(/%.?$/, '');
}
