/**
 * What a plain observer's files say of a target, read once more and far more simply than the project reads them: for a look to
 * be held against. `unknown`: nobody says, or it was too long ago.
 */
import type { JsonObject } from '../../machines/json.ts';
import type { DesiredHost, Look } from '../../machines/supervision.ts';
import type { WorldContents } from '../../machines/world.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';

type Says = 'well' | 'ill' | 'unknown';
type Entries = Record<string, JsonObject | undefined>;

export interface Sight {
  world: WorldContents;
  fleet: SimulatedFleet;
  at: number;
  staleMs: number;
  failures: number;
}

/** What a look says that it should not say, or does not say that it should; null: nothing. */
export function mistakeIn(look: Look, standing: ReadonlySet<string>, sight: Sight): string | null {
  const { hosts } = sight.fleet.desired;
  const says = (key: string): Says | 'nothing' => {
    const [name = '', service] = key.split('/');
    const host = hosts.get(name);
    const isWatched =
      host?.monitored === true &&
      (service === undefined || host.services.get(service)?.monitored === true);
    return isWatched ? saysOf(host, service, sight) : 'nothing';
  };
  for (const { drift } of look.opened)
    if (says(drift.key) !== 'ill') return `${drift.key} is ${says(drift.key)}, and opened`;
  for (const { key, reason } of look.closed) {
    const expected = reason === 'drift_resolved_auto' ? 'well' : 'nothing';
    if (says(key) !== expected) return `${key} is ${says(key)}, and closed: ${reason}`;
  }
  const unknown = [...hosts.values()].filter(({ name }) => says(name) === 'unknown').length;
  if (unknown !== look.counts.nodes.unknown)
    return `${unknown} hosts are unknown, and it counts ${look.counts.nodes.unknown}`;
  const closed = new Set(look.closed.map(({ key }) => key));
  const open = new Set([...standing, ...look.opened.map(({ drift }) => drift.key)]);
  for (const { name, services } of hosts.values())
    for (const key of [name, ...[...services.keys()].map((one) => `${name}/${one}`)])
      if (says(key) === 'ill' && (!open.has(key) || closed.has(key)))
        return `${key} is ill, and does not stand`;
  return null;
}

function saysOf({ name }: DesiredHost, service: string | undefined, sight: Sight): Says {
  const { world, fleet, at, staleMs, failures } = sight;
  const seen = fleet.aliases.has(`${name}.lan`) ? `${name}.lan` : name;
  const entriesOf = (file: keyof WorldContents): Entries => (world[file]?.content ?? {}) as Entries;
  const fresh = (entry: JsonObject | undefined): entry is JsonObject =>
    entry !== undefined && Number(entry['checked_at']) * 1000 + staleMs >= at;
  const node = entriesOf('nodes')[seen];
  if (!fresh(node)) return 'unknown';
  const isUp = node['status'] === 'online';
  if (service === undefined) return isUp && node['disk_pressure'] === 'normal' ? 'well' : 'ill';
  if (!isUp) return 'unknown';
  const found = entriesOf('services')[`${seen}/${service}`];
  if (found !== undefined && !fresh(found)) return 'unknown';
  const about = (one: JsonObject | undefined): boolean =>
    one?.['node'] === seen && one['service'] === service;
  const failed = Object.values(entriesOf('deployments')).filter(
    (one) => about(one) && one?.['status'] === 'failed',
  );
  const hasIncident = Object.values(entriesOf('incidents')).some(about);
  const isWell = found?.['status'] === 'healthy' && failed.length < failures && !hasIncident;
  return isWell ? 'well' : 'ill';
}
