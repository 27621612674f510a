/** R1-R4 over any inventory, any world, anything that stood before, and any history of looks. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fleet } from '../../machines/desired-fleet.ts';
import { readHostServices } from '../../machines/desired.ts';
import type { HostFile } from '../../machines/desired.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { Reconciler, reconcile } from '../../machines/reconcile.ts';
import type { Reconciled, Stands } from '../../machines/reconcile.ts';
import { DRIFT_KINDS } from '../../machines/supervision.ts';
import type { Desired, Observed } from '../../machines/supervision.ts';
import {
  NOW,
  POLICY,
  STALE_MS,
  desiredOf,
  observedOf,
  standingOf,
  stands,
} from '../support/homelab-sketch.ts';
import type { WorldSketch } from '../support/homelab-sketch.ts';

const HOSTS = ['h1', 'h2', 'h3'];
const SERVICES = ['a', 'b', 'c'];
const KEYS = HOSTS.flatMap((host) => SERVICES.map((service) => `${host}/${service}`));

const flag = fc.option(fc.boolean(), { nil: true, freq: 1 });
const need = fc.constantFrom(...SERVICES, ...KEYS);
const service = fc.record({
  monitor: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  critical: fc.boolean(),
  depends_on: fc.array(need, { maxLength: 3 }),
});
const hostContent = fc.record({
  monitor: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, fc.constant(false)),
  critical: flag,
  services: fc.dictionary(fc.constantFrom(...SERVICES), service),
});
const inventory = fc.dictionary(fc.constantFrom(...HOSTS), hostContent, {
  minKeys: 1,
}) as fc.Arbitrary<Record<string, JsonValue>>;

/** Ages of news, ms; the second is as old as news may be. */
const age = fc.constantFrom(0, STALE_MS, STALE_MS + 1, 5000);
const entry = (words: string[]): fc.Arbitrary<JsonObject> =>
  fc.record({
    status: fc.constantFrom(...words),
    updated_at: age.map((ms) => (NOW - ms) / 1000),
    ...(words.includes('offline') && {
      disk_pressure: fc.constantFrom<JsonValue>(null, null, 'high'),
    }),
    ...(words.includes('failed') && {
      trigger: fc.constantFrom<JsonValue>(null, 'containers_not_running', 'odd'),
    }),
  });
const NODE_WORDS = ['online', 'online', 'online', 'offline', 'rebooting', 'peculiar'];
const SERVICE_WORDS = ['healthy', 'healthy', 'failed', 'starting', 'peculiar'];
const place = fc.record({
  node: fc.constantFrom(...HOSTS, 'ghost'),
  service: fc.constantFrom(...SERVICES, 'h1', 'h2'),
});
const seenServices: fc.Arbitrary<JsonValue> = fc.option(
  fc.dictionary(fc.constantFrom(...KEYS, 'ghost/a', 'h1/ghost'), entry(SERVICE_WORDS)),
  { freq: 8 },
);
const world: fc.Arbitrary<WorldSketch> = fc.record({
  nodes: fc.dictionary(fc.constantFrom(...HOSTS, ...HOSTS, 'ghost'), entry(NODE_WORDS), {
    minKeys: 1,
  }),
  services: seenServices,
  deployments: fc
    .array(fc.tuple(place, fc.constantFrom('failed', 'failed', 'completed')), { maxLength: 4 })
    .map((list) => list.map(([at, status], i) => ({ ...at, status, completed_at: i }))),
  incidents: fc.dictionary(
    fc.constantFrom('i1', 'i2', 'i3'),
    fc
      .record({
        place,
        status: fc.constantFrom('active', 'resolved'),
        type: fc.constantFrom('x', 'containers_not_running'),
      })
      .map(({ place: at, ...rest }) => ({ ...at, ...rest })),
  ),
});

const standing: fc.Arbitrary<Map<string, Stands>> = fc
  .array(
    fc.record({
      host: fc.constantFrom(...HOSTS, 'ghost'),
      service: fc.option(fc.constantFrom(...SERVICES)),
      kind: fc.constantFrom(...DRIFT_KINDS),
      blockedBy: fc
        .uniqueArray(fc.constantFrom(...KEYS, ...HOSTS), { maxLength: 3 })
        .map((keys) => keys.sort()),
    }),
    { maxLength: 6 },
  )
  .map((drifts) => standingOf(drifts.map((drift) => stands(drift))));

