/**
 * Simulated homelabs for as long as one likes: `node test/soak/homelab.ts --seeds 3000 --from 1 [--size large]`. Of the first
 * violation the seed is printed, and the smallest scenario that still shows it; `--seed N` has it once more, with what was
 * said at the end.
 */
import { parseArgs } from 'node:util';
import { comesToRest } from '../support/simulated-ending.ts';
import { scenarioOf, SimulatedHomelab } from '../support/simulated-homelab.ts';
import type { Scenario } from '../support/simulated-homelab.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    size: { type: 'string', default: 'small' },
    /** How many violations it takes to stop. */
    stop: { type: 'string', default: '1' },
    /** Leaves the scenario as it is. */
    whole: { type: 'boolean', default: false },
    /** Of the last messages before a violation, how many are shown. */
    shown: { type: 'string', default: '40' },
  },
});
const size = values.size === 'large' ? 'large' : 'small';

/** Null: everything held. */
function violationIn(scenario: Scenario, heard?: string[]): string | null {
  const lab = new SimulatedHomelab(scenario);
  if (heard) listen(lab, heard);
  try {
    lab.live();
    comesToRest(lab);
    for (const [name, count] of Object.entries(lab.invariants.counts))
      totals.set(name, (totals.get(name) ?? 0) + count);
    return null;
  } catch (error) {
    return error instanceof Error
      ? heard
        ? (error.stack ?? error.message)
        : error.message
      : String(error);
  }
}
const totals = new Map<string, number>();

function listen(lab: SimulatedHomelab, heard: string[]): void {
  const { around, clock } = lab.kernel;
  if (around === undefined) return;
  const took = around.took.bind(around);
  around.took = (actor, event, reaction) => {
    const { at: _at, up: _up, seq: _seq, ...rest } = event as Record<string, unknown>;
    const sent = reaction.sent.map((one) => `${one.event.type} > ${one.to}`).join(', ');
    const state = JSON.stringify(actor.driver.value);
    const time = new Date(clock.at).toISOString();
    heard.push(
      `${time} ${actor.address} ${JSON.stringify(rest).slice(0, 300)} = ${state} | ${sent}`,
    );
    took(actor, event, reaction);
  };
}

/** The same violation, by its first word, in a smaller scenario. */
function shrunk(scenario: Scenario, violation: string): Scenario {
  const kind = violation.split(' ')[0];
  let best = scenario;
  const take = (next: Scenario): boolean => {
    const found = violationIn(next);
    if (found?.split(' ')[0] !== kind) return false;
    best = next;
    return true;
  };
  for (const shuffled of [false]) take({ ...best, shuffled });
  take({ ...best, observer: 'plain' });
  for (const fault of best.faults)
    take({ ...best, faults: best.faults.filter((one) => one !== fault) });
  while (best.hosts > 1 && take({ ...best, hosts: Math.ceil(best.hosts / 2) }));
  while (best.minutes > 2 && take({ ...best, minutes: Math.ceil(best.minutes * 0.7) }));
  for (const fault of best.faults)
    take({ ...best, faults: best.faults.filter((one) => one !== fault) });
  return best;
}

function report(scenario: Scenario, violation: string): void {
  console.log(`seed ${scenario.seed}: ${violation.slice(0, 500)}`);
  const small = values.whole ? scenario : shrunk(scenario, violation);
  console.log(`smallest: ${JSON.stringify(small)}`);
  const heard: string[] = [];
  console.log(violationIn(small, heard));
  console.log(heard.slice(-Number(values.shown)).join('\n'));
}

const from = Number(values.seed ?? values.from);
const count = values.seed === undefined ? Number(values.seeds) : 1;
let violations = 0;
for (let seed = from; seed < from + count; seed += 1) {
  const scenario = scenarioOf(seed, size);
  const violation = violationIn(scenario);
  if (violation !== null) {
    violations += 1;
    report(scenario, violation);
    if (violations >= Number(values.stop)) break;
  }
  if ((seed - from + 1) % 100 === 0)
    console.log(`${seed - from + 1} of ${count}: ${JSON.stringify(Object.fromEntries(totals))}`);
}
console.log(`${violations} violations; ${JSON.stringify(Object.fromEntries(totals))}`);
process.exitCode = violations === 0 ? 0 : 1;
