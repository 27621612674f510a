/**
 * `lazarus demo`: a real mission on a node of its own, one of its agents killed in the middle of a step, and every output
 * checked. With `--stay` (`npm start`) on the missions folder, and it stays up afterwards.
 */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { missionsLayout } from '../cells/layout.ts';
import { scanMissions } from '../cells/scan-missions.ts';
import { runMission } from './demo-mission.ts';
import type { DemoResult, Stage } from './demo-mission.ts';
import { LiveView } from './live-view.ts';
import { makeMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { NodeProcess, ROOT } from './node-process.ts';
import { onStop, statusOf } from './signals.ts';

export interface DemoOptions {
  /** Run on the missions folder, only if it holds no mission yet, and stay up. */
  stay: boolean;
  missions?: string;
  /** One JSON document on stdout; the show goes to stderr. */
  json: boolean;
}

const TEMPLATE = join(ROOT, 'examples/release-notes');
const FOLLOW_MS = 400;

/** The exit status: 0 when the result was verified, or when there was nothing to show and it was told to stop. */
export async function demo({ stay, missions: option, json }: DemoOptions): Promise<number> {
  const missions = stay || option !== undefined ? makeMissions(option) : ownFolder();
  const isShow = !stay || !(await hasMissions(missions.dir));
  const view = new LiveView({ stdout: !json });
  const interrupt = new AbortController();
  const { signal } = interrupt;
  let node: NodeProcess | undefined;
  let verified = !isShow;
  process.once('exit', () => {
    if (!verified) process.exitCode = 1; // also when nobody reads our output any more
  });
  onStop((name, times) => {
    if (times === 1) return interrupt.abort(new Error(`interrupted by ${name}`));
    node?.kill();
    process.exit(statusOf(name));
  });
  try {
    view.note(`missions folder: ${missions.dir} (${missions.because})`);
    if (!isShow) view.note('it holds missions already: they run, and the demo is not added');
    if (stay) await getBus(view, signal);
    // What is shown must not depend on how this user's own daemon is configured; what stays up is that daemon.
    node = await NodeProcess.start(
      missions,
      signal,
      stay ? [] : ['--config', 'none', '--nats', 'off'],
    );
    view.note(`a node runs on it, pid ${node.pid}`);
    const stage = { missions: missions.dir, template: TEMPLATE, node, view, signal };
    if (isShow) {
      const result = await runMission(stage);
      ({ verified } = result);
      view.show(await node.status());
      view.settle();
      report(result, json);
    } else if (json) print(JSON.stringify({ verified: null, missions: missions.dir }));
    if (stay) await follow(stage);
  } catch (error) {
    view.settle();
    if (error !== signal.reason) throw error;
    view.note(`${signal.reason instanceof Error ? signal.reason.message : ''}: stopping the node`);
  } finally {
    await node?.stop();
  }
  view.note('the node has stopped; everything is on disk');
  return verified ? 0 : 1;
}

/** Throws the signal's reason. */
async function getBus(view: LiveView, signal: AbortSignal): Promise<void> {
  const { setUpBus } = await import('./set-up-bus.ts');
  await setUpBus((line) => view.note(line), { signal });
  signal.throwIfAborted();
}

function ownFolder(): Missions {
  const dir = join(mkdtempSync(join(tmpdir(), 'lazarus-demo-')), 'missions');
  mkdirSync(dir);
  return { dir, because: 'made for this demo, and kept' };
}

async function hasMissions(missions: string): Promise<boolean> {
  const { cells, drops } = await scanMissions(missions);
  return cells.length + drops.length > 0;
}

function report(result: DemoResult, json: boolean): void {
  if (json) return print(JSON.stringify(result));
  const { verified, path, missions, seconds, checks, killed } = result;
  const word = verified ? 'verified' : 'NOT as it should be';
  print(`\n${word}, ${seconds} s${killed ? `, ${killed.agent_id} killed on the way` : ''}:`);
  for (const { what, problem } of checks)
    print(problem === null ? `  ok     ${what}` : `  WRONG  ${what}: ${problem}`);
  print(`
  what it made          ${join(path, 'artifacts/RELEASE-NOTES.md')}
  each finished step    ${join(path, 'artifacts/ledger.txt')}
  how it went           ${join(path, 'logs/mission.log')}
  the revival           ${missionsLayout(missions).revivalLedger}
  look, now or later    bin/lazarus status --missions ${missions}
`);
}

/** Until a signal: whatever happens in the missions folder. Throws the signal's reason. */
async function follow(stage: Stage & { view: LiveView }): Promise<never> {
  const { missions, node, view, signal } = stage;
  view.show(await node.status());
  view.settle();
  view.note(`another mission: cp ${join(ROOT, 'examples/hello.json')} ${missions}/`);
  view.note('it stays up and shows what happens; Ctrl-C stops it');
  for (;;) {
    signal.throwIfAborted();
    view.show(await node.status());
    await sleep(FOLLOW_MS);
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
