/** `/metrics` of a real node: what it shows is what docs/metrics.md lists, and the numbers are true. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openHttpDoor } from '../../actors/http-door.ts';
import type { OpenDoor } from '../../actors/node.ts';
import { partMetrics } from '../../actors/part-metrics.ts';
import { metricsText } from '../../bus/metrics.ts';
import type { JsonObject } from '../../machines/json.ts';
import { byLabel, counter, gauge, Histogram, histogram } from '../../machines/metrics.ts';
import { eventually } from '../support/eventually.ts';
import { mission, NEVER, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const log = { info: () => {}, warn: () => {} };

interface Scraped {
  types: Map<string, string>;
  /** By name and labels, as they stand: `lazarus_cells{status="active"}`. */
  values: Map<string, number>;
}

/** Prometheus' text format, strictly: every line is understood, and belongs to a family that was declared. */
function parse(text: string): Scraped {
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, kind, family, rest] = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') helps.add(family ?? '');
    else if (kind === 'TYPE') types.set(family ?? '', rest ?? '');
    else if (line !== '') {
      const sample =
        /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? ([0-9.e+-]+|\+Inf)$/.exec(
          line,
        );
      if (sample === null) throw new Error(`not understood: ${line}`);
      const [, name = '', labels, value] = sample;
      const owner = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
      expect(types.has(owner), line).toBe(true);
      expect(helps.has(owner), line).toBe(true);
      values.set(labels === undefined ? name : `${name}{${labels}}`, Number(value));
    }
  }
  return { types, values };
}

/** Name and type of each row. 0: what every node shows; 1: the chapter about parts. */
function documentedIn(half: 0 | 1): Record<string, string> {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  const rows = [
    ...(docs.split('## Parts')[half] ?? '').matchAll(/^\| `([a-z_]+)` +\| ([a-z]+) +\|/gm),
  ];
  return Object.fromEntries(rows.map(([, name, type]) => [name, type])) as Record<string, string>;
}

interface Served {
  node: TestNode;
  url: string;
  scrape: () => Promise<Scraped>;
}

async function serve(more: OpenDoor[] = []): Promise<Served> {
  let url = '';
  let token = '';
  const node = await startNode({
    openDoors: async (opened) => {
      const door = await openHttpDoor(opened, {
        host: '127.0.0.1',
        port: 0,
        isAskedFor: true,
        log,
      });
      url = `${door.gateway.url}/metrics`;
      ({ token } = door);
      return [door, ...more];
    },
  });
  await node.node.scanned;
  await node.node.health.directory.ready();
  const scrape = async (): Promise<Scraped> => {
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    return parse(await response.text());
  };
  return { node, url, scrape };
}

describe('a node', () => {
  test('shows what is documented, all of it and nothing else, to who has the token', async () => {
    const { url, scrape } = await serve();
    expect((await fetch(url)).status).toBe(401);
    const { types } = await scrape();
    expect(Object.fromEntries(types)).toEqual(documentedIn(0));
  });

  test('given a mission that was done, then events, commits, cells and agents are counted', async () => {
    const { node, scrape } = await serve();
    const before = (await scrape()).values;
    node.drop(mission('c', [task('t', [step('s')])]));
    await node.cellIs('c', 'completed');
    const { values } = await scrape();
    const risen = (name: string): number => (values.get(name) ?? 0) - (before.get(name) ?? 0);
    expect(risen('lazarus_events_committed_total')).toBeGreaterThan(5);
    expect(risen('lazarus_commits_total')).toBeGreaterThan(0);
    expect(risen('lazarus_committed_lsn')).toBeGreaterThanOrEqual(
      risen('lazarus_events_committed_total'),
    );
    expect(values.get('lazarus_journal_sync_seconds_count')).toBe(
      values.get('lazarus_commits_total'),
    );
    expect(values.get('lazarus_journal_sync_seconds_bucket{le="+Inf"}')).toBe(
      values.get('lazarus_commits_total'),
    );
    expect(values.get('lazarus_cells{status="completed"}')).toBe(1);
    expect(values.get('lazarus_cells{status="active"}')).toBe(0);
    expect(values.get('lazarus_agents{health="unknown"}')).toBe(1);
    expect(values.get('lazarus_ready')).toBe(1);
    await node.asleep('c');
    const asleep = (await scrape()).values;
    expect(asleep.get('lazarus_actors{state="passivated"}')).toBeGreaterThan(0);
    expect(node.isAwake('c')).toBe(false);
    expect(asleep.get('lazarus_cells{status="completed"}')).toBe(1);
  });

  test('given an agent that was killed and came back, then the revival is counted by its outcome, with its time', async () => {
    const { node, scrape } = await serve();
    const steps = [step('a', 'exec sleep 60', NEVER)];
    const more: JsonObject = { isolation_level: 'level_1', policies: { auto_revive: 'yes' } };
    node.drop(mission('c', [task('t', steps)], more));
    await node.killWorker('c');
    await eventually(
      async () => {
        const { values } = await scrape();
        expect(values.get('lazarus_revivals_total{outcome="revived"}')).toBe(1);
        expect(values.get('lazarus_revival_seconds_count')).toBe(1);
        expect(values.get('lazarus_revival_seconds_sum')).toBeGreaterThan(0);
        expect(values.get('lazarus_effects_in_doubt')).toBe(1);
        expect(values.get('lazarus_workers{state="serving"}')).toBe(1);
      },
      { timeoutMs: 15_000 },
    );
  });

  test('given an agent whose policy asks, then the question that waits is counted', async () => {
    const { node, scrape } = await serve();
    const steps = [step('a', 'exec sleep 60')];
    const more: JsonObject = { isolation_level: 'level_1', policies: { auto_revive: 'ask' } };
    node.drop(mission('c', [task('t', steps)], more));
    await node.killWorker('c');
    await eventually(async () => {
      const { values } = await scrape();
      expect(values.get('lazarus_revivals_pending')).toBe(1);
      expect(values.get('lazarus_revivals_total{outcome="asking"}')).toBe(1);
      expect(values.get('lazarus_agents{health="unhealthy"}')).toBe(1);
    });
  });

  test('given a door with numbers of its own, then they are shown too', async () => {
    const door: OpenDoor = {
      nodeFile: {},
      metrics: () => [
        counter('lazarus_test_messages_total', 'Messages.', byLabel('to', { a: 1, 'b"\n\\': 2 })),
        gauge('lazarus_test_empty', 'Nothing yet.', []),
      ],
      close: () => Promise.resolve(),
    };
    const { scrape } = await serve([door]);
    const { values } = await scrape();
    expect(values.get('lazarus_test_messages_total{to="a"}')).toBe(1);
    expect(values.get('lazarus_test_messages_total{to="b\\"\\n\\\\"}')).toBe(2);
    expect([...values.keys()].filter((name) => name.startsWith('lazarus_test_empty'))).toEqual([]);
  });
});

