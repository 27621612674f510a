/** The status for people: what waits for them first, then each mission. */
import type {
  AgentStatusView,
  CellStatusView,
  DoubtView,
  StatusView,
  TaskStatusView,
} from '../actors/status.ts';
import { isJsonObject } from '../machines/json.ts';
import { nextOf } from './revivals.ts';
import { partsLines, partsSummary } from './status-parts.ts';
import { bar, brief, paint, span, table } from './terminal.ts';

/** Missions with their tables; of the rest a line each. */
const MAX_TABLES = 20;
/** Of what waits for a person, and of what Lazarus is at. */
const MAX_ROWS = 20;

export function statusLines(view: StatusView): string[] {
  return [
    ...headLines(view),
    ...waitingLines(view),
    ...workingLines(view),
    ...mendedLines(view),
    ...cellsLines(view),
  ];
}

function headLines({ node, parts, config }: StatusView): string[] {
  const isDown = node.state === 'stopped' || node.state === 'starting';
  const style = node.state === 'running' ? 'green' : isDown ? 'yellow' : 'red';
  const since =
    typeof node['started_at'] === 'string' ? Date.parse(node['started_at']) : Number.NaN;
  const facts = [
    node.pid === null ? '' : `pid ${node.pid}`,
    Number.isNaN(since) || node.state === 'stopped' ? '' : `up ${span(Date.now() - since)}`,
    `missions ${missionsOf(node)}`,
  ];
  const version = typeof node['version'] === 'string' ? ` ${node['version']}` : '';
  const lines = [
    `${paint('bold', `Lazarus${version}`)}  ${paint(style, node.state)}  ${facts.filter(Boolean).join(' · ')}`,
  ];
  if (typeof node['reason'] === 'string')
    lines.push(paint('red', `  ${brief(node['reason'], 200)}`));
  const problem = config['problem'] as { message?: string } | null | undefined;
  if (problem) lines.push(paint('red', `  ${brief(problem.message ?? 'configuration', 300)}`));
  if (node.state !== 'stopped')
    lines.push(paint('dim', `  ${partsSummary(parts)}`), ...partsLines(parts));
  return lines;
}

const missionsOf = ({ missions }: StatusView['node']): string =>
  typeof missions === 'string' ? missions : '<missions>';

function waitingLines(view: StatusView): string[] {
  const rows = [
    ...view.in_doubt.map((doubt) => [
      paint('yellow', 'in doubt'),
      `${short(doubt.cell_id)}/${doubt.task_id}: step ${brief(doubt.step, 40)} was cut off and may have run`,
      `lazarus doubt done|retry|fail ${nameOfDoubt(doubt, view.in_doubt)}`,
    ]),
    ...view.revivals
      .filter(({ needs_person: needsPerson }) => needsPerson)
      .map(({ cell_id: cell, agent_id: agent, reason, status, doing }) => {
        const asks = status === 'pending_approval';
        return [
          paint(asks ? 'yellow' : 'red', asks ? 'asks' : 'agent lost'),
          `${short(cell)}/${agent}: ${brief(`${reason}; ${doing}`, 120)}`,
          asks
            ? `lazarus revivals show ${nameOfMember(view, 'agents', cell, agent)}`
            : `lazarus agent revive ${nameOfMember(view, 'agents', cell, agent)}`,
        ];
      }),
    ...view.cells.flatMap((cell) =>
      cell.phase === 'confirming'
        ? [
            [
              paint('yellow', 'confirm'),
              `${short(cell.cell_id)}: its tasks are done`,
              `lazarus cell show ${cell.cell_id}`,
            ],
          ]
        : [],
    ),
    ...view.cells.flatMap((cell) =>
      cell.tasks
        .filter(({ status }) => status === 'failed' && cell.status !== 'completed')
        .map((task) => [
          paint('red', 'failed'),
          `${short(cell.cell_id)}/${task.task_id}: ${brief(task.blocked_reason ?? '', 90)}`,
          `lazarus task retry ${nameOfMember(view, 'tasks', cell.cell_id, task.task_id)}`,
        ]),
    ),
    ...actionRows(view),
    ...view.held.map(({ what, reason }) => [
      paint('red', 'held'),
      `${brief(what, 60)}: ${brief(reason, 160)}`,
    ]),
  ];
  if (rows.length === 0) return [];
  return [
    '',
    paint('bold', `Waits for you (${rows.length})`),
    ...table(['', '', ''], rows.slice(0, MAX_ROWS)).slice(1),
    ...(rows.length > MAX_ROWS
      ? [`  and ${rows.length - MAX_ROWS} more: \`lazarus status --json\``]
      : []),
  ];
}

/** Actions that a person is asked about. */
function actionRows({ parts }: StatusView): string[][] {
  const { waiting } = isJsonObject(parts['actions']) ? parts['actions'] : {};
  return (Array.isArray(waiting) ? waiting : []).filter(isJsonObject).flatMap((one) => {
    const { action_id: id, status, description, reason } = one;
    if (typeof id !== 'string' || (status !== 'pending' && status !== 'held')) return [];
    const why = status === 'held' || description === '' ? reason : description;
    const text = `${brief(id, 60)}: ${brief(typeof why === 'string' ? why : '', 120)}`;
    const paints = status === 'held' ? 'red' : 'yellow';
    return [[paint(paints, 'action'), text, `lazarus actions show ${id}`]];
  });
}

