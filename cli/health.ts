/** `lazarus health`: the health report of every agent, with its summary; what is not well comes first. */
import type { Command } from 'commander';
import type { HealthReport, ReportedAgent } from '../actors/health-report.ts';
import { missionsLayout } from '../cells/layout.ts';
import { isLocked } from '../cells/lock.ts';
import type { HealthStatus } from '../machines/heartbeats.ts';
import { asJsonObject } from '../machines/json.ts';
import { read } from './access.ts';
import { act, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';

export function command(): Command {
  const health = verb(
    'health',
    'Which agents are well: the health report, with its summary.',
    'lazarus health\nlazarus health --json',
  );
  return act(health, async (_args, flags) => {
    const missions = chooseMissions(flags.missions);
    const report = (await read(missions, 'health', {})) as unknown as HealthReport;
    const running = isLocked(missionsLayout(missions.dir).lock);
    const summary = summaryOf(report);
    show(flags, { ...asJsonObject(report), summary, running }, () =>
      linesOf(report, { summary, running }),
    );
  });
}

/** From the worst to the best. */
const STATUSES = ['unhealthy', 'degraded', 'unknown', 'healthy'] as const;
const COLOURS = { unhealthy: 'red', degraded: 'yellow', unknown: 'dim', healthy: 'green' } as const;
/** Agents named one by one. */
const MAX_ROWS = 50;

type Summary = Record<HealthStatus, number>;

function summaryOf({ agent_health: agents }: HealthReport): Summary {
  const summary: Summary = { healthy: 0, degraded: 0, unhealthy: 0, unknown: 0 };
  for (const { status } of Object.values(agents)) summary[status] += 1;
  return summary;
}

function linesOf(
  report: HealthReport,
  { summary, running }: { summary: Summary; running: boolean },
): string[] {
  const { total_agents: total, total_cells: cells, agent_health: agents, timestamp } = report;
  const counts = STATUSES.toReversed().map((status) =>
    paint(summary[status] > 0 ? COLOURS[status] : 'dim', `${summary[status]} ${status}`),
  );
  const rows = Object.entries(agents)
    .toSorted(([, a], [, b]) => STATUSES.indexOf(a.status) - STATUSES.indexOf(b.status))
    .map(([key, agent]) => rowOf(key, agent));
  return [
    `${paint('bold', `${total} agents`)} in ${cells} missions: ${counts.join(', ')}  ${paint('dim', new Date(timestamp * 1000).toISOString())}`,
    ...(rows.length === 0
      ? []
      : ['', ...table(['AGENT', 'STATUS', 'GATEWAY', 'ANSWERED IN', ''], rows.slice(0, MAX_ROWS))]),
    ...(rows.length > MAX_ROWS
      ? [`  and ${rows.length - MAX_ROWS} more: \`lazarus health --json\``]
      : []),
    ...(running
      ? []
      : ['', 'No node runs here: nobody listens, and all that is known is who has failed.']),
  ];
}

/** An agent that stands in one mission only is named alone, and so it is to `why`. */
function rowOf(
  key: string,
  { status, gateway, response_time: time, cell_id: cell }: ReportedAgent,
) {
  const note =
    cell === null
      ? 'of no mission'
      : status === 'unhealthy' || status === 'degraded'
        ? `lazarus why ${key}`
        : '';
  return [
    brief(key, 80),
    paint(COLOURS[status], status),
    brief(gateway ?? '', 30),
    time === null ? '' : `${Math.round(time * 1000)} ms`,
    note,
  ];
}
