/**
 * The first stage of `npm test`: the real servers that the tests start, and a browser. Exit 0 when the servers are here; tests
 * that need a browser are skipped where there can be none, and this says so.
 */
import { NATS_SERVER, REDIS_SERVER, setUp } from '../cli/set-up.ts';
import type { Outcome, Program } from '../cli/set-up.ts';
import { BROWSER } from './support/browser-program.ts';

/** Null: it is here. */
async function get(programs: readonly Program[]): Promise<(Outcome & { kind: 'absent' }) | null> {
  const outcome = await setUp(programs, {
    onlyAsRoot: false,
    fetchMs: 240_000,
    patienceMs: 360_000,
    say: (line) => console.log(line),
  });
  switch (outcome.kind) {
    case 'present':
      console.log(`${programs.map(({ packages }) => packages.name).join(' and ')}: here`);
      return null;
    case 'installed':
      console.log(`installed: ${outcome.programs.join(', ')}`);
      return null;
    case 'absent':
      return outcome;
    default:
      return outcome satisfies never;
  }
}

const servers = await get([NATS_SERVER, REDIS_SERVER]);
if (servers !== null) {
  const { programs, why, how } = servers;
  console.error(`Error: the tests need ${programs.join(' and ')}: ${why}\nTry: ${how}`);
  process.exitCode = 1;
}
const browser = await get([BROWSER]); // by itself: where it cannot be had the servers can
if (browser !== null) {
  const { why, how } = browser;
  console.error(`SKIPPED: test/browser/, for there is no browser: ${why}\nTry: ${how}`);
}
