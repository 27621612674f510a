/** What `status --watch` and `demo` print into a pipe: news, and only news. */
import { expect, test } from 'vitest';
import type {
  AgentStatusView,
  CellStatusView,
  StatusView,
  TaskStatusView,
} from '../../actors/status.ts';
import { changesBetween } from '../../cli/changes.ts';

const AGENT: AgentStatusView = {
  agent_id: 'writer',
  name: 'Writer',
  role: 'write',
  status: 'active',
  health: 'healthy',
  pid: 4711,
  current_task: 'build',
  revivals: 0,
  reason: null,
  complaint: null,
};
const TASK: TaskStatusView = {
  task_id: 'build',
  title: 'Build',
  status: 'in_progress',
  priority: 'medium',
  assigned_to: 'writer',
  blocked_reason: null,
  steps_done: 1,
  steps_total: 3,
  current_step: 'link',
  attempts: 1,
};

const CELL: CellStatusView = {
  cell_id: 'c1',
  mission_name: 'Mission',
  status: 'active',
  phase: 'working',
  reason: null,
  path: '/m/c1',
  isolation_level: 'level_1',
  boundary: 'none',
  limits: [],
  agents: [],
  tasks: [],
  notes: [],
};

interface Changed {
  agent?: Partial<AgentStatusView>;
  task?: Partial<TaskStatusView>;
  cell?: Partial<CellStatusView>;
  view?: Partial<StatusView>;
}

function status({ agent, task, cell, view }: Changed = {}): StatusView {
  return {
    running: true,
    node: { state: 'running', pid: 1 },
    config: {},
    parts: {},
    cells: [
      {
        ...CELL,
        agents: [{ ...AGENT, ...agent }],
        tasks: [{ ...TASK, ...task }],
        ...cell,
      },
    ],
    held: [],
    mended: [],
    revivals: [],
    agents: 1,
    pending_revivals: 0,
    in_doubt: [],
    ...view,
  };
}

test('without a status before, everything that matters is new', () => {
  expect(changesBetween(undefined, status())).toEqual([
    'node: running',
    'task build: in progress by writer 1/3, link',
    'mission "Mission": active',
  ]);
});

test('nothing new, nothing said: a worker that comes and goes is no news', () => {
  const after = status({ agent: { pid: null, status: 'idle', current_task: null } });
  expect(changesBetween(status(), after)).toEqual([]);
});

const doubt = { key: 'k', cell_id: 'c1', agent_id: 'writer', task_id: 'build', step: 'link' };

test.each<[string, Changed, string[]]>([
  [
    'a step',
    { task: { steps_done: 2, current_step: 'pack' } },
    ['task build: in progress by writer 2/3, pack'],
  ],
  [
    'a task that waits for a reason',
    { task: { status: 'pending', blocked_reason: 'nobody may', current_step: null } },
    ['task build: pending 1/3 (nobody may)'],
  ],
  [
    'an agent that is lost',
    { agent: { status: 'failed', reason: 'killed' } },
    ['agent writer: failed (killed)'],
  ],
  ['a revival', { agent: { revivals: 1 } }, ['agent writer: revived, 1 in all']],
  [
    'the end of the mission',
    { cell: { status: 'failed', reason: 'timeout' } },
    ['mission "Mission": failed (timeout)'],
  ],
  [
    'a doubt',
    { view: { in_doubt: [{ ...doubt, since: '', choices: [] }] } },
    ['in doubt: build/link, agent writer'],
  ],
  ['a cell that is held', { view: { held: [{ what: 'x', reason: 'no' }] } }, ['x: held, no']],
  [
    'the node',
    { view: { node: { state: 'held: journal', pid: 1, reason: 'disk full' } } },
    ['node: held: journal (disk full)'],
  ],
])('%s is told once', (_, changed, lines) => {
  expect(changesBetween(status(), status(changed))).toEqual(lines);
  expect(changesBetween(status(changed), status(changed))).toEqual([]);
});

test('a cell whose files are not read yet is no news', () => {
  const empty = { mission_name: '', status: 'paused', agents: [], tasks: [] };
  expect(changesBetween(status(), status({ cell: empty }))).toEqual([]);
});

test('of several missions each line names its own', () => {
  const other = { ...CELL, cell_id: 'another-cell', status: 'paused' };
  const after = status({ view: { cells: [CELL, other] } });
  expect(changesBetween(status(), after)).toContain('another- mission "Mission": paused');
});
