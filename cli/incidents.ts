/** `lazarus incidents ...`: what is wrong in the homelab, as the planner heard it and as the observed world has it. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { WorldIncident } from '../machines/world-incidents.ts';
import type { JsonObject } from '../machines/json.ts';
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

interface Observed {
  incidents: WorldIncident[];
  total: number;
  problem: string | null;
}
interface Listed {
  incidents: IncidentRow[];
  observed: Observed | null;
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
  )
    .option('--all', 'also those that are over')
    .option('--runtime <dir>', 'without a node: the folder shared with the homelab');
  return act<{ all?: true; runtime?: string }>(listing, async (_args, { runtime, ...flags }) => {
    const all = flags.all === true;
    const heard = (await read(chooseMissions(flags.missions), 'incidents.list', { all })) as object;
    const result = { ...heard, ...(runtime !== undefined && { observed: await at(runtime, all) }) };
    show(flags, result, () => linesOf(result as unknown as Listed));
  });
}

async function at(runtime: string, all: boolean): Promise<JsonObject> {
  const { observedIn } = await import('../actors/verbs/planning.ts');
  return observedIn(resolve(runtime), all);
}

function linesOf({ incidents, observed }: Listed): string[] {
  const seen = observed?.incidents ?? [];
  const problem = observed?.problem ?? null;
  const unread = problem === null ? [] : [paint('yellow', `world/${problem}`)];
  if (incidents.length + seen.length === 0) return [...unread, nothingText(observed)];
  return [
    ...unread,
    ...(incidents.length === 0 ? [] : table(HEARD, incidents.map(rowOf), '')),
    ...(incidents.length === 0 || seen.length === 0 ? [] : ['']),
    ...(seen.length === 0 ? [] : table(OBSERVED, seen.map(observedRow), '')),
    ...moreText(observed),
  ];
}

const HEARD = ['SERVICE', 'STATE', 'EVENTS', 'LAST', 'WHAT', 'THEN'];
const OBSERVED = ['OBSERVED', 'STATE', 'EVENTS', 'LAST', 'WHAT', 'INCIDENT'];

const nothingText = (observed: Observed | null): string =>
  observed === null || observed.problem !== null
    ? 'Nothing is wrong, as far as the planner has heard.'
    : 'Nothing is wrong, as far as the planner has heard, and no incident is observed.';

const moreText = (observed: Observed | null): string[] =>
  observed === null || observed.total <= observed.incidents.length
    ? []
    : [`(the newest ${observed.incidents.length} of ${observed.total} that are observed)`];

function observedRow(incident: WorldIncident): string[] {
  const { id, host, service, active, type, severity, occurrences } = incident;
  const last = incident.last_seen ?? incident.created_at ?? '';
  return [
    brief([host ?? '?', ...(service === null ? [] : [service])].join('/'), 50),
    active ? 'active' : `over (${incident.resolved_by ?? 'resolved'})`,
    String(occurrences),
    last,
    paint(COLOURS[severity ?? ''] ?? 'dim', brief(type ?? '', 40)),
    brief(id, 80),
  ];
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
