/** A homelab in a few words, for tests of what is compared with what. */
import { buildDesired } from '../../machines/desired-fleet.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import type { Desired, Drift, Observed, Standing } from '../../machines/supervision.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { recommend } from '../../machines/drift.ts';
import { reconcile } from '../../machines/reconcile.ts';
import type { Reconciled, Stands } from '../../machines/reconcile.ts';
import { observeWorld } from '../../machines/world.ts';

export const NOW = Date.parse('2026-11-21T12:00:00Z');
export const POLICY = DEFAULT_SUPERVISOR_POLICY;
export const STALE_MS = POLICY.stale_after * 1000;

/** By host, what its services.yaml says; a list stands for its `services`. */
export type Inventory = Record<string, JsonValue>;

export function desiredOf(
  inventory: Inventory,
  more: { topology?: JsonValue; aliases?: Record<string, string> } = {},
): Desired {
  const hosts = Object.entries(inventory).map(([host, given]) => ({
    host,
    content: Array.isArray(given) ? { services: given } : given,
  }));
  const { topology, aliases = {} } = more;
  const { desired } = buildDesired({
    hosts,
    aliases: new Map(Object.entries(aliases)),
    ...(topology !== undefined && { topology }),
  });
  return desired;
}

export interface WorldSketch {
  nodes?: JsonValue;
  services?: JsonValue | null;
  deployments?: JsonValue;
  incidents?: JsonValue;
  /** When the files were written; default just now. */
  writtenAt?: number;
}

/** A file that is null is not there; one that is left out is empty. */
export function observedOf(world: WorldSketch, desired?: Desired, before?: Observed): Observed {
  const { nodes = {}, services = {}, deployments = {}, incidents = {}, writtenAt = NOW } = world;
  const file = (content: JsonValue | null): { content: JsonValue; mtimeMs: number } | null =>
    content === null ? null : { content, mtimeMs: writtenAt };
  return observeWorld(
    {
      nodes: file(nodes),
      services: file(services),
      deployments: file(deployments),
      incidents: file(incidents),
    },
    desired?.aliases ?? new Map(),
    before,
  );
}

/** `well`: all of them are online, and each of their services is healthy. */
export function wellWorld(desired: Desired): { nodes: JsonObject; services: JsonObject } {
  const nodes: JsonObject = {};
  const services: JsonObject = {};
  for (const [name, host] of desired.hosts) {
    nodes[name] = { status: 'online' };
    for (const service of host.services.keys())
      services[`${name}/${service}`] = { status: 'healthy' };
  }
  return { nodes, services };
}

export const standingOf = (drifts: Iterable<Stands>): Map<string, Stands> =>
  new Map([...drifts].map((one) => [one.drift.key, one]));

export function stands(drift: Partial<Drift> & Pick<Drift, 'host' | 'kind'>): Standing {
  const { host, service = null } = drift;
  const whole: Drift = {
    key: service === null ? host : `${host}/${service}`,
    service,
    critical: false,
    trigger: null,
    blockedBy: [],
    because: 'it stood before',
    ...drift,
  };
  return { drift: whole, recommendation: recommend(whole) };
}

export function look(
  desired: Desired,
  world: WorldSketch,
  standing: Iterable<Stands> = [],
  now: number = NOW,
): Reconciled {
  return reconcile(desired, observedOf(world, desired), standingOf(standing), POLICY, now);
}

/** What stands once a look has been heeded. */
export const heeded = ({ drifts }: Reconciled): Map<string, Stands> => standingOf(drifts);

/** `vps/web unhealthy_service redeploy` */
export const inShort = ({ drift, recommendation }: Standing): string =>
  `${drift.key} ${drift.kind} ${recommendation.remedy}`;
