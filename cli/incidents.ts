/** `lazarus incidents ...`: what is wrong in the homelab, as the planner heard it. */
import type { Command } from 'commander';
import { read } from './access.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';

interface IncidentRow {
  host: string;
  service: string;
  state: string;
  open: boolean;
  occurrences: number;
  last_seen: string;
  last_event: { type: string; severity: string } | null;
  cooldown_remaining_seconds: number;
  last_outcome: { kind: string; text: string } | null;
  actions: { action_id: string; status: string }[];
}

export function command(): Command {
  const summary = 'What is wrong in the homelab, and what is done about it.';
  return group('incidents', summary, []).addCommand(list(), { isDefault: true });
}

function list(): Command {
  const listing = verb(
    'list',
    'The incidents that are open, the newest first.',
    'lazarus incidents\nlazarus incidents list --all --json',
  ).option('--all', 'also those of services that are well again');
  return act<{ all?: true }>(listing, async (_args, flags) => {
    const input = { all: flags.all === true };
    const result = await read(chooseMissions(flags.missions), 'incidents.list', input);
    const { incidents } = result as unknown as { incidents: IncidentRow[] };
    show(flags, result, () =>
      incidents.length === 0
        ? ['Nothing is wrong, as far as the planner has heard.']
        : table(['SERVICE', 'STATE', 'EVENTS', 'LAST', 'WHAT', 'THEN'], incidents.map(rowOf), ''),
    );
  });
}

const COLOURS: Record<string, 'red' | 'yellow' | 'dim'> = {
  critical: 'red',
  error: 'red',
  warning: 'yellow',
};

function rowOf(incident: IncidentRow): string[] {
  const { host, service, state, occurrences, last_seen, last_event } = incident;
  const severity = last_event?.severity ?? 'info';
  return [
    brief(`${host}/${service}`, 50),
    stateOf(incident),
    String(occurrences),
    last_seen,
    paint(COLOURS[severity] ?? 'dim', brief(last_event?.type ?? state, 40)),
    brief(thenOf(incident), 80),
  ];
}

const stateOf = ({ state, open, cooldown_remaining_seconds: left }: IncidentRow): string =>
  state === 'cooling' ? `cooling (${left} s)` : open ? state : 'well';

function thenOf({ actions, last_outcome: outcome }: IncidentRow): string {
  const last = actions.at(-1);
  const isAnswered = outcome?.kind === 'proposed';
  if (last && (isAnswered || outcome === null)) return `${last.status}: ${last.action_id}`;
  return outcome === null ? '' : `${outcome.kind.replace('_', ' ')}: ${outcome.text}`;
}
