/** Mission folders for tests: real files below the system's temporary folder, removed when the test ends. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-cells-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const CELL = {
  cell_id: 'cell-1',
  mission_name: 'Example',
  created_at: '2026-01-31T12:00:00Z',
  created_by: 'admin',
  status: 'active',
};
export const AGENT = { agent_id: 'agent_001', name: 'Lead', role: 'lead' };
export const TASK = { task_id: 'task_001', title: 'Review' };

/** Writes a file and the folders above it; a value that is no text is written as JSON. */
export function put(root: string, path: string, content: unknown): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  const text =
    typeof content === 'string' || Buffer.isBuffer(content)
      ? content
      : `${JSON.stringify(content, null, 2)}\n`;
  writeFileSync(join(root, path), text);
}

/** A cell with one agent and one task. */
export function makeCell(missionsDir: string, folder: string): string {
  const cell = join(missionsDir, folder);
  put(cell, 'agents/agent_001.json', AGENT);
  put(cell, 'tasks/task_001.json', TASK);
  put(cell, 'cell.json', { ...CELL, cell_id: folder });
  return cell;
}
