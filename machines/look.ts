/**
 * What a reconciling tells the supervisor of: a look, in as many events as it takes. Pure: whoever looks says it in these words.
 *
 * L1 No event holds more than `MAX_CHANGES` changes. What went comes first, for it makes room. Each part but the first says that
 *    it goes on, each but the last that it is unfinished.
 */
import { isDriftAddress } from './addresses.ts';
import { asJsonObject, jsonEqual } from './json.ts';
import type { Reconciled } from './reconcile.ts';
import type { Desired, Look, Standing } from './supervision.ts';

/** `origin`: the address of who proposed it, if it was an actor. */
export interface OpenAction {
  id: string;
  host: string;
  service: string;
  origin: string | null;
}

/** In one event. */
const MAX_CHANGES = 200;
const MAX_DEPENDANTS = 50;
const NO_CHANGES = { opened: [], changed: [], closed: [] };

type Found = Pick<Reconciled, 'changes' | 'counts' | 'beyond' | 'doubt' | 'staleSince' | 'drifts'>;

/** `openActions`: whoever's. */
export function lookOf(
  { changes, counts, beyond, doubt, staleSince, drifts }: Found,
  dependants: Desired['dependants'],
  openActions: Iterable<OpenAction>,
): Look {
  return {
    opened: changes.opened.map((one) => withDependants(one, dependants)),
    changed: changes.changed.map((one) => withDependants(one, dependants)),
    closed: changes.closed,
    counts,
    beyond,
    doubt,
    inHand: inHandOf(new Set(drifts.map(({ drift }) => drift.key)), openActions),
    staleSince,
  };
}

/** Actions of others for what drifts: two remedies at a time are one too many. */
function inHandOf(drifting: ReadonlySet<string>, actions: Iterable<OpenAction>): Look['inHand'] {
  const found: [key: string, id: string][] = [];
  for (const { id, host, service, origin } of actions) {
    if (origin !== null && isDriftAddress(origin)) continue;
    const isOwn = service === '' || service === host; // an event about a host is one of the service that bears its name
    for (const key of new Set([`${host}/${service}`, ...(isOwn ? [host] : [])]))
      if (drifting.has(key)) found.push([key, id]);
  }
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function withDependants(one: Standing, dependants: Desired['dependants']): Standing {
  const found = dependants.get(one.drift.key) ?? [];
  return found.length === 0 ? one : { ...one, dependants: found.slice(0, MAX_DEPENDANTS) };
}

const changesIn = ({ opened, changed, closed }: Look): number =>
  opened.length + changed.length + closed.length;

/** Whether the later one says nothing that the earlier had not said. */
export const saysNoMore = (earlier: Look, later: Look): boolean =>
  changesIn(later) === 0 &&
  jsonEqual(asJsonObject({ ...earlier, ...NO_CHANGES }), asJsonObject({ ...later, ...NO_CHANGES }));

/** L1. */
export function partsOf(look: Look): Look[] {
  if (changesIn(look) <= MAX_CHANGES) return [look];
  const { opened, changed, closed } = look;
  const pieces: Partial<Look>[] = [
    ...cut(closed).map((part) => ({ closed: part })),
    ...cut(changed).map((part) => ({ changed: part })),
    ...cut(opened).map((part) => ({ opened: part })),
  ];
  return pieces.map((piece, nth) => ({
    ...look,
    ...NO_CHANGES,
    ...piece,
    ...(nth > 0 && { goesOn: true }),
    ...(nth < pieces.length - 1 && { unfinished: true }),
  }));
}

function cut<T>(list: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let from = 0; from < list.length; from += MAX_CHANGES)
    parts.push(list.slice(from, from + MAX_CHANGES));
  return parts;
}
