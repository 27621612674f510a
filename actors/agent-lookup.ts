/** Which agent a caller means by an id, and perhaps a cell; and the answers when that is not clear. */
import { ID_PATTERN } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { AgentDirectory, KnownAgent } from './agent-directory.ts';

const MAX_NAMED_CELLS = 20;

/**
 * Undefined when no mission has the id. Throws RuntimeError AMBIGUOUS_ID, NOT_FOUND when the named cell has no such agent,
 * INVALID_ARGUMENT for what cannot be an id.
 */
export function resolveAgent(
  directory: AgentDirectory,
  agentId: string,
  cellId: string | undefined,
): KnownAgent | undefined {
  requireId(agentId);
  if (cellId === undefined) {
    const found = directory.withId(agentId);
    if (found.length > 1) throw ambiguous(agentId, found);
    return found[0];
  }
  requireId(cellId);
  const agent = directory.find(cellId, agentId);
  if (agent) return agent;
  throw new RuntimeError(
    directory.hasCell(cellId)
      ? `cell ${cellId} has no agent ${agentId}`
      : `there is no cell ${cellId}`,
    { code: 'NOT_FOUND', hint: 'GET /health lists the agents.' },
  );
}

function requireId(id: string): void {
  if (ID_PATTERN.test(id)) return;
  throw new RuntimeError(`'${id.slice(0, 80)}' is no id`, {
    code: 'INVALID_ARGUMENT',
    hint: 'An id is 1 to 64 of A-Z a-z 0-9 _ -, beginning with a letter or digit.',
  });
}

export function onlyItsOwnChannel({ cellId, agentId }: KnownAgent): RuntimeError {
  return new RuntimeError(
    `agent ${agentId} of cell ${cellId} runs here; its heartbeats count only over its own channel`,
    {
      code: 'CONFLICT',
      details: { cell_id: cellId, agent_id: agentId },
      hint: 'An agent that runs elsewhere says so in its file: "runner": {"kind": "remote"}.',
    },
  );
}

export function unknownAgent(agentId: string): RuntimeError {
  return new RuntimeError(`there is no agent ${agentId}`, {
    code: 'NOT_FOUND',
    hint: 'GET /health lists the agents; a first POST /heartbeat/<agent_id> registers one.',
  });
}

function ambiguous(agentId: string, found: readonly KnownAgent[]): RuntimeError {
  const cells = found.slice(0, MAX_NAMED_CELLS).map(({ cellId }) => cellId);
  const more = found.length > cells.length ? ` and ${found.length - cells.length} more` : '';
  return new RuntimeError(`agent ${agentId} stands in ${cells.join(', ')}${more}`, {
    code: 'AMBIGUOUS_ID',
    details: { cells, total: found.length },
    hint: `Name the cell: ?cell=${cells[0]}`,
  });
}
