/**
 * Some seeds of the simulated homelabs (test/support/simulated-homelab.ts): whatever fails, and in whatever order, the loop never
 * does more than the policy allows, and comes to rest. Thousands of seeds: `node test/soak/homelab.ts`.
 */
import { expect, test } from 'vitest';
import { comesToRest } from '../support/simulated-ending.ts';
import { ALL_FAULTS } from '../support/simulated-faults.ts';
import { scenarioOf, SimulatedHomelab } from '../support/simulated-homelab.ts';

const SMALL = 40;
const LARGE = 3;

/** Throws what did not hold, with the seed by which it is had again. */
function lives(seed: number, size: 'small' | 'large'): SimulatedHomelab {
  const lab = new SimulatedHomelab(scenarioOf(seed, size));
  try {
    lab.live();
    comesToRest(lab);
  } catch (error) {
    throw new Error(`node test/soak/homelab.ts --seed ${seed} --size ${size}`, { cause: error });
  }
  return lab;
}

const seeds = (count: number): number[] => Array.from({ length: count }, (_, nth) => nth + 1);

test('given small homelabs in which everything fails, then the loop keeps within its policy and comes to rest', () => {
  const labs = seeds(SMALL).map((seed) => lives(seed, 'small').invariants.counts);
  for (const what of ['proposed', 'granted', 'ran', 'verified', 'escalated', 'cancelled'] as const)
    expect(labs.reduce((sum, counts) => sum + counts[what], 0)).toBeGreaterThan(50);
  for (const what of ['doubts', 'stale', 'skipped'] as const)
    expect(labs.reduce((sum, counts) => sum + counts[what], 0)).toBeGreaterThan(50);
}, 120_000);

test('given hundreds of hosts, then the same holds', () => {
  for (const seed of seeds(LARGE)) lives(seed, 'large');
}, 120_000);

test('given the default policy, when everything fails, then nothing is ever proposed', () => {
  for (const seed of seeds(10)) {
    const lab = new SimulatedHomelab({ ...scenarioOf(seed), policy: 'default' });
    lab.live();
    comesToRest(lab);
    expect(lab.invariants.counts.proposed).toBe(0);
  }
}, 60_000);

test('given the same seed, then the same happens', () => {
  const [one, other] = [1, 2].map(() => {
    const lab = new SimulatedHomelab({ ...scenarioOf(7), faults: ALL_FAULTS });
    lab.live();
    return [...lab.kernel.actors].map(([address, { driver }]) => [address, driver.persisted()]);
  });
  expect(one).toEqual(other);
});
