/**
 * The last lines of the logs that the runtime writes for people: of a mission, or of one of its agents. Only those files are
 * read, through the cell's own folder (cells/inside.ts): an id is looked up, never put into a path as it came.
 */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { hasCode, openInside } from '../../cells/inside.ts';
import { cellPath, encodeName } from '../../cells/layout.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { resolveCell, resolveMember } from './ids.ts';
import { LOG } from './outputs.ts';
import { inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb } from './verb.ts';

const MAX_LINES = 1000;
const DEFAULT_LINES = 200;
/** Most that is looked through for them; an answer is no longer than this. */
const MAX_BYTES = 128 << 10;

export const logVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'logs',
    summary: 'The last lines of the log of a mission, or of one of its agents.',
    remote: true,
    input: inputOf(['cell'], ['agent'], {
      lines: { type: 'integer', minimum: 1, maximum: MAX_LINES, description: 'Default 200.' },
    }),
    output: LOG,
    run: readLog,
  },
];

type LogInput = { cell?: string; agent?: string; lines?: number };

function readLog(
  reader: MissionReader,
  { cell = '', agent, lines = DEFAULT_LINES }: LogInput,
): JsonObject {
  const view = reader.status();
  const { cell_id: cellId, path } = resolveCell(view, cell);
  const agentId =
    agent === undefined ? null : resolveMember(view, 'agent', `${cellId}/${agent}`).id;
  if (path === null)
    throw new RuntimeError(`the folder of cell ${cellId} is gone`, { code: 'NOT_FOUND' });
  const log = agentId === null ? cellPath.missionLog : cellPath.agentLog(encodeName(agentId));
  return { cell_id: cellId, agent_id: agentId, lines: lastLines(path, log, lines) };
}

/** None while there is no such file. */
function lastLines(root: string, path: string, count: number): string[] {
  let fd: number;
  try {
    fd = openInside(root, path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, MAX_BYTES));
    const length = readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    const lines = buffer.toString('utf8', 0, length).split('\n');
    if (size > buffer.length) lines.shift(); // its beginning is missing
    if (lines.at(-1) === '') lines.pop();
    return lines.slice(-count);
  } finally {
    closeSync(fd);
  }
}
