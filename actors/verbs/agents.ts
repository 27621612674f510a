/** One agent as a whole: what it is, how it is, by which policies it is brought back and which file says so. */
import { agentFileOf } from '../../machines/cell-context.ts';
import { policiesOf, restartOf } from '../../machines/cell-settle.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Policies } from '../../machines/mission.ts';
import { resolveCell, resolveMember } from './ids.ts';
import { inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb, VerbInput } from './verb.ts';

export const agentVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'agent.show',
    summary: 'One agent: status, worker, effective policies with their origins, revivals.',
    remote: true,
    input: inputOf(['agent']),
    run: showAgent,
  },
];

function showAgent(reader: MissionReader, { agent = '' }: VerbInput): JsonObject {
  const view = reader.status();
  const { cellId, id } = resolveMember(view, 'agent', agent);
  const context = reader.cell(cellId);
  const status = resolveCell(view, cellId).agents.find(({ agent_id: known }) => known === id);
  if (!context || !status)
    throw new RuntimeError(`cell ${cellId} cannot be read now`, {
      code: 'CELL_HELD',
      hint: 'The reason stands in `lazarus status`.',
    });
  const { values, origins } = policiesOf(context, id);
  const restart = restartOf(context);
  const names = Object.keys(values) as (keyof Policies)[];
  const revival = view.revivals.find((known) => known.cell_id === cellId && known.agent_id === id);
  return {
    ...asJsonObject(status),
    cell_id: cellId,
    file: asJsonObject(agentFileOf(context, id)),
    policies: {
      ...Object.fromEntries(
        names.map((name) => [name, { value: values[name], from: origins[name] }]),
      ),
      restart: { value: asJsonObject(restart.value), from: restart.origin },
    },
    revival: revival ? asJsonObject(revival) : null,
  };
}