const given = { inventory, world, standing };
type Given = {
  inventory: Record<string, JsonValue>;
  world: WorldSketch;
  standing: Map<string, Stands>;
};
const found = ({
  inventory: files,
  world: sketch,
  standing: before,
}: Given): Reconciled & { desired: Desired; observed: Observed } => {
  const desired = desiredOf(files);
  const observed = observedOf(sketch, desired);
  return { desired, observed, ...reconcile(desired, observed, before, POLICY, NOW) };
};

/** What stands after the changes were heeded one by one. */
function applied(
  before: ReadonlyMap<string, Stands>,
  { changes }: Reconciled,
): Map<string, Stands> {
  const after = new Map(before);
  for (const one of [...changes.opened, ...changes.changed]) after.set(one.drift.key, one);
  for (const { key } of changes.closed) after.delete(key);
  return after;
}

test('R1, R2: given anything, when looked at twice, then the same is found; and once it has been heeded, nothing', () => {
  fc.assert(
    fc.property(fc.record(given), (input) => {
      const { desired, observed, ...first } = found(input);
      const { desired: _d, observed: _o, ...again } = found(structuredClone(input));
      expect(again).toEqual(first);
      const after = applied(input.standing, first);
      expect([...after.keys()].sort()).toEqual(first.drifts.map(({ drift }) => drift.key));
      const second = reconcile(desired, observed, after, POLICY, NOW);
      expect(second.changes).toEqual({ opened: [], changed: [], closed: [] });
      expect(second.summary).toBe(first.summary);
      const changed = first.changes.changed.map(({ drift }) => drift.key);
      expect(changed.every((key) => input.standing.has(key))).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test('R1: given anything, when hosts, services and drifts come in another order, then the same is found', () => {
  const turned = <T>(map: ReadonlyMap<string, T>): Map<string, T> => new Map([...map].toReversed());
  fc.assert(
    fc.property(fc.record(given), (input) => {
      const { desired, observed, ...first } = found(input);
      const services = <H extends { services: ReadonlyMap<string, unknown> }>(host: H): H => ({
        ...host,
        services: turned(host.services),
      });
      const hosts = new Map(
        [...turned(desired.hosts)].map(([name, host]) => [name, services(host)]),
      );
      const seen = new Map(
        [...turned(observed.hosts)].map(([name, host]) => [name, services(host)]),
      );
      const again = reconcile(
        { ...desired, hosts },
        { ...observed, hosts: seen },
        turned(input.standing),
        POLICY,
        NOW,
      );
      expect(again).toEqual(first);
    }),
    { numRuns: 1000 },
  );
});

const watched = (desired: Desired, key: string): boolean => {
  const [name = '', service] = key.split('/');
  const host = desired.hosts.get(name);
  return (
    host?.monitored === true &&
    (service === undefined || host.services.get(service)?.monitored === true)
  );
};

test('R3: given anything, when looked at, then what is not desired or not monitored has no drift, and is waited for by none', () => {
  fc.assert(
    fc.property(fc.record(given), (input) => {
      const { desired, drifts, changes } = found(input);
      for (const { drift } of drifts) {
        expect(watched(desired, drift.key)).toBe(true);
        for (const key of drift.blockedBy) expect(watched(desired, key)).toBe(true);
      }
      for (const key of input.standing.keys())
        if (!watched(desired, key))
          expect(changes.closed).toContainEqual({
            key,
            reason: 'service_removed_from_desired_state',
          });
    }),
    { numRuns: 1000 },
  );
});

/** Found out anew, from the sketch: whether anybody knows how a target is. */
function isKnown({ world: { nodes, services } }: Given, key: string): boolean {
  const [host = '', service] = key.split('/');
  const isFresh = (one: JsonObject | undefined, known: string[]): boolean =>
    one !== undefined &&
    known.includes(String(one['status'])) &&
    NOW - Number(one['updated_at']) * 1000 <= STALE_MS;
  const node = (nodes as Record<string, JsonObject>)[host];
  if (service === undefined) return isFresh(node, ['online', 'offline']);
  if (!isFresh(node, ['online']) || services === null) return false;
  const one = (services as Record<string, JsonObject>)[key];
  return one === undefined || isFresh(one, ['healthy', 'failed']);
}

test('given anything, when looked at, then what nobody knows opens nothing, closes nothing, and is no other drift than before', () => {
  fc.assert(
    fc.property(fc.record(given), (input) => {
      const { desired, drifts, changes } = found(input);
      for (const { drift } of changes.opened) expect(isKnown(input, drift.key)).toBe(true);
      for (const { key, reason } of changes.closed)
        if (reason === 'drift_resolved_auto') expect(isKnown(input, key)).toBe(true);
      for (const [key, before] of input.standing) {
        if (!watched(desired, key) || isKnown(input, key)) continue;
        const after = drifts.find(({ drift }) => drift.key === key);
        expect(after?.drift).toMatchObject({
          kind: before.drift.kind,
          trigger: before.drift.trigger,
        });
      }
    }),
    { numRuns: 1000 },
  );
});

test('given any JSON for a world, when looked at, then nothing is thrown, and nothing undesired drifts', () => {
  const json = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.dictionary(
      fc.constantFrom(...KEYS, ...HOSTS, '__proto__'),
      fc.oneof(fc.jsonValue({ maxDepth: 1 }), entry(SERVICE_WORDS)),
    ),
  ) as fc.Arbitrary<JsonValue>;
  const hostile = fc.record({ nodes: json, services: json, deployments: json, incidents: json });
  fc.assert(
    fc.property(inventory, hostile, standing, (files, sketch, before) => {
      const { desired, drifts, changes } = found({
        inventory: files,
        world: sketch,
        standing: before,
      });
      for (const { drift } of drifts) expect(watched(desired, drift.key)).toBe(true);
      expect(changes.closed.every(({ key }) => before.has(key))).toBe(true);
      expect(JSON.parse(JSON.stringify(drifts))).toEqual(drifts);
    }),
    { numRuns: 1000 },
  );
});

type Step =
  | { do: 'inventory'; host: string; content: JsonValue | null }
  | { do: 'world'; world: WorldSketch }
  | { do: 'service'; key: string; entry: JsonObject }
  | { do: 'wait'; ms: number }
  | { do: 'forget'; key: string };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('inventory' as const),
    host: fc.constantFrom(...HOSTS),
    content: fc.option(hostContent as fc.Arbitrary<JsonValue>),
  }),
  fc.record({ do: fc.constant('world' as const), world }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('service' as const),
      key: fc.constantFrom(...KEYS),
      entry: entry(SERVICE_WORDS),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 1000, STALE_MS - 5000, STALE_MS, -1000),
    }),
  },
  fc.record({ do: fc.constant('forget' as const), key: fc.constantFrom(...KEYS, ...HOSTS) }),
);

