/** A journal record in a few words, and what set it off: for the chain of causes that `lazarus why` prints. */
import { GATE, OBSERVER, SUPERVISOR } from '../../machines/addresses.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { describeEvent } from '../mission-log.ts';
import type { JournalRecord } from '../records.ts';

/** An applied event has its own type; what the kernel notes about an actor begins with `actor.`. */
export const typeOf = (record: JournalRecord): string =>
  record.k === undefined ? record.e.type : `actor.${record.k}`;

/** `lead`, `lazarus lead`, `mission`; others by their address. */
export function whoIs(address: string): string {
  const [kind, first, second, third] = address.split('/');
  if (kind === 'cell' && second === undefined) return 'mission';
  if (kind === 'cell' && second === 'agent') return `agent ${third ?? ''}`;
  if (kind === 'system' && first === 'lazarus') return `lazarus for ${third ?? ''}`;
  if (address === GATE) return 'gate';
  if (address === SUPERVISOR || address === OBSERVER) return first ?? address;
  if (kind === 'system' && first === 'supervisor')
    return `drift ${[second, third]
      .filter(Boolean)
      .map((name) => decodeURIComponent(name ?? ''))
      .join('/')}`;
  if (kind === 'system' && first === 'action') return `action ${decodeURIComponent(second ?? '')}`;
  return address;
}

export function wordsOf(record: JournalRecord): string {
  switch (record.k) {
    case undefined:
      return eventWords(record.a, record.e);
    case 'init':
      return `begins (${record.m})`;
    case 'rejected':
      return `refused record ${record.of}: ${record.e.message}`;
    case 'started':
      return `${record.v === 'step' ? 'the step' : `effect ${record.v}`} begins; from here on it may have run`;
    case 'settled':
      return `effect ${record.v} settled as not started, by ${record.e.by}`;
    case 'rolled_back':
      return `put back to its state at record ${record.to}: ${record.reason}`;
    case 'stopped':
      return `ends: ${record.e}`;
    case 'released':
      return 'released: goes on with what came meanwhile';
    case 'snapshot':
    case 'migrated':
      return `${record.k} (${record.m})`;
    default:
      return `note ${String((record satisfies never as JournalRecord).k)}`;
  }
}

function eventWords(address: string, event: { type: string } & JsonObject): string {
  const [kind, , , agentId] = address.split('/');
  if (kind === 'cell' && agentId === undefined) {
    const told = describeEvent(event, undefined);
    if (told !== undefined) return told;
  }
  return `${effectWords(event) ?? MESSAGES[event.type] ?? event.type}${detailsOf(event)}`;
}

const EFFECT_EVENT = /^xstate\.(done|error)\.actor\.(.+)$/;

/** Effects that people know by another name. */
const EFFECTS: Record<string, string> = {
  worker: 'its worker is gone',
  step: 'the step ended',
  finish: 'the declared outputs were looked for',
  criteria: 'the success criteria were checked',
  beginContext: 'its context was written',
  endContext: 'its context was written',
  pauseContext: 'its context was written',
  periodicContext: 'its context was written',
  ledger: 'the ledger entry was written',
  write: 'its file was written',
  move: 'its file was moved',
  plan: 'its driver said how it would be run',
  run: 'its run ended',
  health: 'its service was seen healthy',
  diagnosis: 'it was diagnosed',
  eventFile: 'its event file was written',
  telling: 'its log line and event file were written',
};

/** Messages between actors whose type alone tells a reader little. */
const MESSAGES: Record<string, string> = {
  'agent.abandoned': 'told what Lazarus makes of it',
  'worker.queued': 'its worker waits its turn to start',
  'worker.starting': 'its worker starts: it is its turn',
  'agent.queued': 'its worker waits its turn to start',
  'agent.starting': 'its worker starts: it is its turn',
  'action.propose': 'proposed',
  'action.found': 'its file was found in',
  'action.missing': 'its file was found nowhere',
  'action.unreadable': 'its file cannot be read',
  'action.became': 'it is',
  'action.approve': 'approval asked for',
  'action.reject': 'rejection asked for',
  'action.cancel': 'cancelling asked for',
  'gate.ask': 'asked whether it may run',
  'gate.left': 'told that it runs no more',
  'gate.freeze': 'nothing may run from now on',
  'gate.unfreeze': 'the freeze is over',
  'gate.granted': 'the gate lets it run',
  'gate.refused': 'the gate does not let it run yet',
  'service.reported': 'its service was heard of',
  'llm.attempt.started': 'a model is asked',
  'llm.attempt.ended': 'the model is done',
  'proposal.durable': 'its proposal is on disk',
  'proposal.taken': 'another action has this id',
  'proposal.failed': 'its proposal was not written',
  'action.settled': 'its action has ended',
  'incident.event': 'something is wrong',
  'incident.recovered': 'it is well again',
  'action.moved': 'its action is',
  'supervisor.looked': 'looked at desired and observed',
  'supervisor.skipped': 'a look found nothing out',
  'supervisor.configured': 'told of the policy',
  'supervisor.frozen': 'told of a freeze',
  'remedy.ready': 'an action waits for the policy',
  'remedy.approve': 'the policy approves it',
  'remedy.ended': 'an action is over',
  'autonomy.revoked': 'what was earned is taken back',
  'autonomy.cleared': 'what was earned is forgotten',
  'drift.stands': 'it is not as it should be',
  'drift.decided': 'the policy says otherwise now',
  'drift.gone': 'it is as it should be again',
  'drift.became': 'it says',
  'drift.moved': 'a drift is',
  'drift.done': 'a drift is over',
};

