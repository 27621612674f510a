/**
 * An actor fails inside the process and serves again. Two kinds: an event makes its machine throw, so it goes on from its
 * last good state; and its state in memory is lost, so it is restored from its last checkpoint on disk. "Serving": the next
 * event has been applied. Its acknowledgement, like every effect, waits for the record; that time is shown beside.
 */
import type { Kernel } from '../../actors/kernel.ts';
import { quantile, shown, target } from '../harness.ts';
import type { Figure, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { openKernel, spawnTicks } from '../support/kernel.ts';
import { stepEvent } from '../support/machine.ts';

/** ms since the harm was done. */
interface Times {
  served: number;
  acknowledged: number;
}

export const row: Row = {
  name: 'actor-failure',
  title: 'In-process actor failure to serving again',
  async measure(bench) {
    const kernel = await openKernel(bench.folder('actor-failure'));
    const count = bench.pick({ full: 10_000, quick: 2000 });
    const addresses = await spawnTicks(kernel, count);
    const samples = bench.pick({ full: 2000, quick: 500 });
    const thrown = await oneByOne(kernel, addresses.slice(0, samples), fail);
    const together: Times[] = [];
    for (let round = 0; round <= bench.pick({ full: 5, quick: 2 }); round += 1)
      together.push(await allAtOnce(kernel, addresses, fail));
    const sleepers = addresses.slice(0, samples);
    await Promise.all(sleepers.map((address) => kernel.checkpoint(address)));
    const lost = await oneByOne(kernel, sleepers, lose);
    await kernel.compact();
    await checkpointAll(kernel, sleepers);
    const lostTogether = await allAtOnce(kernel, sleepers, lose);
    await kernel.close();
    return [
      ...percentiles('throws, next event served', thrown, `${count} actors known`),
      atOnce(`${count} throw at once, all served`, together.slice(1), count),
      ...percentiles('state lost, restored from disk', lost, 'checkpoint file read and checked'),
      shown(
        `${samples} lost at once, all restored`,
        lostTogether.served,
        'ms',
        `${((lostTogether.served / samples) * 1000).toFixed(0)} us each`,
      ),
    ];
  },
  async profile(bench) {
    const kernel = await openKernel(bench.folder('actor-failure'));
    const addresses = await spawnTicks(kernel, 10_000);
    await allAtOnce(kernel, addresses, fail);
    const spots = await profiled(async () => {
      for (let round = 0; round < 4; round += 1) await allAtOnce(kernel, addresses, fail);
    });
    await kernel.close();
    return spots;
  },
};

type Harm = (kernel: Kernel, address: string) => Promise<unknown>;

const fail: Harm = ({ system }, address) =>
  system.send(address, { type: 'boom' }).then(
    () => Promise.reject(new Error('the event should have been rejected')),
    () => undefined,
  );

const lose: Harm = ({ system }, address) => {
  const actor = system.actors.get(address);
  if (actor !== undefined) actor.resident = undefined;
  return Promise.resolve();
};

function countOf({ system }: Kernel, address: string): number {
  const context = system.actors.get(address)?.resident?.state.snapshot.context as
    { count: number } | undefined;
  return context?.count ?? 0; // an actor that lost its state has none to count on
}

/** Sending applies before it returns, so the time is that of two calls; the state is looked at all the same. */
async function oneByOne(
  kernel: Kernel,
  addresses: readonly string[],
  harm: Harm,
): Promise<Times[]> {
  const times: Times[] = [];
  for (const address of addresses) {
    const before = countOf(kernel, address);
    const startedAt = performance.now();
    const harmed = harm(kernel, address);
    const answered = kernel.system.send(address, stepEvent(0));
    const served = performance.now() - startedAt;
    if (countOf(kernel, address) !== before + 1) throw new Error(`${address} did not serve`);
    await Promise.all([harmed, answered]);
    times.push({ served, acknowledged: performance.now() - startedAt });
  }
  return times;
}

async function allAtOnce(kernel: Kernel, addresses: readonly string[], harm: Harm): Promise<Times> {
  const startedAt = performance.now();
  const harmed = addresses.map((address) => harm(kernel, address));
  const answers = addresses.map((address) => kernel.system.send(address, stepEvent(0)));
  const served = performance.now() - startedAt;
  await Promise.all([...harmed, ...answers]);
  return { served, acknowledged: performance.now() - startedAt };
}

async function checkpointAll(kernel: Kernel, addresses: readonly string[]): Promise<void> {
  for (let at = 0; at < addresses.length; at += 64)
    await Promise.all(addresses.slice(at, at + 64).map((address) => kernel.checkpoint(address)));
}

function percentiles(what: string, times: readonly Times[], note: string): Figure[] {
  const served = times.map((time) => time.served * 1000);
  const acknowledged = times.map((time) => time.acknowledged * 1000);
  return (
    [
      ['p50', 0.5, 200, 100],
      ['p99', 0.99, 1000, 500],
    ] as const
  ).map(([name, q, atLeast, aim]) =>
    target(
      `${what}, ${name}`,
      quantile(served, q),
      { unit: 'us', better: 'lower', atLeast, aim },
      `durable and acknowledged after ${quantile(acknowledged, q).toFixed(0)} us; ${note}`,
    ),
  );
}

function atOnce(what: string, times: readonly Times[], count: number): Figure {
  const [served, acknowledged] = [
    quantile(
      times.map((time) => time.served),
      0.5,
    ),
    quantile(
      times.map((time) => time.acknowledged),
      0.5,
    ),
  ];
  const detail = `acknowledged after ${acknowledged.toFixed(0)} ms; median of ${times.length}`;
  return count === 10_000
    ? target(what, served, { unit: 'ms', better: 'lower', atLeast: 500, aim: 250 }, detail)
    : shown(what, served, 'ms', `${detail}; a full run takes 10,000`);
}