/** What Lazarus is at, what comes next and when; it needs nobody. */
function workingLines(view: StatusView): string[] {
  const open = view.revivals.filter(({ status }) => status === 'pending');
  if (open.length === 0) return [];
  const rows = open
    .slice(0, MAX_ROWS)
    .map((revival) => [
      paint('cyan', 'lost'),
      `${short(revival.cell_id)}/${revival.agent_id}: ${brief(revival.reason, 80)}`,
      brief(`${revival.doing}${view.running ? nextOf(revival) : ''}`, 100),
    ]);
  return [
    '',
    paint(
      'bold',
      view.running
        ? `Lazarus is at work (${open.length})`
        : `Lazarus goes on with these when a node runs (${open.length})`,
    ),
    ...table(['', '', ''], rows).slice(1),
    ...(open.length > MAX_ROWS
      ? [`  and ${open.length - MAX_ROWS} more: \`lazarus revivals list\``]
      : []),
  ];
}

/** Damage that cost nothing: a sign that the disk should be looked at. A node of an older build says nothing of it. */
function mendedLines({ mended = [] }: Partial<StatusView>): string[] {
  if (mended.length === 0) return [];
  const shown = mended.slice(-MAX_ROWS);
  return [
    '',
    paint('bold', `Damaged on disk, and mended (${mended.length})`),
    ...table(
      ['', ''],
      shown.map(({ what, how }) => [paint('yellow', brief(what, 90)), brief(how, 100)]),
    ).slice(1),
  ];
}

function cellsLines(view: StatusView): string[] {
  if (view.cells.length === 0 && view.held.length > 0) return [];
  if (view.cells.length === 0)
    return ['', `No missions. Drop one: cp examples/hello.json ${missionsOf(view.node)}/`];
  const open = view.cells.filter(({ status }) => status !== 'completed');
  const done = view.cells.filter(({ status }) => status === 'completed');
  const isDown = view.node.state === 'stopped' || view.node.state === 'starting';
  return [
    ...open.slice(0, MAX_TABLES).flatMap((cell) => ['', ...cellLines(cell, isDown)]),
    ...(open.length > MAX_TABLES || done.length > 0 ? [''] : []),
    ...open.slice(MAX_TABLES).map((cell) => titleOf(cell, isDown)),
    ...done.map((cell) => titleOf(cell, isDown)),
  ];
}

/** One mission: title, agents, tasks. */
export function cellLines(cell: CellStatusView, isDown: boolean): string[] {
  const lines = [titleOf(cell, isDown)];
  if (cell.reason !== null) lines.push(paint('yellow', `  ${brief(cell.reason, 200)}`));
  const open = cell.limits.filter(({ enforced }) => !enforced).map(({ name }) => name);
  if (open.length > 0) lines.push(paint('yellow', `  not enforced here: ${open.join(', ')}`));
  if (cell.agents.length > 0)
    lines.push(
      ...table(
        ['AGENT', 'ROLE', 'STATUS', 'PID', 'TASK', 'REVIVED', ''],
        cell.agents.map((agent) => agentRow(agent, isDown)),
      ),
    );
  if (cell.tasks.length > 0)
    lines.push(...table(['TASK', 'STATUS', 'AGENT', 'STEPS', ''], cell.tasks.map(taskRow)));
  return lines;
}

function titleOf(cell: CellStatusView, isDown: boolean): string {
  const done = cell.tasks.filter(({ status }) => status === 'completed').length;
  const state = isDown && cell.status === 'active' ? 'active (not running)' : cell.status;
  const phase = cell.phase === 'verifying' || cell.phase === 'confirming' ? ` (${cell.phase})` : '';
  return `${paint('bold', brief(cell.mission_name, 60))}  ${paint('dim', cell.cell_id)}  ${colour(state)}${phase}  ${done}/${cell.tasks.length} tasks`;
}

function agentRow(agent: AgentStatusView, isDown: boolean): string[] {
  return [
    agent.agent_id,
    agent.role,
    isDown && agent.status === 'idle' ? 'idle (not running)' : colour(agent.status),
    agent.pid === null ? '' : String(agent.pid),
    agent.current_task ?? '',
    agent.revivals === 0 ? '' : `${agent.revivals}x`,
    noteOn(agent, isDown),
  ];
}

/** Why it failed holds also while nothing runs. */
function noteOn({ status, reason, complaint }: AgentStatusView, isDown: boolean): string {
  if (isDown && status !== 'failed') return '';
  return brief(reason ?? complaint ?? '', 100);
}

function taskRow(task: TaskStatusView): string[] {
  const now =
    task.blocked_reason ?? (task.current_step === null ? '' : `now: ${task.current_step}`);
  return [
    task.task_id,
    colour(task.status),
    task.assigned_to ?? '',
    bar(task.steps_done, task.steps_total),
    brief(now, 140),
  ];
}

const COLOURS: Record<string, Parameters<typeof paint>[0]> = {
  completed: 'green',
  active: 'cyan',
  in_progress: 'cyan',
  failed: 'red',
  held: 'red',
  paused: 'yellow',
};
const colour = (status: string): string => {
  const style = COLOURS[status];
  return style ? paint(style, status) : status;
};

/** Ids are long; eight characters tell them apart for a reader. */
const short = (cellId: string): string => (cellId.length > 12 ? cellId.slice(0, 8) : cellId);

/** The shortest name that a verb takes. */
function nameOfDoubt(doubt: DoubtView, all: readonly DoubtView[]): string {
  const alike = all.filter(
    ({ task_id: id, agent_id: agent }) => id === doubt.task_id || agent === doubt.task_id,
  );
  return alike.length === 1 ? doubt.task_id : `${doubt.cell_id}/${doubt.task_id}`;
}

function nameOfMember(
  view: StatusView,
  kind: 'agents' | 'tasks',
  cellId: string,
  id: string,
): string {
  const holders = view.cells.filter((cell) =>
    cell[kind].some((member) => ('task_id' in member ? member.task_id : member.agent_id) === id),
  );
  return holders.length === 1 ? id : `${cellId}/${id}`;
}
