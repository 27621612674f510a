/** Verbs about the health of agents. The report is the one that is written at each poll, made anew. */
import { asJsonObject } from '../../machines/json.ts';
import { reportAtRest } from '../health-report.ts';
import { inputOf } from './verb.ts';
import type { ReadingVerb, WritingVerb } from './verb.ts';

export const healthVerbs: (ReadingVerb | WritingVerb)[] = [
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
    input: inputOf(['agent'], ['by']),
    async run(node, { agent = '' }) {
      await node.health.directory.ready();
      node.health.heartbeats.unregister(agent);
      return { agent_id: agent, registered: false };
    },
  },
];
