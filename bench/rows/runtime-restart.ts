/**
 * The runtime is SIGKILLed and started again, until 64 actors have each taken a durable event: process start, sweep,
 * journal, restoring, commit. Once more on a folder with ten times the history, for a restart must not grow with it.
 */
import { alternate, median, quantile, target } from '../harness.ts';
import type { Bench, Row } from '../harness.ts';
import { profilingFlags, readProfile } from '../profile.ts';
import { startChild, warmCompileCache } from '../support/child.ts';

const ADDRESSES = Array.from({ length: 64 }, (_, n) => `system/bench/a${n}`);
/** Events since the last upkeep when the runtime is killed. */
const TAIL = 5000;

export const row: Row = {
  name: 'runtime-restart',
  title: 'SIGKILLed runtime, restart until 64 actors answer',
  async measure(bench) {
    const compileCache = await warmCompileCache(bench);
    const events = bench.pick({ full: 20_000, quick: 4000 });
    const [short, long] = await Promise.all([
      killedRuntime(bench, events),
      killedRuntime(bench, events * 10),
    ]);
    const { ours, baseline } = await alternate(
      bench.pick({ full: 9, quick: 3 }),
      () => restart(long, compileCache),
      () => restart(short, compileCache),
    );
    const all = `process start included; ${events.toLocaleString('en')} events of history`;
    return [
      target(
        'restart to 64 answers, p50',
        median(baseline),
        { unit: 'ms', better: 'lower', atLeast: 200, aim: 150 },
        `${all}; slowest ${quantile(baseline, 1).toFixed(0)} ms of ${baseline.length}`,
      ),
      target(
        'with 10 x the history',
        median(ours) / median(baseline),
        { unit: 'x', better: 'lower', atLeast: 1.2, aim: 1.1 },
        `${median(ours).toFixed(0)} ms against ${median(baseline).toFixed(0)} ms`,
      ),
    ];
  },
  async profile(bench) {
    const compileCache = await warmCompileCache(bench);
    const folder = await killedRuntime(bench, 20_000);
    const profiles = bench.folder('profiles');
    const flags = profilingFlags(profiles);
    const child = startChild('node-child.ts', { args: [folder], flags, compileCache });
    await child.next();
    await child.ask({ t: 'answer', addresses: ADDRESSES });
    await child.exit();
    return readProfile(profiles);
  },
};

/** A missions folder as a killed node left it. */
async function killedRuntime(bench: Bench, events: number): Promise<string> {
  const folder = bench.folder('restart');
  const child = startChild('node-child.ts', { args: [folder] });
  await child.next();
  await child.ask({ t: 'history', addresses: ADDRESSES, events, tail: TAIL });
  await child.kill();
  return folder;
}

/** ms from the start of the process to the last of the answers; then it is killed again. */
async function restart(folder: string, compileCache: string): Promise<number> {
  const startedAt = performance.now();
  const child = startChild('node-child.ts', { args: [folder], compileCache });
  await child.next();
  await child.ask({ t: 'answer', addresses: ADDRESSES });
  const took = performance.now() - startedAt;
  await child.kill();
  return took;
}
