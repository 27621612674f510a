/** The numbers of a node in Prometheus' text format. Made anew for each scrape: between two of them nothing is held. */
import { Counter, Gauge, Registry } from 'prom-client';
import type { Metric } from 'prom-client';
import type { Histogram, MetricFamily } from '../machines/metrics.ts';

export interface MetricsText {
  contentType: string;
  text: string;
}

/** Throws when two families have one name, or a name is none of Prometheus'. */
export async function metricsText(families: readonly MetricFamily[]): Promise<MetricsText> {
  const registry = new Registry();
  for (const family of families) register(registry, family);
  return { contentType: registry.contentType, text: await registry.metrics() };
}

function register(registry: Registry, family: MetricFamily): void {
  const { name, help } = family;
  if (family.type === 'histogram') {
    registry.registerMetric(observed(name, help, family.histogram));
    return;
  }
  if (family.samples.length === 0) return; // the library would show a zero that nobody said
  const labelNames = [...new Set(family.samples.flatMap(({ labels = {} }) => Object.keys(labels)))];
  const options = { name, help, labelNames, registers: [registry] };
  if (family.type === 'counter') {
    const metric = new Counter(options);
    for (const { labels = {}, value } of family.samples) metric.inc(labels, value);
  } else {
    const metric = new Gauge(options);
    for (const { labels = {}, value } of family.samples) metric.set(labels, value);
  }
}

/** Of what was observed elsewhere: the library's own histogram counts only what goes through it. */
function observed(name: string, help: string, { bounds, counts, sum, count }: Histogram): Metric {
  let below = 0;
  const buckets = [...bounds, '+Inf' as const].map((le, at) => ({
    metricName: `${name}_bucket`,
    labels: { le },
    value: (below += counts[at] ?? 0),
  }));
  const values = [
    ...buckets,
    { metricName: `${name}_sum`, labels: {}, value: sum },
    { metricName: `${name}_count`, labels: {}, value: count },
  ];
  const metric = {
    name,
    get: () => Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values }),
  };
  // All that a registry asks of a metric is its name and `get`.
  return metric as unknown as Metric;
}
