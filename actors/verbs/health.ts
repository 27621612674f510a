/** Verbs about the health of agents. The report is the one that is written at each poll, made anew. */
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { reportAtRest } from '../health-report.ts';
import { resolveCell, resolveMember } from './ids.ts';
import { AGENT_HEALTH } from './outputs.ts';
import { inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb, VerbInput, WritingVerb } from './verb.ts';

export const healthVerbs: (ReadingVerb | WritingVerb)[] = [
  {
    kind: 'reads',
    name: 'agent.health',
    summary: 'The signs of life of one agent.',
    remote: true,
    input: inputOf(['agent'], ['cell']),
    output: AGENT_HEALTH,
    run: agentHealth,
  },
  {
    kind: 'reads',
    name: 'health',
    summary: 'The health of every agent, with counts.',
    remote: true,
    input: inputOf([]),
    run: (reader) => asJsonObject(reader.health?.() ?? reportAtRest(reader.status(), Date.now())),
  },
  {
    kind: 'writes',
    name: 'agent.unregister',
    summary: 'Forgets an agent of no mission that registered itself by a heartbeat.',
    remote: true,
    rights: 'operate',
    destructive: true,
    input: inputOf(['agent'], ['by']),
    async run(node, { agent = '' }: VerbInput) {
      await node.health.directory.ready();
      node.health.heartbeats.unregister(agent);
      return { agent_id: agent, registered: false };
    },
  },
];

/** While nobody listens, all that is known of an agent is whether it has failed. */
function agentHealth(reader: MissionReader, { agent = '', cell }: VerbInput): JsonObject {
  const [cellText, id] = cell === undefined ? splitId(agent) : [cell, agent];
  const view = reader.status();
  const cellId = cellText === undefined ? undefined : resolveCell(view, cellText).cell_id;
  const heard = reader.agentHealth?.(id, cellId);
  if (heard) return asJsonObject(heard);
  const found = resolveMember(view, 'agent', cellId === undefined ? id : `${cellId}/${id}`);
  const { agents } = resolveCell(view, found.cellId);
  const { status, reason } = agents.find(({ agent_id: known }) => known === found.id) ?? {};
  const hasFailed = status === 'failed';
  return {
    agent_id: found.id,
    cell_id: found.cellId,
    status: hasFailed ? 'unhealthy' : 'unknown',
    last_heartbeat: null,
    last_response: null,
    consecutive_failures: hasFailed ? 1 : 0,
    response_time: null,
    error_message: hasFailed ? (reason ?? null) : null,
    metadata: {},
  };
}

function splitId(text: string): [cell: string | undefined, id: string] {
  const cut = text.indexOf('/');
  return cut < 0 ? [undefined, text] : [text.slice(0, cut), text.slice(cut + 1)];
}
