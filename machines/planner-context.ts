/** What the planner's root remembers, and how its events change that. */
import { incidentAddress } from './addresses.ts';
import { RuntimeError } from './errors.ts';
import type { HomelabEvent } from './homelab-events.ts';
import { EMPTY_ROLL } from './incident-roll.ts';
import type { Roll } from './incident-roll.ts';

export interface Watched {
  host: string;
  service: string;
}

export interface PlannerContext {
  cooldownSeconds: number;
  roll: Roll;
  /** The incident that was asked last whether it may go, and has had no event since. */
  asked: string | null;
  /** Actions that want to hear how a service is, by address. */
  watchers: Readonly<Record<string, Watched>>;
  /** Events that something may have to be done about, and others. */
  events: number;
  benign: number;
  /** Events that were not looked into, for there were too many incidents. */
  refused: number;
  lastRefused: { at: number; host: string; service: string } | null;
  gaps: number;
  lastGap: { channel: string; since: number; until: number; reason: string } | null;
}

export const MAX_INCIDENTS = 10_000;
/** So many more may be there while all that were asked to go are busy. */
export const INCIDENTS_MARGIN = 256;
export const MAX_WATCHERS = 1000;

export const freshPlanner = (cooldownSeconds: number): PlannerContext => ({
  cooldownSeconds,
  roll: EMPTY_ROLL,
  asked: null,
  watchers: {},
  events: 0,
  benign: 0,
  refused: 0,
  lastRefused: null,
  gaps: 0,
  lastGap: null,
});

export const incidentOf = ({ data }: HomelabEvent): string =>
  incidentAddress(data.host, data.service);

/** Watching again replaces what was watched. Throws RuntimeError BUSY at the bound. */
export function watch(
  { watchers }: PlannerContext,
  { address, host, service }: Watched & { address: string },
): Pick<PlannerContext, 'watchers'> {
  const isNew = !Object.hasOwn(watchers, address);
  if (isNew && Object.keys(watchers).length >= MAX_WATCHERS)
    throw new RuntimeError(`the planner has ${MAX_WATCHERS} watchers`, { code: 'BUSY' });
  return { watchers: { ...watchers, [address]: { host, service } } };
}

export function unwatch(
  { watchers }: PlannerContext,
  address: string,
): Pick<PlannerContext, 'watchers'> {
  const { [address]: _, ...rest } = watchers;
  return { watchers: rest };
}

/** Who wants to hear of the service that the event is about. */
export function watchersOf({ watchers }: PlannerContext, { data }: HomelabEvent): string[] {
  const found: string[] = [];
  for (const [address, { host, service }] of Object.entries(watchers))
    if (host === data.host && service === data.service) found.push(address);
  return found;
}
