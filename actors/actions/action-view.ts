/** An action as the verbs show it: from its actor's committed state, so that it serves a node that runs and one that is down. */
import type { ActionContext } from '../../machines/action-context.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import { waitsFor } from './action-index.ts';
import { waitsWithNames } from './action-waits.ts';
import type { Standing } from './action-waits.ts';

export interface ActionLine {
  action_id: string;
  /** The folder its file stands in; `held`: it stands there, and does not count. */
  status: string;
  /** What its actor is at: `pending`, `held`, `waiting`, `running`, `verifying`, ... */
  state: string;
  type: string;
  host: string;
  service: string;
  risk: string;
  requires_human: boolean;
  description: string;
  created_at: string | null;
  /** What was said of its last step: why it failed, was rejected, is held. */
  reason: string | null;
  /** Why it does not go on; null: it does, or has ended. */
  waits: string | null;
  /** When that is worth asking again. */
  until: string | null;
}

export interface ActionView extends ActionLine {
  folder: string | null;
  /** What an approval names. */
  sha256: string | null;
  by: string;
  origin: string | null;
  approval: JsonObject | null;
  run: JsonObject | null;
  verification: JsonObject | null;
  settled_at: string | null;
  escalated: boolean;
  refusal: string | null;
  content: JsonObject | null;
  story: string[];
}

/** `standing`: given, others that it waits for are named. */
export function actionLine(
  context: ActionContext,
  state: JsonValue,
  standing?: Standing,
): ActionLine {
  const { actionId, status, facts, gate } = context;
  const [outer, inner] = namesOf(state);
  const waits = waitsFor(context, outer);
  const host = facts?.host ?? '';
  return {
    action_id: actionId,
    status: status ?? 'pending',
    state: inner ?? outer,
    type: facts?.type ?? '',
    host,
    service: facts?.service ?? '',
    risk: facts?.risk ?? 'unknown',
    requires_human: facts?.requiresHuman ?? true,
    description: facts?.description ?? '',
    created_at: isoOrNull(facts?.createdAt ?? null),
    reason: context.reason,
    waits: standing ? waitsWithNames({ actionId, host, waits }, standing) : waits,
    until: isoOrNull(gate?.until ?? null),
  };
}

export function actionView(
  context: ActionContext,
  state: JsonValue,
  standing?: Standing,
): ActionView {
  const { place, approval, verification } = context;
  return {
    ...actionLine(context, state, standing),
    folder: place?.status ?? null,
    sha256: place?.sha256 ?? null,
    by: context.by,
    origin: context.origin,
    approval: approval && {
      by: approval.by,
      door: approval.door,
      sha256: approval.sha256,
      at: isoFromEpoch(approval.at),
      expires_at: isoFromEpoch(approval.expiresAt),
      used_at: isoOrNull(approval.usedAt),
    },
    run: runView(context),
    verification: verification && { ...verification, at: isoFromEpoch(verification.at) },
    settled_at: isoOrNull(context.settledAt),
    escalated: context.escalated,
    refusal: context.refusal,
    content: context.content,
    story: context.story,
  };
}

function runView({ plan, outcome, startedAt }: ActionContext): JsonObject | null {
  if (plan === null) return null;
  const { driver, via, semantics, shown } = plan;
  const planned = { driver, via, semantics, shown, started_at: isoOrNull(startedAt) };
  return outcome === null ? planned : { ...planned, ...outcome };
}

function namesOf(state: JsonValue): [string, string | undefined] {
  if (typeof state === 'string') return [state, undefined];
  const [[outer, inner] = ['', undefined]] = Object.entries(state ?? {});
  return [outer, typeof inner === 'string' ? inner : undefined];
}
