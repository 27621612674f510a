/** What a person who is asked about a failed agent can answer, each with the command that says it. */
import { hasStopped } from './revival-policy.ts';
import type { LazarusContext } from './lazarus-context.ts';

/** How the reason begins for which a person is asked again. */
export const NOT_PUT_BACK = 'its state was not put back';

export interface RevivalChoice {
  choice: 'retry' | 'previous_checkpoint' | 'substitute' | 'give_up';
  means: string;
  command: string;
}

export function choicesOf(context: LazarusContext): RevivalChoice[] {
  const { revivalId, agentId, current } = context;
  const id = revivalId ?? '';
  const isHeld = current?.failure.reason === 'actor_held';
  const policies = current?.policies;
  const taskId = current?.failure.taskId ?? null;
  const others = policies?.handoff_allowed ? policies.substitute_agents : [];
  const choices: RevivalChoice[] = [
    {
      choice: 'retry',
      means: isHeld
        ? `once what holds ${agentId} is mended (\`lazarus fsck\` says how), bring it back`
        : `bring ${agentId} back; its counters begin anew`,
      command: `lazarus revivals approve ${id}`,
    },
  ];
  if (!isHeld && !hasNoEarlierState(context))
    choices.push({
      choice: 'previous_checkpoint',
      means: `put ${agentId} back to its previous checkpoint first; finished steps stay finished`,
      command: `lazarus revivals approve ${id} --previous-checkpoint`,
    });
  const stopped = current !== null && hasStopped(current.failure); // else nobody takes over: cell-handover.ts, H4
  if (taskId !== null && policies?.handoff_allowed === true && stopped)
    choices.push({
      choice: 'substitute',
      means:
        others.length > 1
          ? `hand task ${taskId} to the first of ${others.join(', ')} that can and may do it`
          : others.length === 1
            ? `hand task ${taskId} to ${others.join()}, if it can and may do it`
            : `hand task ${taskId} to another agent`,
      command: `lazarus revivals approve ${id} --substitute ${others[0] ?? '<agent>'}`,
    });
  choices.push({
    choice: 'give_up',
    means: stopped
      ? `leave ${agentId} failed; what does not depend on it goes on`
      : `leave ${agentId} as it is`,
    command: `lazarus revivals reject ${id}`,
  });
  return choices;
}

/** It was asked for, and could not be done. */
const hasNoEarlierState = ({ reason }: LazarusContext): boolean => reason.startsWith(NOT_PUT_BACK);
