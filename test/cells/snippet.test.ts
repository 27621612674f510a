/** The creation commands of the Mission Cell specification, run by a real shell as people run them. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scanCell } from '../../cells/load.ts';
import { scanMissions } from '../../cells/scan-missions.ts';
import { temporaryFolder } from '../support/cell-files.ts';

/** A stand-in for hosts without uuidgen. */
const UUIDGEN =
  'command -v uuidgen >/dev/null || uuidgen() { cat /proc/sys/kernel/random/uuid; }\n';

const FILES = `
cat > cell.json << EOF
{
  "cell_id": "$(uuidgen)",
  "mission_name": "Example Mission",
  "created_at": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "created_by": "admin",
  "status": "active",
  "isolation_level": "level_1",
  "max_agents": 4,
  "timeout": 3600
}
EOF
mkdir -p agents tasks checkpoints artifacts config logs
cat > agents/agent_001.json << EOF
{"agent_id": "agent_001", "name": "Lead Agent", "role": "lead", "capabilities": ["planning", "coordination"],
 "gateway": "gateway_1", "status": "idle", "current_task": null, "checkpoint": null}
EOF
cat > tasks/task_001.json << EOF
{"task_id": "task_001", "title": "Code Review", "description": "Review pull request #123",
 "assigned_to": "agent_001", "status": "pending", "priority": "high", "dependencies": [], "timeout": 1800,
 "artifacts": [], "created_at": "$(date -u +%Y-%m-%dT%H:%M:%SZ)"}
EOF
`;

function bash(script: string, cwd: string): void {
  const { error } = spawnSync('bash', ['-c', UUIDGEN + script], { cwd, stdio: 'ignore' });
  expect(error).toBeUndefined();
}

test('with one id for mkdir and cd the commands make a sound cell, whatever its cell_id', async () => {
  const missions = temporaryFolder();
  bash(`id=$(uuidgen); mkdir -p "${missions}/$id"; cd "${missions}/$id"\n${FILES}`, missions);
  const { cells, problems } = await scanMissions(missions);
  expect([cells.length, problems]).toEqual([1, []]);
  const scan = scanCell(join(missions, cells[0] ?? ''));
  expect(scan.problems).toEqual([]);
  expect(scan.changes.map(({ path }) => path)).toEqual([
    'cell.json',
    'agents/agent_001.json',
    'tasks/task_001.json',
  ]);
});

test('run unchanged in the missions folder they leave a stray cell.json, and its message mends it', async () => {
  const missions = temporaryFolder();
  bash(`mkdir -p "${missions}/$(uuidgen)"\ncd "${missions}/$(uuidgen)"\n${FILES}`, missions);
  const scan = await scanMissions(missions);
  expect([scan.cells, scan.drops]).toEqual([[], []]);
  expect(scan.problems.map(({ path }) => path)).toEqual(['cell.json']);
  const [problem] = scan.problems[0]?.problems ?? [];
  expect(problem?.message).toContain('`mkdir` and `cd` each called uuidgen');

  const command = problem?.fix.slice(problem.fix.indexOf('cd ')) ?? '';
  expect(command).toContain('&& mv agents tasks checkpoints logs artifacts config cell.json "');
  bash(command, '/');
  const mended = await scanMissions(missions);
  expect(mended.problems).toEqual([]);
  expect(mended.cells).toHaveLength(1);
  const [folder = ''] = mended.cells;
  const cell = scanCell(join(missions, folder));
  expect(cell.problems).toEqual([]);
  expect(cell.changes[0]?.content).toMatchObject({ cell_id: folder });
});

test('a stray cell.json that nobody can read still gets its message', async () => {
  const missions = temporaryFolder();
  bash(`echo 'half {' > cell.json`, missions);
  const { problems } = await scanMissions(missions);
  expect(problems[0]?.problems[0]?.fix).toContain('cell=$(uuidgen) && mkdir -p "$cell"');
  expect(readdirSync(missions)).toEqual(['cell.json']);
});
