/**
 * Health events to proposals on disk, each of another service, with a model that answers at once: the event is journaled, the
 * incident asks, the rules are applied, action file and event file are written. Against the bare cost of the same two files,
 * written whole and synced as many at a time. And many events with a model that never answers: what they take in memory.
 */
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openActionsDoor } from '../../actors/actions/actions-door.ts';
import { MissionNode } from '../../actors/node.ts';
import { openPlannerDoor } from '../../actors/planner/planner-door.ts';
import type { PlannerDoorOptions } from '../../actors/planner/planner-door.ts';
import { writeWhole } from '../../cells/durable.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { PLANNER } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { alternate, perSecond, pooledRate, shown, spread } from '../harness.ts';
import type { Bench, Count, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { silent } from '../support/kernel.ts';

const AT_ONCE = 16;
const PATIENCE_MS = 120_000;
const log = { ...silent, debug: () => undefined };

const instant: PlannerDoorOptions['router'] = {
  route: (_question, { context = {} }) =>
    Promise.resolve({
      content: {
        action: 'restart',
        service: context['service'] ?? '',
        node: context['node'] ?? '',
        reason: 'it has stopped, and a restart is enough',
        confidence: 0.9,
        requires_human: false,
      },
      model: 'ollama/instant',
      attempts: [{}],
    }),
};
const silentModel: PlannerDoorOptions['router'] = {
  route: (_question, { signal }) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
};

export const row: Row = {
  name: 'planner',
  title:
    'Health events to proposals on disk with an instant model, against the bare writing of the files',
  async measure(bench) {
    const count = bench.pick({ full: 500, quick: 150 });
    const sides = await open(bench, count);
    const { ours, baseline } = await alternate(bench.rounds, sides.ours, sides.bare);
    await sides.close();
    const [rate, bareRate] = [pooledRate(ours), pooledRate(baseline)];
    const held = await heldUp(bench, bench.pick({ full: 10_000, quick: 2000 }));
    return [
      shown(
        'planned / bare writing',
        (rate / bareRate) * 100,
        '%',
        `${perSecond(rate)} against ${perSecond(bareRate)}; ${spread(ours, baseline)}`,
        'higher',
      ),
      shown(
        `heap of ${held.events} events for 1,000 services that wait for a model`,
        held.megabytes,
        'MB',
        `taken in ${perSecond(held.rate)}`,
        'lower',
      ),
    ];
  },
  async profile(bench) {
    const sides = await open(bench, 200);
    await sides.ours();
    const spots = await profiled(async () => {
      for (let turn = 0; turn < 3; turn += 1) await sides.ours();
    });
    await sides.close();
    return spots;
  },
};

interface Sides {
  ours: () => Promise<Count>;
  bare: () => Promise<Count>;
  close: () => Promise<void>;
}

async function startPlanner(
  folder: string,
  router: PlannerDoorOptions['router'],
): Promise<{ node: MissionNode; layout: RuntimeLayout }> {
  const layout = runtimeLayout(join(folder, 'runtime'));
  mkdirSync(layout.root, { recursive: true });
  const executor = {
    plan: () => Promise.reject(new Error('nothing is approved here')),
    run: () => Promise.reject(new Error('nothing is approved here')),
    recover: () => Promise.resolve({ kind: 'unknown' as const }),
    isHealthy: () => Promise.resolve('unknown' as const),
  };
  const node = await MissionNode.start({
    missionsDir: join(folder, 'missions'),
    version: '0.0.0',
    drainMs: 0,
    log: silent,
    openDoors: async (opening) => [
      await openActionsDoor(opening, { layout, mode: 'off', executor, log: silent }),
      await openPlannerDoor(opening, {
        layout,
        inventory: join(layout.root, 'inventory'),
        nodeName: 'bench',
        cooldownSeconds: 3600,
        router,
        atOnce: AT_ONCE,
        log,
      }),
    ],
  });
  return { node, layout };
}

const eventOf = (service: string, n: number): { type: string } & JsonObject => ({
  type: 'homelab.event',
  channel: 'health_events',
  host: `host${n % 5}`,
  service,
  event: {
    id: `${service}-${n}`,
    type: 'service_unhealthy',
    at: '2026-11-21T12:00:00.000Z',
    source: 'bench',
    data: {
      host: `host${n % 5}`,
      service,
      severity: 'error',
      payload: { status: 'exited', restarts: n },
      channel: 'health_events',
    },
  },
});

async function open(bench: Bench, count: number): Promise<Sides> {
  const { node, layout } = await startPlanner(bench.folder('planner'), instant);
  const bareFolder = bench.folder('bare');
  let turn = 0;
  let written = 0;
  const filesIn = (folder: string): string[] =>
    readdirSync(folder, { recursive: true }) as string[];
  const jsonIn = (folder: string): number =>
    filesIn(folder).filter((name) => name.endsWith('.json')).length;
  return {
    async ours() {
      turn += 1;
      const { system } = node.kernel;
      const before = jsonIn(layout.events);
      const startedAt = performance.now();
      await inBatches(count, (n) => system.send(PLANNER, eventOf(`service-${turn}-${n}`, n)));
      while (jsonIn(layout.events) - before < count) {
        if (performance.now() - startedAt > PATIENCE_MS)
          throw new Error('the proposals never came');
        await sleep(20);
      }
      return { count, ms: performance.now() - startedAt };
    },
    async bare() {
      const [action = ''] = filesIn(layout.actions.pending).filter((name) =>
        name.endsWith('.json'),
      );
      const [event = ''] = filesIn(layout.events).filter((name) => name.endsWith('.json'));
      const actionText = readFileSync(join(layout.actions.pending, action), 'utf8');
      const eventText = readFileSync(join(layout.events, event), 'utf8');
      const startedAt = performance.now();
      const one = async (): Promise<void> => {
        const name = `${(written += 1)}.json`;
        const how = { sync: true, what: 'bare' };
        await writeWhole(join(bareFolder, `action-${name}`), actionText, how);
        await writeWhole(join(bareFolder, `event-${name}`), eventText, how);
      };
      for (let done = 0; done < count; done += AT_ONCE)
        await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - done) }, one));
      return { count, ms: performance.now() - startedAt };
    },
    close: () => node.stop(),
  };
}

/** As a bridge sends them: some share a commit. */
async function inBatches(count: number, send: (n: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += 64) {
    const size = Math.min(64, count - from);
    await Promise.all(Array.from({ length: size }, (_, at) => send(from + at)));
  }
}

async function heldUp(
  bench: Bench,
  events: number,
): Promise<{ events: number; megabytes: number; rate: number }> {
  const { node } = await startPlanner(bench.folder('held-up'), silentModel);
  const { system } = node.kernel;
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const startedAt = performance.now();
  await inBatches(events, (n) => system.send(PLANNER, eventOf(`s${n % 1000}`, n % 1000)));
  const seconds = (performance.now() - startedAt) / 1000;
  globalThis.gc?.();
  const megabytes = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  await node.stop();
  return { events, megabytes, rate: events / seconds };
}
