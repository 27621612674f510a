/**
 * Whether an approved action may run now, and if not, why, and from when on it is worth asking again. Pure: the gate asks,
 * and nobody else decides.
 *
 * G1 What is not known (no policy, a time zone without a table) lets nothing run.
 * G2 A limit counts what was let run, whatever became of it, unless it was given back unused; what other executors run counts
 *    too, while it runs.
 * G3 A grant is good for as long as it would be given anew. It is looked at once more when it is used.
 */
import type { ExecutorMode, Policy, ZoneTable } from './remediation.ts';
import { concerns, nextOpening, spanAt } from './gate-windows.ts';

export interface Asking {
  actionId: string;
  address: string;
  host: string;
  service: string;
}

/** Was let run. */
export interface Grant {
  /** Epoch ms. */
  at: number;
  host: string;
  service: string;
  /** Whose it was; left out in those of earlier builds. */
  actionId?: string;
}

export interface GateState {
  /** Null until it was told. */
  policy: Policy | null;
  mode: ExecutorMode;
  zones: ZoneTable;
  frozen: { by: string; reason: string; at: number } | null;
  running: Asking[];
  /** Of the last hour, the oldest first. */
  grants: Grant[];
}

export type Answer =
  | { kind: 'granted' }
  /** `until`: epoch ms; null: until something else happens. */
  | { kind: 'refused'; reason: string; until: number | null; dryRun?: true };

const HOUR_MS = 3_600_000;
/** Older ones count for no limit. */
export const isRecent = ({ at }: Grant, now: number): boolean => at > now - HOUR_MS;

export function mayRun(state: GateState, asking: Asking, now: number): Answer {
  const { mode, policy, frozen } = state;
  if (mode === 'off')
    return refused('the executor is off: `lazarus up --executor on` lets approved actions run');
  if (policy === null) return refused('the policy cannot be read, so nothing runs'); // G1
  if (frozen !== null) return refused(`frozen by ${frozen.by}: ${frozen.reason}`);
  if (mode === 'dry-run')
    return { ...refused('a dry run: what would run is written into its file'), dryRun: true };
  return (
    closedAt(policy, state.zones, asking, now) ??
    notOpenAt(policy, state.zones, asking, now) ??
    tooOften(policy, state.grants, asking, now) ??
    tooMany(policy, state.running, asking) ?? { kind: 'granted' }
  );
}

/** G3. Undefined: it may go on; else why not. */
export function whyNotAnyMore(
  state: GateState,
  asking: Pick<Asking, 'actionId' | 'host' | 'service'>,
  now: number,
): string | undefined {
  const mine = state.running.find(({ actionId }) => actionId === asking.actionId);
  if (mine === undefined) return 'the gate knows of no grant for it';
  const running = state.running.filter((one) => one !== mine);
  const answer = mayRun({ ...state, running, grants: withoutGrant(state.grants, mine) }, mine, now);
  return answer.kind === 'granted' ? undefined : answer.reason;
}

/** Without the newest that this action was given. */
export function withoutGrant(
  grants: readonly Grant[],
  { actionId }: Pick<Asking, 'actionId'>,
): Grant[] {
  const index = grants.findLastIndex((grant) => grant.actionId === actionId);
  return index < 0 ? [...grants] : grants.toSpliced(index, 1);
}

/** Told with these words, it is inTheWay that keeps it back. */
const RADIUS = 'blast radius';
export const isByRadius = (reason: string): boolean => reason.startsWith(RADIUS);

/** Who holds the places that this one waits for, as far as the blast radius keeps it back. */
export function inTheWay(
  { policy, running }: Pick<GateState, 'policy' | 'running'>,
  asking: Pick<Asking, 'actionId' | 'host'>,
): Asking[] {
  if (policy === null) return [];
  const others = running.filter(({ actionId }) => actionId !== asking.actionId);
  const here = others.filter(({ host }) => host === asking.host);
  const {
    per_host_at_once: perHost,
    actions_at_once: actions,
    hosts_at_once: hosts,
  } = policy.blast_radius;
  if (perHost !== undefined && here.length >= perHost) return here;
  if (actions !== undefined && others.length >= actions) return others;
  const busy = new Set([...others.map(({ host }) => host), asking.host]);
  return hosts !== undefined && busy.size > hosts ? others : [];
}

