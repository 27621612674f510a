/** `lazarus drift`: what is not as it should be, and what is done about it. */
import type { Command } from 'commander';
import { read } from './access.ts';
import { act, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';
import { unknownText } from './unknown-text.ts';

interface DriftRow {
  key: string;
  kind: string;
  critical: boolean;
  because: string;
  since: string;
  status: string;
  action_id: string | null;
  waits: string | null;
  recommendation: { id: string; event: string; remedy: string };
  advised: { event: string; remedy: string } | null;
  decision: { mode: string; because: string };
}

interface Listed {
  running: boolean;
  looked_at: string | null;
  never_looked: boolean;
  reason: string | null;
  doubt: string | null;
  stale_since: string | null;
  not_looked_after: number;
  counts: {
    nodes?: { unknown: number };
    services?: { desired: number; healthy: number; unknown: number };
  };
  unknown: string[];
  drifts: DriftRow[];
}

export function command(): Command {
  const listing = verb(
    'drift',
    'What is not as it should be in the homelab, and what is done about it.',
    'lazarus drift\nlazarus drift --host vps --json',
  ).option('--host <host>', 'only what is on this host');
  return act<{ host?: string }>(listing, async (_args, flags) => {
    const input = flags.host === undefined ? {} : { host: flags.host };
    const result = await read(chooseMissions(flags.missions), 'drift.list', input);
    show(flags, result, () => linesOf(result as unknown as Listed));
  });
}

function linesOf(listed: Listed): string[] {
  const { drifts, looked_at: lookedAt, running } = listed;
  const head = warningsOf(listed);
  if (lookedAt === null) return head;
  const end = running ? [] : ['', 'No node runs here: this is how it was found last.'];
  if (drifts.length === 0) return [...head, `${wellText(listed)} (${lookedAt})`, ...end];
  const rows = drifts.map((row) => [
    row.critical ? paint('red', brief(row.key, 60)) : brief(row.key, 60),
    row.kind,
    row.since,
    (row.advised ?? row.recommendation).remedy,
    paint(COLOURS[row.status] ?? 'dim', row.status),
    brief(nowOf(row), 90),
  ]);
  return [
    ...head,
    ...table(['WHERE', 'DRIFT', 'SINCE', 'ADVICE', 'STATUS', 'NOW'], rows, ''),
    ...end,
  ];
}

const COLOURS: Record<string, 'red' | 'yellow' | 'cyan' | 'dim'> = {
  escalated: 'red',
  declined: 'yellow',
  proposed: 'yellow',
  acting: 'cyan',
  verifying: 'cyan',
};

function nowOf({ because, action_id: action, waits, decision, status }: DriftRow): string {
  if (waits !== null) return `${action}: ${waits}`;
  if (action !== null) return action;
  return status === 'recommended' && decision.mode !== 'recommend'
    ? `${because}; ${decision.because}`
    : because;
}

function wellText({ counts: { nodes, services }, unknown: keys }: Listed): string {
  if (services === undefined || services.desired === 0) return 'Nothing is desired.';
  const { unknown, healthy } = services;
  const hosts = nodes?.unknown ?? 0;
  if (unknown + hosts === 0) return `Nothing drifts: ${healthy} services are well.`;
  const unsaid = unknownText(keys);
  const counted = `unknown are hosts: ${hosts}, services: ${unknown}`;
  return `Nothing is known to drift; ${unsaid[0] ?? counted}; ${healthy} services are well.`;
}

const staleText = (since: string): string =>
  Date.parse(since) > Date.now()
    ? `What was observed is of ${since}, a time that has not come: a clock is wrong.`
    : `The observer has been silent since ${since}.`;

function warningsOf(listed: Listed): string[] {
  const { reason, doubt, stale_since: stale, not_looked_after: beyond } = listed;
  if (listed.never_looked)
    return [
      paint('yellow', `Nobody has looked yet: ${brief(reason ?? 'lazarus up --runtime DIR', 300)}`),
    ];
  return [
    ...(reason === null
      ? []
      : [paint('yellow', `The last look found nothing out: ${brief(reason, 300)}`)]),
    ...(stale === null ? [] : [paint('yellow', staleText(stale))]),
    ...(doubt === null ? [] : [paint('yellow', brief(doubt, 300))]),
    ...(beyond > 0 ? [paint('yellow', `${beyond} more are not looked after.`)] : []),
  ];
}
