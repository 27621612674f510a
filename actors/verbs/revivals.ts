/** Failed agents and what is to become of them: Lazarus' requests, and what a person answers. */
import { agentAddress, cellAddress, lazarusAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { MissionNode } from '../node.ts';
import type { RevivalView } from '../status.ts';
import { resolveMember, resolveRevival } from './ids.ts';
import { ONE_REVIVAL, REVIVALS } from './outputs.ts';
import { PAGE_FIELDS, pageOf } from './page.ts';
import type { PageInput } from './page.ts';
import { byOf, inputOf } from './verb.ts';
import type { ReadingVerb, VerbInput, WritingVerb } from './verb.ts';

export const revivalReadingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'revivals.list',
    summary: 'Every agent that ever failed: what Lazarus does about it, and what waits for you.',
    remote: true,
    input: inputOf([], [], {
      status: {
        enum: ['pending', 'pending_approval', 'revived', 'failed'],
        description: 'Only those of this status.',
      },
      ...PAGE_FIELDS,
    }),
    output: REVIVALS,
    run(reader, { status, ...page }: PageInput & { status?: string }) {
      const { revivals, running } = reader.status();
      const wanted = revivals.filter((one) => status === undefined || one.status === status);
      const keyOf = (one: RevivalView): string => `${one.cell_id}/${one.agent_id}`;
      const { items, ...more } = pageOf(wanted, keyOf, page);
      return { running, revivals: items.map(asJsonObject), ...more };
    },
  },
  {
    kind: 'reads',
    name: 'revivals.show',
    summary: 'One of them: the whole story, and the choices.',
    remote: true,
    input: inputOf(['revival']),
    run(reader, { revival = '' }: VerbInput) {
      const view = reader.status();
      return { running: view.running, ...asJsonObject(resolveRevival(view, revival)) };
    },
  },
];

export const revivalVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'revivals.approve',
    summary: 'Brings the agent back, or has another one take its task over.',
    remote: true,
    rights: 'approve',
    output: ONE_REVIVAL,
    input: inputOf(['revival'], ['choice', 'substitute', 'by']),
    async run(node, input: VerbInput) {
      const { cell_id, agent_id, revival_id } = found(node, input);
      requireHere(node, cell_id);
      await answer(node, { cellId: cell_id, agentId: agent_id }, approval(input, revival_id));
      return asJsonObject(found(node, { revival: `${cell_id}/${agent_id}` }));
    },
  },
  {
    kind: 'writes',
    name: 'revivals.reject',
    summary: 'Leaves the agent failed; what does not depend on it goes on.',
    remote: true,
    rights: 'approve',
    destructive: true,
    output: ONE_REVIVAL,
    input: inputOf(['revival'], ['by']),
    async run(node, input: VerbInput) {
      const { cell_id, agent_id, revival_id } = found(node, input);
      const event = { type: 'revival.reject', by: byOf(input), ...idOf(revival_id) };
      await answer(node, { cellId: cell_id, agentId: agent_id }, event);
      return asJsonObject(found(node, { revival: `${cell_id}/${agent_id}` }));
    },
  },
  {
    kind: 'writes',
    name: 'agent.revive',
    summary: 'Brings a failed agent back, whatever its policy.',
    remote: true,
    rights: 'approve',
    input: inputOf(['agent'], ['choice', 'by']),
    async run(node, input: VerbInput) {
      const { cellId, id: agentId } = resolveMember(node.status(), 'agent', input['agent'] ?? '');
      const { system } = node.kernel;
      if (
        !system.has(lazarusAddress(cellId, agentId)) ||
        !system.has(agentAddress(cellId, agentId))
      )
        throw new RuntimeError(`agent ${agentId} has not failed; there is nothing to revive`, {
          code: 'CONFLICT',
          hint: 'A paused agent goes on with `lazarus agent resume`.',
        });
      await answer(node, { cellId, agentId }, approval(input, null));
      return asJsonObject(found(node, { revival: `${cellId}/${agentId}` }));
    },
  },
];

const found = (node: MissionNode, { revival = '' }: VerbInput): RevivalView =>
  resolveRevival(node.status(), revival);

/** What was asked before the mission left is not acted on here. */
function requireHere(node: MissionNode, cellId: string): void {
  if (node.kernel.system.has(cellAddress(cellId))) return;
  throw new RuntimeError(`mission ${cellId} is not here any more`, {
    code: 'CONFLICT',
    hint: 'See where it went: `lazarus status`. Its agents are answered for where it runs.',
  });
}

const idOf = (revivalId: string | null): { revivalId?: string } =>
  revivalId === null ? {} : { revivalId };

type Choice = 'retry' | 'previous_checkpoint' | 'substitute';

function approval(input: VerbInput, revivalId: string | null): { type: string } & JsonObject {
  const { substitute } = input;
  const choice = choiceOf(input);
  const by = byOf(input);
  if (choice === 'substitute')
    return { type: 'revival.substitute', by, agentId: substitute ?? null, ...idOf(revivalId) };
  const rollBack = choice === 'previous_checkpoint';
  return { type: 'revival.approve', by, rollBack, ...idOf(revivalId) };
}

function choiceOf({ choice, substitute }: VerbInput): Choice {
  if (choice === undefined) return substitute === undefined ? 'retry' : 'substitute';
  if (choice === 'retry' || choice === 'previous_checkpoint' || choice === 'substitute')
    return choice;
  throw new RuntimeError(`there is no choice ${choice}`, {
    code: 'INVALID_ARGUMENT',
    hint: 'It may be retry, previous_checkpoint or substitute.',
  });
}

async function answer(
  node: MissionNode,
  { cellId, agentId }: { cellId: string; agentId: string },
  event: { type: string } & JsonObject,
): Promise<void> {
  await node.kernel.system.send(lazarusAddress(cellId, agentId), event);
}
