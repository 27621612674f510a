/** Why an agent is what it is: at work, idle, paused, or lost, and then what Lazarus makes of it. */
import { agentAddress } from '../../machines/addresses.ts';
import { agentStatus, findAgent } from '../../machines/cell-context.ts';
import type { AgentState, CellContext } from '../../machines/cell-context.ts';
import type { LazarusContext } from '../../machines/lazarus-context.ts';
import { lazarusAddress } from '../../machines/addresses.ts';
import type { WhyReader } from './explanation.ts';
import { NO_FOCUS, sentence } from './explanation.ts';
import type { Explanation, Fact } from './explanation.ts';
import { caseOf, pastRevival } from './lazarus-case.ts';
import type { Case } from './lazarus-case.ts';
import { policyFacts } from './policies.ts';
import { resumeNeeds } from './task.ts';
import { waitsOf } from './waits.ts';

type Explained = Omit<Explanation, 'cell_id' | 'path'>;

export function explainAgent(reader: WhyReader, context: CellContext, agentId: string): Explained {
  const { cellId } = context;
  const state = findAgent(context, agentId) as AgentState;
  const actor = reader.actor(agentAddress(cellId, agentId));
  const held = actor && 'held' in actor ? actor.held : null;
  const found = caseOf(reader, context, { cellId, agentId });
  return {
    kind: 'agent',
    id: agentAddress(cellId, agentId),
    answer:
      held === null
        ? answerOf(reader, context, { agentId, state, found })
        : sentence(`${held}.`, found?.isOpen === true ? found.answer : null),
    facts: factsOf(reader, cellId, agentId, state, found),
    policies: found?.policies ?? policyFacts(context, agentId, ''),
    next: [...(found?.isOpen ? found.next : []), ...waitsOf(reader, actor)],
    needs: [...resumeNeeds(context, agentId), ...(found?.needs ?? [])],
    story: found?.story ?? [],
    focus: { ...NO_FOCUS, cell: cellId, agents: [agentId] },
  };
}

/** A request to bring an agent back: the one at hand, or an earlier one. */
export function explainRevival(
  reader: WhyReader,
  context: CellContext | undefined,
  { cellId, agentId, revivalId }: { cellId: string; agentId: string; revivalId: string },
): Explained {
  const found = caseOf(reader, context, { cellId, agentId });
  const address = lazarusAddress(cellId, agentId);
  const actor = reader.actor(address);
  const past =
    actor && !('held' in actor)
      ? pastRevival(actor.context as LazarusContext, revivalId)
      : undefined;
  const failure = found?.facts.find(({ name }) => name === 'failure')?.value;
  const first = typeof failure === 'string' ? `Agent ${agentId} failed: ${failure}.` : null;
  return {
    kind: 'revival',
    id: revivalId,
    answer: past === undefined ? sentence(first, found?.answer) : sentence(past),
    facts: past === undefined ? (found?.facts ?? []) : [],
    policies: found?.policies ?? [],
    next: past === undefined ? (found?.next ?? []) : [],
    needs: past === undefined ? (found?.needs ?? []) : [],
    story: past === undefined ? (found?.story ?? []) : [],
    focus: { ...NO_FOCUS, cell: cellId, addresses: [address] },
  };
}

function answerOf(
  reader: WhyReader,
  context: CellContext,
  { agentId, state, found }: { agentId: string; state: AgentState; found: Case | undefined },
): string {
  const status = agentStatus(state);
  const name = `agent ${agentId}`;
  const isUp = reader.clock() !== undefined;
  switch (status) {
    case 'failed':
      return sentence(
        `${name} failed: ${found?.failure ?? state.reason ?? 'no reason was given'}.`,
        found ? `${found.answer}.` : null,
      );
    case 'paused':
      return sentence(`${name} is paused: ${pausedBecause(context, state)}`);
    case 'active':
      return sentence(
        `${name} ${isUp ? 'works on' : 'has'} task ${state.currentTask ?? '?'}${state.run?.step ? `, step ${state.run.step}` : ''}`,
        isUp ? null : 'and stands still: no node runs',
        found ? `(earlier: ${found.answer})` : null,
      );
    case 'idle':
      return sentence(
        `${name} is idle: ${state.reason ?? 'no task waits that it can and may do'}`,
        found ? `(earlier: ${found.answer})` : null,
      );
    default:
      return status satisfies never;
  }
}

function pausedBecause(context: CellContext, agent: AgentState): string {
  if (agent.pausedByPerson) return 'a person asked for it';
  if (context.pausedByPerson) return 'a person paused the mission';
  return context.reason ?? `the mission is ${context.phase}`;
}

function factsOf(
  reader: WhyReader,
  cellId: string,
  agentId: string,
  state: AgentState,
  found: Case | undefined,
): Fact[] {
  const cell = reader.status().cells.find(({ cell_id: id }) => id === cellId);
  const seen = cell?.agents.find(({ agent_id: id }) => id === agentId);
  const pid = seen?.pid ?? null;
  const complaint = seen?.complaint ?? null;
  return [
    { name: 'status', value: seen?.status ?? agentStatus(state) },
    ...(complaint === null ? [] : [{ name: 'not well', value: complaint }]),
    ...(pid === null ? [] : [{ name: 'worker', value: `pid ${pid}` }]),
    ...(state.currentTask === null ? [] : [{ name: 'task', value: state.currentTask }]),
    ...(state.run?.step ? [{ name: 'step', value: state.run.step }] : []),
    ...(found?.facts ?? []),
  ];
}