function effectWords(event: { type: string } & JsonObject): string | undefined {
  const match = EFFECT_EVENT.exec(event.type);
  if (match === null) return undefined;
  const [, how, invoke = ''] = match;
  if (how === 'error') return `effect ${invoke} failed`;
  if (!Object.hasOwn(event, 'output')) return `time is up: ${invoke}`;
  return EFFECTS[invoke] ?? `effect ${invoke} ended`;
}

/** Worth a reader's while, in this order; the record itself has the rest. */
const TOLD = [
  'by',
  'taskId',
  'agentId',
  'revivalId',
  'substitute',
  'pid',
  'outcome',
  'reason',
  'message',
  'name',
] as const;

function detailsOf(event: JsonObject): string {
  const parts = TOLD.flatMap((key) => plainPart(event[key]));
  const { failure, error, output, assignment } = event;
  if (typeof event['type'] === 'string' && event['type'].startsWith('action.'))
    parts.unshift(...plainPart(event['status']));
  if (typeof event['type'] === 'string' && /^(drift|remedy)\./.test(event['type']))
    parts.push(...driftParts(event));
  if (typeof event['type'] === 'string' && event['type'].startsWith('llm.'))
    parts.unshift(...plainPart(event['model']));
  if (isJsonObject(failure)) parts.push(...plainPart(failure['message']));
  if (isJsonObject(error)) parts.push(...plainPart(error['message']));
  if (isJsonObject(assignment))
    parts.push(`task ${plain(assignment['taskId'])}, attempt ${plain(assignment['attempt'])}`);
  if (isJsonObject(output)) parts.push(outputWords(output));
  const told = parts.filter((part) => part !== '');
  return told.length === 0 ? '' : `: ${told.join(', ')}`;
}

function driftParts({ what, because, key, status, rule, drift, decision }: JsonObject): string[] {
  if (isJsonObject(drift)) return plainPart(drift['because']);
  if (isJsonObject(decision) && what === undefined) return plainPart(decision['because']);
  return [
    what,
    what === undefined ? key : undefined,
    what === undefined ? status : because,
    rule,
  ].flatMap((value) => plainPart(value));
}

const plainPart = (value: JsonValue | undefined): string[] =>
  typeof value === 'string' || typeof value === 'number' ? [String(value)] : [];

const plain = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '?');

/** How a process ended; of other outputs the text. */
function outputWords(output: JsonObject): string {
  const { exitCode = output['exit_code'], code = exitCode, signal, timedOut } = output;
  const { adopted, detail, cause } = output;
  if (code === undefined && signal === undefined) return '';
  const how = typeof signal === 'string' ? signal : `exit code ${plain(code)}`;
  const more = [
    ...(cause === 'exit' ? [] : plainPart(cause)),
    ...plainPart(detail),
    ...(timedOut === true ? ['ran into its timeout'] : []),
    ...(adopted === true ? ['found after a restart'] : []),
  ];
  return [how, ...more].join(', ');
}

export type Origin =
  'file edit' | 'person' | 'worker' | 'step' | 'timer' | 'effect' | 'message' | 'runtime';

/** Requests that only people make, through a verb or a status they write into a file. */
const ASKED =
  /^(cell\.(pause|resume|cancel|release)|agent\.(pause|resume)|task\.(retry|cancel)|criterion\.confirm|revival\.)/;

const SEEN: readonly string[] = [
  'files.changed',
  'action.found',
  'action.missing',
  'action.unreadable',
];

/** What set a record off, when no other record did. */
export function originOf(record: JournalRecord): Origin {
  if (record.k === 'settled') return 'person';
  if (record.k !== undefined) return 'runtime';
  if (record.x !== undefined || record.i !== undefined) return 'message';
  const { e: event } = record;
  if (SEEN.includes(event.type)) return 'file edit';
  const invoke = EFFECT_EVENT.exec(event.type)?.[2];
  if (invoke === 'worker' || event.type.startsWith('worker.')) return 'worker';
  if (invoke === 'step') return 'step';
  if (invoke !== undefined)
    return Object.hasOwn(event, 'output') || Object.hasOwn(event, 'error') ? 'effect' : 'timer';
  return typeof event['by'] === 'string' || ASKED.test(event.type) ? 'person' : 'runtime';
}

const SECRET = /^(token|password|authorization|api_?key|secret)$/i;

/** As the logs do: what is named like a secret is not shown. */
export function redacted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(redacted);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      SECRET.test(key) ? '[redacted]' : redacted(member),
    ]),
  );
}