test('R4: given any history, when the same reconciler looks again and again, then it finds what a new one finds', () => {
  fc.assert(
    fc.property(world, fc.array(step, { minLength: 1, maxLength: 15 }), (first, steps) => {
      const fleet = new Fleet();
      const reconciler = new Reconciler();
      const files = new Map<string, HostFile>();
      const aliases = new Map<string, string>();
      let sketch = first;
      let observed: Observed | undefined;
      let now = NOW;
      let before = new Map<string, Stands>();
      for (const what of steps) {
        if (what.do === 'wait') now += what.ms;
        if (what.do === 'forget') before.delete(what.key);
        if (what.do === 'world') sketch = what.world;
        if (what.do === 'service')
          sketch = {
            ...sketch,
            services: { ...(sketch.services as JsonObject | null), [what.key]: what.entry },
          };
        if (what.do === 'inventory') {
          const read =
            what.content === null ? undefined : readHostServices(what.host, what.content);
          if (read?.ok === true) files.set(what.host, read.host);
          else files.delete(what.host);
        }
        const { desired } = fleet.update({ topology: null, hosts: files, aliases });
        observed = observedOf(sketch, desired, observed);
        const kept = reconciler.look(desired, observed, before, POLICY, now);
        expect(kept).toEqual(reconcile(desired, observedOf(sketch, desired), before, POLICY, now));
        before = applied(before, kept);
      }
    }),
    { numRuns: 1000 },
  );
});
