/**
 * What stood in the world's files when the observer began, and what its records know nothing of: another node's, or another
 * program's, was told it by a bridge. It is carried on as unknown until it is heard of again, or a week has passed: left out,
 * it would look as if it were missing.
 *
 * C1 Carried is only what nobody knows better: with the first event about a service, or a host, what was carried of it goes.
 * C2 What cannot be read is not carried; it is written over only when something else is known (world-writer.ts, W4).
 */
import { readIfThere } from '../../cells/inside.ts';
import { toPlainError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { WorldName } from './world-writer.ts';

interface Entry {
  key: string;
  host: string;
  /** Null: it is about the host. */
  service: string | null;
  value: JsonObject;
}
export type CarriedWorld = Record<WorldName, readonly Entry[]>;

export const NOTHING_CARRIED: CarriedWorld = {
  nodes: [],
  services: [],
  deployments: [],
  incidents: [],
};

const MAX_BYTES = 64 << 20;
const MAX_ENTRIES = 100_000;
const WEEK_S = 7 * 24 * 3600;
const TIMES = ['last_event_at', 'last_seen', 'updated_at', 'created_at', 'timestamp'];

/** `now`: epoch ms. `told` hears of a file that cannot be read. */
export function carriedWorld(
  folder: string,
  now: number,
  told: (file: string, problem: string) => void,
): CarriedWorld {
  const read = (name: WorldName): Entry[] => {
    try {
      return entriesOf(folder, name).filter((entry) => !isOld(entry, now));
    } catch (error) {
      told(`${name}.json`, toPlainError(error).message); // C2
      return [];
    }
  };
  return {
    nodes: read('nodes').map(asUnknown),
    services: read('services').map(asUnknown),
    deployments: read('deployments'),
    incidents: read('incidents'),
  };
}

/** C1. Lines of what is still carried, by key. `isKnown`: of a host, or a service of it; `belongs`: whether it is to be shown. */
export function carriedLines(
  entries: readonly Entry[],
  isKnown: (host: string, service: string | null) => boolean,
  belongs: (host: string) => boolean,
): [key: string, value: JsonObject][] {
  return entries
    .filter(({ host, service }) => belongs(host) && !isKnown(host, service))
    .map(({ key, value }) => [key, value]);
}

function entriesOf(folder: string, name: WorldName): Entry[] {
  const bytes = readIfThere(folder, `${name}.json`, { maxBytes: MAX_BYTES });
  if (bytes === undefined) return [];
  const content = JSON.parse(bytes.toString()) as JsonValue;
  if (!isJsonObject(content)) throw new Error('it holds no object');
  return Object.entries(content)
    .slice(0, MAX_ENTRIES)
    .flatMap(([key, value]) => {
      const place = isJsonObject(value) ? placeOf(name, key, value) : undefined;
      return place === undefined || !isJsonObject(value) ? [] : [{ key, value, ...place }];
    });
}

function placeOf(
  name: WorldName,
  key: string,
  { node, service }: JsonObject,
): { host: string; service: string | null } | undefined {
  if (name === 'nodes') return { host: key, service: null };
  const slash = key.indexOf('/');
  if (name === 'services')
    return slash > 0 ? { host: key.slice(0, slash), service: key.slice(slash + 1) } : undefined;
  if (typeof node !== 'string') return undefined;
  return { host: node, service: typeof service === 'string' && service !== node ? service : null };
}

/** One without a time is carried on. */
function isOld({ value }: Entry, now: number): boolean {
  const times = TIMES.map((name) => value[name]).filter((time) => typeof time === 'number');
  return times.length > 0 && Math.max(...times) < now / 1000 - WEEK_S;
}

function asUnknown({ value, ...entry }: Entry): Entry {
  const availability = value['availability'] === undefined ? {} : { availability: 'unknown' };
  return { ...entry, value: { ...value, status: 'unknown', ...availability } };
}
