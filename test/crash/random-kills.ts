/**
 * SIGKILL at any moment, of the runtime and of its workers, under load, life after life on the same folder, with the wall
 * clock off by up to an hour in some lives. A round ends with a life that is left alone and must complete everything;
 * then the next one begins on a new folder, until the time is up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasProc, readEnvironment } from '../../actors/proc-fs.ts';
import { missions } from './mission.ts';
import type { Chance } from './random.ts';
import { readReport } from './report.ts';
import { Trial } from './trial.ts';
import type { LifeChange } from './trial.ts';

const KILLS_IN_A_ROUND = 8;
/** More than any life can reach; the last one is told where to stop. */
const ENDLESS = 1e9;

export interface RandomOptions {
  chance: Chance;
  until: number;
  /** So many runtimes are killed however long that takes: a machine may have much else to do. */
  least: number;
  onTrial: (trial: Trial) => void;
}

export interface RandomResult {
  trials: Trial[];
  kills: number;
  workerKills: number;
}

export async function killAtRandom(
  root: string,
  { chance, until, least, onTrial }: RandomOptions,
): Promise<RandomResult> {
  const result: RandomResult = { trials: [], kills: 0, workerKills: 0 };
  const isWhole = (): boolean => result.trials.every(({ violations }) => violations.length === 0);
  const goesOn = (): boolean => performance.now() < until || (result.kills < least && isWhole());
  do {
    const trial = new Trial(root, { upTo: ENDLESS, gapMs: 4, inFlight: 8 });
    for (let kill = 0; kill < KILLS_IN_A_ROUND && goesOn(); kill += 1) {
      if (kill > 0 && chance.next() < 0.3) trial.add(missions(trial.evidence, `-${kill}`));
      const end = await trial.live(torment(chance, () => (result.workerKills += 1)));
      if (end.how === 'killed') result.kills += 1;
      if (trial.violations.length > 0) break;
    }
    trial.upTo = trial.lastAcknowledged + 30;
    await trial.live();
    trial.finish();
    result.trials.push(trial);
    onTrial(trial);
  } while (goesOn());
  return result;
}

/**
 * A life that ends by SIGKILL, a fifth of them by the time it takes to start, the others some time after they have answered,
 * and whose workers are killed on the way.
 */
function torment(chance: Chance, onWorkerKill: () => void): LifeChange {
  const isEarly = chance.next() < 0.2;
  const lastsMs = isEarly ? chance.between(50, 400) : chance.between(0, 2200);
  const clockOffsetMs = chance.next() < 0.25 ? chance.between(-3_600_000, 3_600_000) : 0;
  return {
    clockOffsetMs,
    torment: async ({ pid, report, ended }) => {
      if (!isEarly) await answers(report, ended);
      const deadline = performance.now() + lastsMs;
      while (!ended.aborted && performance.now() < deadline) {
        await rest(Math.min(chance.between(20, 300), deadline - performance.now()), ended);
        const worker = chance.next() < 0.3 ? chance.pick(workersIn(report)) : undefined;
        if (worker !== undefined && killWorker(worker)) onWorkerKill();
      }
      if (!ended.aborted) process.kill(pid, 'SIGKILL');
    },
  };
}

/** Or its end. */
async function answers(report: string, ended: AbortSignal): Promise<void> {
  while (!ended.aborted && !readReport(report).some(({ t }) => t === 'up')) await rest(20, ended);
}

async function rest(ms: number, ended: AbortSignal): Promise<void> {
  await sleep(Math.max(0, ms), null, { signal: ended }).catch(() => undefined); // aborted: the life is over
}

function workersIn(report: string): number[] {
  const sight = readReport(report).findLast((line) => line.t === 'shown');
  return sight?.pids ?? [];
}

/** Only what is still a worker of ours: a pid is used again. */
function killWorker(pid: number): boolean {
  if (!hasProc || !readEnvironment(pid)?.includes('\0LAZARUS_NODE=')) return false;
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false; // gone meanwhile
  }
}
