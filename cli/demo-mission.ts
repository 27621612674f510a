/**
 * The demo's mission on a running node: it is dropped, watched, hurt once, and judged by the files it leaves.
 *
 * M1 The kill is a plain SIGKILL from outside, to the pid that the status names, in the middle of a step that takes a
 *    while and is declared `safe`.
 */
import { randomUUID } from 'node:crypto';
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CellStatusView, StatusView } from '../actors/status.ts';
import { missionsLayout } from '../cells/layout.ts';
import type { JsonObject } from '../machines/json.ts';
import { revivalsOf, verifyDemo } from './verify-demo.ts';
import type { Check, DemoRun } from './verify-demo.ts';

export interface Stage {
  missions: string;
  template: string;
  node: { status(): Promise<StatusView> };
  view: { show(status: StatusView): void; note(text: string): void };
  signal: AbortSignal;
}

export interface Victim {
  agent_id: string;
  task_id: string;
  step: string;
  pid: number;
}

export interface DemoResult {
  verified: boolean;
  missions: string;
  cell_id: string;
  path: string;
  seconds: number;
  killed: Victim | null;
  /** Lines of the revival ledger about the killed agent. */
  revivals: JsonObject[];
  checks: Check[];
}

/** The step of each writer that takes longest. */
const LONG_STEP = 'draft';
/** How far into the step the kill comes. */
const INTO_STEP_MS = 400;
const POLL_MS = 120;
/** The mission takes some fifteen seconds on a quiet machine. */
const MISSION_MS = 180_000;
/** Files follow the status at once; a loaded machine may take a while. */
const FILES_MS = 10_000;

/** Throws the signal's reason when interrupted, and what asking for the status throws. */
export async function runMission(stage: Stage): Promise<DemoResult> {
  const { missions, template, view } = stage;
  const cellId = randomUUID();
  const path = dropExample(stage, cellId);
  view.note(`dropped ${template} as ${path}`);
  const begun = performance.now();
  const run = { template, cellDir: path, cellId, killedAgent: null } satisfies Partial<DemoRun>;
  const revivalLedger = missionsLayout(missions).revivalLedger;
  const killed = await watchUntilEnd(stage, { ...run, revivalLedger });
  const seconds = Math.round((performance.now() - begun) / 100) / 10;
  const judged = { ...run, revivalLedger, killedAgent: killed?.agent_id ?? null };
  const checks = await judge(judged, stage.signal);
  const revivals = killed ? revivalsOf(revivalLedger, cellId, killed.agent_id) : [];
  const verified = checks.every(({ problem }) => problem === null);
  return { verified, missions, cell_id: cellId, path, seconds, killed, revivals, checks };
}

/** The example as a cell with an id of its own. It appears by one rename, so that nobody meets half of it. */
function dropExample({ missions, template }: Stage, cellId: string): string {
  const building = join(missions, `.demo.${cellId}.building`); // a name that a node's start clears away
  cpSync(template, building, { recursive: true });
  const file = join(building, 'cell.json');
  const cell = JSON.parse(readFileSync(file, 'utf8')) as JsonObject;
  const own = { cell_id: cellId, created_at: new Date().toISOString(), created_by: 'demo' };
  writeFileSync(file, `${JSON.stringify({ ...cell, ...own }, null, 2)}\n`);
  const path = join(missions, cellId);
  renameSync(building, path);
  return path;
}

/** Ends with the mission, or with its time: what became of it is judged by its files. */
async function watchUntilEnd(stage: Stage, run: DemoRun): Promise<Victim | null> {
  const deadline = performance.now() + MISSION_MS;
  const aim = new Aim();
  let killed: Victim | null = null;
  let isRevived = false;
  while (performance.now() < deadline) {
    stage.signal.throwIfAborted();
    const status = await stage.node.status();
    stage.view.show(status);
    const cell = status.cells.find(({ cell_id: id }) => id === run.cellId);
    if (killed === null && cell) {
      const victim = aim.at(victimOf(cell));
      if (victim && kill(victim, stage)) killed = victim;
    }
    if (killed && !isRevived) isRevived = tellRevival(stage, run, killed);
    if (cell && ['completed', 'failed', 'held'].includes(cell.status)) return killed;
    await sleep(POLL_MS);
  }
  stage.view.note(`the mission is not at its end after ${MISSION_MS / 1000} s`);
  return killed;
}

/** Names the victim once it has been seen in its step for long enough. */
class Aim {
  #seen = '';
  #since = 0;

  at(victim: Victim | null): Victim | null {
    const seen = victim ? `${victim.task_id} ${victim.pid}` : '';
    if (seen !== this.#seen) this.#since = performance.now();
    this.#seen = seen;
    return performance.now() - this.#since > INTO_STEP_MS ? victim : null;
  }
}

function victimOf(cell: CellStatusView): Victim | null {
  for (const task of cell.tasks) {
    const agent = cell.agents.find(({ current_task: current }) => current === task.task_id);
    if (task.current_step === LONG_STEP && agent?.pid)
      return {
        agent_id: agent.agent_id,
        task_id: task.task_id,
        step: LONG_STEP,
        pid: agent.pid,
      };
  }
  return null;
}

/** M1. False when it is gone already. */
function kill({ agent_id: agent, task_id: task, step, pid }: Victim, { view }: Stage): boolean {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
  view.note(`kill -9 ${pid}: the worker of ${agent}, in the middle of ${task}/${step}`);
  return true;
}

function tellRevival({ view }: Stage, run: DemoRun, { agent_id: agent }: Victim): boolean {
  const [revival] = revivalsOf(run.revivalLedger, run.cellId, agent);
  if (!revival) return false;
  view.note(
    `Lazarus revived ${agent} in ${JSON.stringify(revival['took_ms'])} ms, from its checkpoint`,
  );
  return true;
}

async function judge(run: DemoRun, signal: AbortSignal): Promise<Check[]> {
  for (const deadline = performance.now() + FILES_MS; ; await sleep(POLL_MS)) {
    const checks = verifyDemo(run);
    if (checks.every(({ problem }) => problem === null) || performance.now() > deadline)
      return checks;
    signal.throwIfAborted();
  }
}
