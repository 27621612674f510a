/**
 * Settling what the runtime cannot know (P4): a person says how a step that was cut off ended. The answer is journaled
 * with who gave it; the task's note about the doubt goes when the agent reports on, or here when the step runs again.
 */
import { cellAddress } from '../../machines/addresses.ts';
import type { RunStepInput } from '../../machines/agent-effects.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { PlainError } from '../../machines/errors.ts';
import type { DoubtfulEffect } from '../effects.ts';
import type { MissionNode } from '../node.ts';
import { resolveDoubt } from './ids.ts';
import { byOf, inputOf } from './verb.ts';
import type { VerbInput, WritingVerb } from './verb.ts';

export const doubtVerbs: WritingVerb[] = [
  settling('done', 'The step did its work: go on after it.'),
  settling('retry', 'The step did nothing: run it (again).'),
  settling('fail', 'The step failed: its task fails.'),
];

type Answer = 'done' | 'retry' | 'fail';

function settling(answer: Answer, summary: string): WritingVerb {
  return {
    kind: 'writes',
    name: `doubt.${answer}`,
    summary,
    remote: true,
    rights: 'approve',
    ...(answer === 'fail' && { destructive: true }),
    input: inputOf(['doubt'], ['by']),
    run: (node, input: VerbInput) => settle(node, answer, input),
  };
}

async function settle(
  node: MissionNode,
  answer: Answer,
  { doubt = '', ...rest }: VerbInput,
): Promise<JsonObject> {
  const { system } = node.kernel;
  const { key, cell_id, agent_id, task_id, step } = resolveDoubt(node.status(), doubt);
  const effect = system.effects.takeDoubtful(key);
  const by = byOf(rest);
  if (answer === 'done') await system.settle(key, { kind: 'done' }, by);
  else if (answer === 'fail') await system.settle(key, { kind: 'failed', error: failed(by) }, by);
  else {
    await system.settle(key, { kind: 'not_started' }, by);
    await tellCell(node, effect);
  }
  return { key, cell_id, agent_id, task_id, step, settled: answer, by };
}

const failed = (by: string): PlainError => ({
  name: 'RuntimeError',
  code: 'STEP_FAILED',
  message: `settled as failed by ${by}`,
});

async function tellCell(node: MissionNode, { src, input }: DoubtfulEffect): Promise<void> {
  if (src !== 'runStep') return;
  const { cellId, agentId, taskId, attempt } = input as unknown as RunStepInput;
  const event = { type: 'task.doubted', agentId, taskId, attempt, reason: null };
  await node.kernel.system.send(cellAddress(cellId), event);
}
