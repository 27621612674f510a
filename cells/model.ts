/**
 * A mission's folder taken as the model of a new mission: its files without what the runtime wrote into them in an earlier
 * run. A file that the runtime never wrote (it has no `_rev`) is taken as people wrote it.
 */
import { cellAddress } from '../machines/addresses.ts';
import type { CellContext } from '../machines/cell-context.ts';
import type { JsonObject } from '../machines/json.ts';
import type { FileKind } from '../machines/mission.ts';
import { parseCheckpoint } from './checkpoint.ts';
import { readIfThere } from './inside.ts';
import { checkpointPaths } from './layout.ts';
import { scanCell } from './load.ts';
import type { FileProblem } from './load.ts';

/** Of a run, not of the mission. `artifacts` of a task stay: they name its declared outputs. */
const OF_A_RUN: Partial<Record<FileKind, readonly string[]>> = {
  cell: ['status', 'status_reason'],
  agent: ['status', 'status_reason', 'current_task', 'checkpoint'],
  task: [
    'status',
    'status_reason',
    'assigned_to',
    'completed_at',
    'blocked_reason',
    'attempts',
    'result',
  ],
};
const MAX_CHECKPOINT_BYTES = 64 << 20;

export interface ModelFile {
  /** Relative to the cell. */
  path: string;
  content: JsonObject;
}

/** The files that an earlier run wrote into, as a new mission needs them; and what cannot be read. */
export function freshFiles(cellDir: string): { files: ModelFile[]; problems: FileProblem[] } {
  const { changes, problems } = scanCell(cellDir);
  const wishes = wishesIn(cellDir, changes.find(({ kind }) => kind === 'cell')?.content ?? {});
  const files = changes.flatMap(({ path, kind, id, content }) => {
    if (content === null || content['_rev'] === undefined) return [];
    return [{ path, content: fresh(kind, content, kind === 'task' ? wishes(id) : null) }];
  });
  return { files, problems };
}

function fresh(kind: FileKind, content: JsonObject, wishedAgent: string | null): JsonObject {
  const ofARun = new Set(['_rev', ...(OF_A_RUN[kind] ?? [])]);
  const kept = Object.entries(content).filter(([name]) => !ofARun.has(name));
  const wish = wishedAgent === null ? {} : { assigned_to: wishedAgent };
  return { ...Object.fromEntries(kept), ...wish };
}

/** Whom people wanted for a task: its file names whoever had it, but the cell's own checkpoint knows the difference. */
function wishesIn(cellDir: string, cell: JsonObject): (taskId: string) => string | null {
  const address = cellAddress(cell['cell_id'] as string);
  const { state } = checkpointPaths(address);
  const bytes = readIfThere(cellDir, state, { maxBytes: MAX_CHECKPOINT_BYTES });
  const parsed = bytes && parseCheckpoint(bytes, address);
  const snapshot = parsed?.ok ? (parsed.checkpoint.snapshot as JsonObject | null) : null;
  const tasks = (snapshot?.['context'] as unknown as CellContext | undefined)?.tasks ?? {};
  return (taskId) => (Object.hasOwn(tasks, taskId) ? (tasks[taskId]?.wishedAgent ?? null) : null);
}