test('the parts of a node show the numbers of their status, as they are documented', async () => {
  const outbox = { published_lsn: 9, behind: 4, published: 5, gaps: 1 };
  const parts = {
    nats: { state: 'down', reconnects: 2, outbox, injected: { taken: 3, refused: 1 } },
    redis: {
      state: 'up',
      channels: { names: [], waiting: 6, waiting_bytes: 60 },
      duplicates: 1,
      heard: 10,
      refused: 2,
      dropped: 3,
      gaps: 1,
    },
    inspector: { state: 'up', watchers: 1 },
    planner: {
      state: 'up',
      events: 11,
      benign: 12,
      refused: 0,
      incidents: 5,
      diagnosing: 1,
      cooling: 2,
    },
    observer: { state: 'up', events: 7, refused: 0, hosts: 2, files: { waiting: 1 } },
    supervisor: {
      state: 'up',
      drifts: 2,
      not_looked_after: 0,
      counts: { services: { desired: 9, healthy: 7, missing: 2 } },
    },
    actions: { state: 'up', counts: { pending: 3, held: 0 } },
    llm: { state: 'off' },
  };
  const { types, values } = parse((await metricsText(partMetrics(parts))).text);
  expect(Object.fromEntries(types)).toEqual(documentedIn(1));
  expect(values.get('lazarus_part_up{part="nats"}')).toBe(0);
  expect(values.get('lazarus_part_up{part="redis"}')).toBe(1);
  expect(values.has('lazarus_part_up{part="llm"}')).toBe(false);
  expect(values.get('lazarus_outbox_behind_records')).toBe(4);
  expect(values.get('lazarus_actions{status="pending"}')).toBe(3);
  expect(values.get('lazarus_services{state="missing"}')).toBe(2);
  expect(values.has('lazarus_services{state="desired"}')).toBe(false);
  expect(partMetrics({ nats: { state: 'off' } }).map(({ name }) => name)).toEqual([
    'lazarus_part_up',
  ]);
});

describe('a histogram', () => {
  test('counts what is at most the bound, and keeps sum and number', async () => {
    const times = new Histogram([0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 7]) times.observe(value);
    const { text } = await metricsText([histogram('t_seconds', 'Times.', times)]);
    const { values, types } = parse(text);
    expect(types.get('t_seconds')).toBe('histogram');
    expect(Object.fromEntries(values)).toEqual({
      't_seconds_bucket{le="0.1"}': 2,
      't_seconds_bucket{le="1"}': 3,
      't_seconds_bucket{le="+Inf"}': 4,
      t_seconds_sum: 7.65,
      t_seconds_count: 4,
    });
  });

  test('two families of one name are refused', async () => {
    await expect(metricsText([gauge('x', 'X.', 1), gauge('x', 'X.', 2)])).rejects.toThrow('x');
  });
});
