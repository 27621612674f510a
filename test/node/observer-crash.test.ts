/**
 * SIGKILL of a real process at every durable boundary while the observer reads, hears and writes: nothing is lost, nothing
 * counts twice, and no reader ever saw half a file.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { homelabEvent } from '../support/incidents.ts';
import { temporaryMissions } from '../support/node.ts';
import { startObserver } from '../support/observer.ts';
import { CRASH_SERVICES, writeHistory } from '../support/observer-crash.ts';
import { publish, temporaryRuntime } from '../support/planner.ts';

const child = fileURLToPath(new URL('../support/observer-child.ts', import.meta.url));
/** Epoch seconds, a while ago. */
const AT = Math.floor(Date.now() / 1000) - 3600;
const LOOKED_AT = /^(world-file|observer-mark|observer-checkpoint)\.|^journal\.after-sync/;
/** The journal has many moments, all alike. */
const MOST_OF_THE_JOURNAL = 12;

function live(at: string): { missions: string; runtime: string; out: string } {
  const [missions, runtime] = [temporaryMissions(), temporaryRuntime()];
  writeHistory(runtimeLayout(runtime), AT);
  const argv = ['--disable-warning=ExperimentalWarning', child, missions, runtime, at, String(AT)];
  const { signal, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (signal !== 'SIGKILL') throw new Error(`${at}: ${stderr}`);
  return { missions, runtime, out: stdout };
}

async function goesOn(at: string): Promise<void> {
  const { missions, runtime } = live(at);
  const { world } = runtimeLayout(runtime);
  for (const name of existsSync(world) ? readdirSync(world) : [])
    if (!name.startsWith('.')) JSON.parse(readFileSync(join(world, name), 'utf8')); // whole, or none
  const next = await startObserver({ missions, runtime });
  expect(next.status, at).toMatchObject({ state: 'up' });
  await publish(next.test.node, homelabEvent(AT * 1000), 'the event');
  await next.until(() => {
    const services = next.world('services');
    expect(Object.keys(services), at).toHaveLength(CRASH_SERVICES + 1);
    const incidents = Object.values(next.world('incidents'));
    expect(incidents, at).toHaveLength(2 * CRASH_SERVICES + 1);
    expect(new Set(incidents.map(({ occurrence_count: count }) => count)), at).toEqual(
      new Set([1]),
    );
    expect(
      incidents.filter(({ status }) => status === 'active'),
      at,
    ).toHaveLength(CRASH_SERVICES + 1);
  });
  await next.test.stop();
}

test(
  'given a kill at any boundary, then the next node has the same world as if there had been none',
  { timeout: 600_000 },
  async () => {
    const all = (JSON.parse(live('list').out) as string[]).filter((visit) => LOOKED_AT.test(visit));
    for (const part of ['world-file', 'observer-mark', 'observer-checkpoint', 'journal'])
      expect(
        all.some((visit) => visit.startsWith(part)),
        part,
      ).toBe(true);
    const ofJournal = all.filter((visit) => visit.startsWith('journal'));
    const left = new Set(ofJournal.slice(MOST_OF_THE_JOURNAL));
    for (const visit of all.filter((one) => !left.has(one))) await goesOn(visit);
  },
);
