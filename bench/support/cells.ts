/** Mission cells for rows that need real ones: as files, and as actors. */
import type { Kernel } from '../../actors/kernel.ts';
import type { JsonObject } from '../../machines/json.ts';

export interface MissionPlan {
  cellId: string;
  level: 'none' | 'level_1';
  /** argv of the only step of each task. */
  run: string[];
  /** One task for each. Default 1. */
  agents?: number;
}

const CREATED = '2026-01-01T00:00:00Z';

function cellFile({ cellId, level }: Pick<MissionPlan, 'cellId' | 'level'>): JsonObject {
  return {
    cell_id: cellId,
    mission_name: `Mission ${cellId}`,
    created_at: CREATED,
    created_by: 'bench',
    status: 'active',
    isolation_level: level,
    max_agents: 100,
    policies: { auto_revive: 'yes' },
    restart: { intensity: 1000, period: 1 },
  };
}

const agentFile = (id: string): JsonObject => ({ agent_id: id, name: id, role: 'write' });

/** A whole mission as one dropped file. */
export function dropText({ cellId, level, run, agents = 1 }: MissionPlan): string {
  const ids = Array.from({ length: agents }, (_, n) => `a${n}`);
  return JSON.stringify({
    ...cellFile({ cellId, level }),
    agents: ids.map(agentFile),
    tasks: ids.map((id) => ({
      task_id: `task-${id}`,
      title: `work of ${id}`,
      assigned_to: id,
      steps: [{ name: 'work', run, retry: 'safe' }],
    })),
  });
}

/** A cell at rest as people write it: path to content. */
export function restingCell(cellId: string, agents: number): Record<string, JsonObject> {
  const files: Record<string, JsonObject> = {
    'cell.json': { ...cellFile({ cellId, level: 'none' }), status: 'paused' },
  };
  for (let n = 0; n < agents; n += 1) files[`agents/a${n}.json`] = agentFile(`a${n}`);
  files['tasks/t0.json'] = { task_id: 't0', title: 'one task', description: 'to be done' };
  return files;
}

/** Cell actors that know the files of a resting cell without agents: those are actors of their own. */
export async function spawnCells({ system }: Kernel, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    const cellId = `resting-${n}`;
    const address = `cell/${cellId}`;
    const changes = Object.entries(restingCell(cellId, 0)).map(([path, content]) => {
      const [folder = '', name = ''] = path.replace('.json', '').split('/');
      return { path, kind: folder.replace(/s$/, ''), id: name || 'cell', content };
    });
    await Promise.all([
      system.spawn(address, 'cell', { cellId, policies: {} }),
      system.send(address, { type: 'files.changed', changes }),
    ]);
  }
}
