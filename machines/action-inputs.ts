/** What the effects of an action are handed. A driver sees what was approved, and nothing that was not. */
import type { ActionContext, Move, MoveInput, PlannedRun, Runnable } from './action-context.ts';
import { approvedPart } from './action-file.ts';
import { isDriftAddress } from './addresses.ts';

type In = { context: ActionContext };
export const writeInput = ({ context: { actionId, content } }: In) => ({
  actionId,
  content: content ?? {},
});
export const moveInput = ({ context: { actionId, move, content } }: In): MoveInput => {
  const isEnd = move?.kind === 'complete' || move?.kind === 'fail';
  return { actionId, move: move as Move, ...(isEnd && { content: content ?? {} }) };
};
export const runInput = ({ context }: In): { run: Runnable } => {
  const { actionId, facts, content, approval } = context;
  const { type = '', host = '', service = '', payload = {} } = facts ?? {};
  const sha256 = approval?.sha256 ?? '';
  const approved = approvedPart(content ?? {});
  return { run: { actionId, type, host, service, payload, content: approved, sha256 } };
};
export const planInput = ({ context }: In) => ({
  ...runInput({ context }),
  plan: context.plan as PlannedRun,
});
export const verifyUntil = ({ plan, ranUntil }: ActionContext): number =>
  (ranUntil ?? 0) + (plan?.verifyMs ?? 0);
export const healthInput = ({ context }: In) => ({
  ...runInput({ context }),
  since: wasSeenIll(context) ? (context.startedAt ?? 0) : (context.ranUntil ?? 0),
  until: verifyUntil(context),
});
/** A drift proposed it: the observer had said that it is not well, so the first word to the contrary counts. */
const wasSeenIll = ({ origin }: ActionContext): boolean =>
  origin !== null && isDriftAddress(origin);
export const escalateInput = ({ context }: In) => {
  const { actionId, facts, reason, startedAt, outcome } = context;
  const { type = '', host = '', service = '', description = '' } = facts ?? {};
  const exit = outcome === null ? {} : { exit_code: outcome.exit_code, signal: outcome.signal };
  const about = { action_id: actionId, type, host, service, description, reason, ...exit };
  return { about: { ...about, started_at: startedAt } };
};
