/**
 * What the file of an action tells of the past: what was proposed and by whom, what a person said to it and when, how long it
 * ran. A policy can be asked again about each (what-if.ts). Total: whatever stands in a file, it is read or passed over.
 */
import { readAction } from './action-file.ts';
import { isDriftAddress } from './addresses.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { readProposal } from './proposal.ts';
import type { ActionStatus, Proposal } from './remediation.ts';

export interface RecordedAction {
  id: string;
  status: ActionStatus;
  /** As drivers know it. */
  type: string;
  host: string;
  service: string;
  requiresHuman: boolean;
  /** Of the event that it was proposed for, or when it was written. Epoch ms, as all times here. */
  createdAt: number;
  /** What a model proposed, before the guardrails; null: none did. */
  answered: Proposal | null;
  /** Of the event. */
  eventType: string;
  /** The drift that proposed it; null: somebody else did. */
  drift: string | null;
  approvedAt: number | null;
  declinedAt: number | null;
  ranAt: number | null;
  ranUntil: number | null;
  /** Nobody has to wait for it any more; null: it is open. */
  settledAt: number | null;
}

/** `changedAt`: when the file system says that the file came to be as it is. Undefined: it is no action. */
export function recordedAction(
  id: string,
  { status, content, changedAt }: { status: ActionStatus; content: JsonObject; changedAt: number },
): RecordedAction | undefined {
  const read = readAction(id, content);
  if (!read.ok) return undefined;
  const { type, host, service, requiresHuman, createdAt } = read.facts;
  const moves = movesIn(content);
  const last = (to: ActionStatus): number | null =>
    moves.findLast((move) => move.to === to)?.at ?? null;
  const isOpen = status === 'pending' || status === 'approved' || status === 'running';
  const hasRun = status === 'completed' || status === 'failed';
  const endedAt = isOpen ? null : (last(status) ?? changedAt);
  const approvedAt = last('approved') ?? last('running');
  const { supervisor, source_event: eventType } = content;
  const origin = isJsonObject(supervisor) ? supervisor['address'] : undefined;
  return {
    id,
    status,
    type,
    host,
    service,
    requiresHuman,
    createdAt: createdAt ?? moves[0]?.at ?? changedAt,
    answered: answerIn(content),
    eventType: typeof eventType === 'string' ? eventType : '',
    drift: typeof origin === 'string' && isDriftAddress(origin) ? origin : null,
    approvedAt,
    declinedAt: status === 'rejected' || status === 'cancelled' ? endedAt : null,
    ranAt: last('running'),
    ranUntil: hasRun ? endedAt : null,
    settledAt: endedAt,
  };
}

/** What the guardrails changed stands beside it; what they did not is as the model said it. */
function answerIn(content: JsonObject): Proposal | null {
  const { answered, payload, node, service, confidence, requires_human } = content;
  if (content['llm_model'] === undefined) return null;
  if (answered !== undefined) return readProposal(answered) ?? null;
  const { action, reason } = isJsonObject(payload) ? payload : {};
  const whole = { action, service, node, reason, confidence, requires_human } as JsonObject;
  return readProposal(whole) ?? null;
}

/** The oldest first. */
function movesIn({ transition_history: history }: JsonObject): { to: string; at: number }[] {
  if (!Array.isArray(history)) return [];
  return history
    .flatMap((line: JsonValue) => {
      if (!isJsonObject(line)) return [];
      const { to, timestamp } = line;
      const at = typeof timestamp === 'number' ? Math.round(timestamp * 1000) : NaN;
      return typeof to === 'string' && isTime(at) ? [{ to, at }] : [];
    })
    .sort((a, b) => a.at - b.at);
}

const isTime = (at: number): boolean => Number.isFinite(at) && at >= 0 && at < 8.64e15;
