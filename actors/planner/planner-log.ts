/**
 * The lines that people grep a planner's log for, with the names and fields that it always had, made from committed records:
 * what is not durable is not told.
 */
import { resolve } from 'node:path';
import { PLANNER } from '../../machines/addresses.ts';
import { isBenign, serviceKey } from '../../machines/health-event.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import { quietUntil, remainingSeconds } from '../../machines/incident-context.ts';
import type { IncidentContext } from '../../machines/incident-context.ts';
import { executorType } from '../../machines/proposal.ts';
import type { Diagnosis } from '../../machines/proposal.ts';
import type { Started } from '../../machines/remediation-event.ts';
import type { CommittedRecord } from '../system.ts';

type Line = (fields: Record<string, unknown>, message: string) => void;

export interface PlannerLog {
  debug: Line;
  info: Line;
  warn: Line;
  error: Line;
}

const MAX_ERROR = 400;

/** What came to the planner's root. */
export function logHeard(log: PlannerLog, { address, event, error }: CommittedRecord): void {
  if (address !== PLANNER || event.type !== 'homelab.event' || error !== undefined) return;
  const { channel } = event;
  const inner = event['event'] as unknown as HomelabEvent;
  const svcKey = serviceKey(inner.data.host, inner.data.service);
  const { type } = inner;
  const { severity } = inner.data;
  log.info({ channel, svc_key: svcKey, type, severity }, 'event_received');
  if (isBenign(inner)) log.debug({ type, svc_key: svcKey }, 'benign_event_skipped');
}

/** What came to an incident: `life` and `context` with this record. `root`: the runtime folder. */
export function logIncident(
  log: PlannerLog,
  { event, at }: CommittedRecord,
  { life, context, root }: { life: string; context: IncidentContext; root: string },
): void {
  const svc_key = serviceKey(context.host, context.service);
  const { outcome } = context;
  if (outcome?.kind === 'write_failed' && outcome.at === at && WRITE_ENDS.has(event.type))
    log.error({ svc_key, error: outcome.text.slice(0, MAX_ERROR) }, 'action_write_failed');
  switch (event.type) {
    case 'incident.event':
      return logQuiet(log, { svc_key, life, context }, { event, at });
    case 'xstate.error.actor.diagnosis':
      return log.error({ svc_key, error: messageIn(event['error']) }, 'llm_chain_exhausted');
    case 'xstate.done.actor.diagnosis':
      return logIgnored(log, svc_key, event['output'] as unknown as Diagnosis);
    case 'proposal.durable':
      return logProposed(log, { svc_key, context, root }, event);
    case 'xstate.error.actor.eventFile':
      return log.warn({ svc_key, error: messageIn(event['error']) }, 'event_write_failed');
    default:
  }
}

/** For the whole service, or by a rule for this type of events. */
function logQuiet(
  log: PlannerLog,
  { svc_key, life, context }: { svc_key: string; life: string; context: IncidentContext },
  { event, at }: Pick<CommittedRecord, 'event' | 'at'>,
): void {
  const { type } = event['event'] as unknown as HomelabEvent;
  const ofType = (quietUntil(context, type) - at) / 1000;
  if (life === 'cooling') {
    const remaining_seconds = Math.round(remainingSeconds(context, at));
    log.info({ svc_key, remaining_seconds }, 'cooldown_active');
  } else if (ofType > 0)
    log.info({ svc_key, type, remaining_seconds: Math.round(ofType) }, 'cooldown_active');
}

const WRITE_ENDS: ReadonlySet<string> = new Set([
  'proposal.failed',
  'proposal.taken',
  'xstate.done.actor.patience',
]);

function logIgnored(log: PlannerLog, svc_key: string, { proposal, model }: Diagnosis): void {
  const { action, reason, confidence } = proposal;
  if (action === 'ignore')
    log.info({ svc_key, reason, confidence, llm_model: model }, 'proposal_ignored');
}

function logProposed(
  log: PlannerLog,
  { svc_key, context, root }: { svc_key: string; context: IncidentContext; root: string },
  event: CommittedRecord['event'],
): void {
  const { actionId, path } = event;
  const announced = context.announcements.findLast(
    (entry): entry is Started =>
      entry.type === 'remediation_started' && entry.actionId === actionId,
  );
  if (announced === undefined) return; // an action that this incident does not know
  const { action_id, action, executor_type, requires_human, confidence, llm_model } =
    announced.payload;
  const { risk: risk_level } = executorType(action);
  log.info(
    {
      action_id,
      action,
      executor_type,
      svc_key,
      requires_human,
      confidence,
      risk_level,
      llm_model,
      path: typeof path === 'string' ? resolve(root, path) : null,
    },
    'action_proposed',
  );
}

const messageIn = (error: unknown): string => {
  const { message } = (error ?? {}) as { message?: unknown };
  return String(message ?? error).slice(0, MAX_ERROR);
};
