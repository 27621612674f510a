/**
 * The numbers that the parts of a node show of themselves in the status (`parts.nats.outbox.behind`), as metrics: each is
 * counted once, where it happens, and shown in two forms. A number that is not there, for its part is off or knows it not,
 * is left out.
 */
import { counter, gauge } from '../machines/metrics.ts';
import type { MetricFamily, Sample } from '../machines/metrics.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';

type Row = [place: string, name: string, help: string];

const COUNTERS: readonly Row[] = [
  ['nats.reconnects', 'lazarus_nats_reconnects_total', 'Connections to NATS after the first.'],
  ['nats.outbox.published', 'lazarus_outbox_published_total', 'Events published on the bus.'],
  ['nats.outbox.gaps', 'lazarus_outbox_gaps_total', 'Times that events were skipped for the bus.'],
  ['nats.injected.taken', 'lazarus_injected_total', 'Events taken from the bus.'],
  [
    'nats.injected.refused',
    'lazarus_injected_refused_total',
    'Messages refused, now dead letters.',
  ],
  ['redis.heard', 'lazarus_redis_heard_total', 'Messages taken from Redis, in all lives.'],
  ['redis.refused', 'lazarus_redis_refused_total', 'Messages from Redis that were none of ours.'],
  ['redis.dropped', 'lazarus_redis_dropped_total', 'Messages from Redis known to be lost.'],
  ['redis.gaps', 'lazarus_redis_gaps_total', 'Times that messages may have been lost.'],
  ['redis.duplicates', 'lazarus_redis_duplicates_total', 'Messages that had come before.'],
  ['planner.events', 'lazarus_planner_events_total', 'Events that the planner looked into.'],
  ['planner.benign', 'lazarus_planner_benign_total', 'Events that tell of nothing wrong.'],
  ['planner.refused', 'lazarus_planner_refused_total', 'Events for which there was no room.'],
  ['observer.events', 'lazarus_observer_events_total', 'Events that the observer took down.'],
  ['observer.refused', 'lazarus_observer_refused_total', 'Events of hosts too many.'],
];

const GAUGES: readonly Row[] = [
  ['nats.outbox.behind', 'lazarus_outbox_behind_records', 'Durable records not yet on the bus.'],
  ['redis.channels.waiting', 'lazarus_redis_waiting_messages', 'Heard and not yet durable.'],
  ['redis.channels.waiting_bytes', 'lazarus_redis_waiting_bytes', 'Size of these.'],
  ['planner.incidents', 'lazarus_incidents', 'Services that the planner knows of.'],
  ['planner.diagnosing', 'lazarus_incidents_diagnosing', 'Those a model is asked about.'],
  ['planner.cooling', 'lazarus_incidents_cooling', 'Those that get no other proposal for a while.'],
  ['observer.hosts', 'lazarus_observer_hosts', 'Hosts that the observer knows of.'],
  ['observer.files.waiting', 'lazarus_observer_waiting_files', 'Event files not yet read.'],
  ['supervisor.drifts', 'lazarus_drifts', 'Hosts and services that are not as they should be.'],
  ['supervisor.not_looked_after', 'lazarus_drifts_beyond', 'Those for which there was no room.'],
  ['inspector.watchers', 'lazarus_inspector_watchers', 'Who watches the actors live.'],
];

export function partMetrics(parts: JsonObject): MetricFamily[] {
  const found = (rows: readonly Row[], make: typeof gauge): MetricFamily[] =>
    rows.flatMap(([place, name, help]) => {
      const value = at(parts, place);
      return typeof value === 'number' ? [make(name, help, value)] : [];
    });
  return [
    gauge('lazarus_part_up', 'Parts that are not off, by name: 1 up, 0 down.', states(parts)),
    ...actionCounts(parts),
    ...serviceCounts(parts),
    ...found(COUNTERS, counter),
    ...found(GAUGES, gauge),
  ];
}

function states(parts: JsonObject): Sample[] {
  return Object.entries(parts).flatMap(([part, view]) => {
    const state = isJsonObject(view) ? view['state'] : undefined;
    if (typeof state !== 'string' || state === 'off') return [];
    return [{ labels: { part }, value: state === 'up' ? 1 : 0 }];
  });
}

function actionCounts(parts: JsonObject): MetricFamily[] {
  const counts = at(parts, 'actions.counts');
  if (!isJsonObject(counts)) return [];
  const samples = samplesOf(counts, 'status');
  return [gauge('lazarus_actions', 'Actions by the folder in which their files stand.', samples)];
}

function serviceCounts(parts: JsonObject): MetricFamily[] {
  const counts = at(parts, 'supervisor.counts.services');
  if (!isJsonObject(counts)) return [];
  const { desired: _sum, ...states } = counts;
  const samples = samplesOf(states, 'state');
  return [gauge('lazarus_services', 'Services that are desired, by how they were seen.', samples)];
}

const samplesOf = (counts: JsonObject, label: string): Sample[] =>
  Object.entries(counts).flatMap(([name, value]) =>
    typeof value === 'number' ? [{ labels: { [label]: name }, value }] : [],
  );

function at(value: JsonValue | undefined, place: string): JsonValue | undefined {
  return place
    .split('.')
    .reduce<JsonValue | undefined>(
      (inside, name) =>
        isJsonObject(inside) && Object.hasOwn(inside, name) ? inside[name] : undefined,
      value,
    );
}