export type Refusal = Extract<Answer, { kind: 'refused' }>;

const refused = (reason: string, until: number | null = null): Refusal => ({
  kind: 'refused',
  reason,
  until,
});

function closedAt(
  { closed_windows: windows }: Policy,
  zones: ZoneTable,
  asking: Asking,
  now: number,
): Refusal | undefined {
  for (const window of windows) {
    if (!concerns(window, asking)) continue;
    const span = spanAt(window, zones, now);
    if (span === undefined) return unknownZone(window.timezone);
    if (span) return refused(`closed window ${nameOf(window)}`, span.to);
  }
  return undefined;
}

function notOpenAt(
  { open_windows: windows }: Policy,
  zones: ZoneTable,
  asking: Asking,
  now: number,
): Refusal | undefined {
  const mine = windows.filter((window) => concerns(window, asking));
  if (mine.length === 0) return undefined;
  const spans = mine.map((window) => spanAt(window, zones, now));
  if (spans.some((span) => span)) return undefined;
  const openings = mine
    .map((window) => nextOpening(window, zones, now))
    .filter((at) => typeof at === 'number');
  const unknown = mine.find((_window, i) => spans[i] === undefined);
  if (openings.length === 0 && unknown) return unknownZone(unknown.timezone);
  const until = openings.length === 0 ? null : Math.min(...openings);
  return refused(`outside of its open windows (${mine.map(nameOf).join(', ')})`, until);
}

const nameOf = ({ name, from, to, timezone = 'UTC' }: Policy['open_windows'][number]): string =>
  `${name === undefined ? '' : `${name}, `}${from} to ${to} ${timezone}`;

const unknownZone = (zone: string | undefined): Refusal =>
  refused(`nothing is known of the time zone ${zone ?? '?'} of a window`);

function tooOften(
  { rate_limits: limits }: Policy,
  grants: readonly Grant[],
  { host, service }: Asking,
  now: number,
): Refusal | undefined {
  const recent = grants.filter((grant) => isRecent(grant, now));
  const onHost = recent.filter((grant) => grant.host === host);
  const onService = onHost.filter((grant) => grant.service === service);
  return (
    exceeds(limits.per_service_per_hour, onService, `${host}/${service}`) ??
    exceeds(limits.per_host_per_hour, onHost, host) ??
    exceeds(limits.per_hour, recent, 'all hosts')
  );
}

/** `grants`: those that count, the oldest first. */
function exceeds(
  limit: number | undefined,
  grants: readonly Grant[],
  whose: string,
): Refusal | undefined {
  if (limit === undefined || grants.length < limit) return undefined;
  const frees = grants[grants.length - limit];
  return refused(
    `rate limit: ${limit} an hour for ${whose}`,
    limit === 0 || frees === undefined ? null : frees.at + HOUR_MS,
  );
}

function tooMany(
  { blast_radius: radius }: Policy,
  running: readonly Asking[],
  { host }: Asking,
): Refusal | undefined {
  const { actions_at_once: actions, hosts_at_once: hosts, per_host_at_once: perHost } = radius;
  const here = running.filter((one) => one.host === host).length;
  if (perHost !== undefined && here >= perHost)
    return refused(`${RADIUS}: ${perHost} at once on ${host}`);
  if (actions !== undefined && running.length >= actions)
    return refused(`${RADIUS}: ${actions} actions at once`);
  const busy = new Set([...running.map((one) => one.host), host]);
  if (hosts !== undefined && busy.size > hosts) return refused(`${RADIUS}: ${hosts} hosts at once`);
  return undefined;
}
