/**
 * Finding processes by the marks (`LAZARUS_NODE`, `_WORKER`, `_CELL`, `_AGENT`, `_KEY`) that every process of ours
 * carries in its environment and hands on, wherever it went: out of its group, its session and its family.
 *
 * M1 Searches that are asked for in one turn of the event loop share one pass over /proc: a hundred workers that die
 *    together cost about what one costs.
 * M2 A pass begins after it was asked for, and looks again for pids that appeared while it read.
 * M3 Who asked goes on in the same turn in which the pass was made: a pid found is still that process.
 */
import { invariant } from '../machines/invariant.ts';
import { listPids, mayHaveEnvironment, ownLine, readEnvironment } from './proc-fs.ts';

/** Environment variables and their values; a process is meant when it has all of them. */
export type Mark = Readonly<Record<string, string>>;

export interface Marked {
  /** Workers first, then what carries the key of a step (S2 of processes.ts). */
  pids: number[];
  /** Somebody was in the middle of execve(2), where a process shows no environment for a moment. */
  starting: boolean;
}

interface Search {
  marks: readonly Buffer[][];
  /** Pids to leave alone. */
  spare: ReadonlySet<number>;
  workers: number[];
  steps: number[];
  done: (found: Marked) => void;
  failed: (error: unknown) => void;
}

/** Rounds of looking for pids that appeared while we read; each is as short as the one before it was busy. */
const MAX_ROUNDS = 20;
const ANY_MARK = Buffer.from('\0LAZARUS_');
const STEP_MARK = Buffer.from('\0LAZARUS_KEY=');

let asked: Search[] = [];

/** Everybody with any of these marks, but for this process and those above it. Needs /proc. */
export async function findMarked(
  marks: readonly Mark[],
  spare: ReadonlySet<number> = new Set(),
): Promise<Marked> {
  const searched = marks.map(entriesOf);
  return new Promise((done, failed) => {
    if (asked.length === 0) setImmediate(answerAll); // M1
    asked.push({ marks: searched, spare, workers: [], steps: [], done, failed });
  });
}

function entriesOf(mark: Mark): Buffer[] {
  const entries = Object.entries(mark);
  invariant(entries.length > 0, 'a sweep without a mark would end every process');
  return entries.map(([name, value]) => {
    const isMark = /^LAZARUS_[A-Z]+$/.test(name) && value !== '' && !value.includes('\0');
    invariant(isMark, `not a mark: ${name}`);
    return Buffer.from(`\0${name}=${value}\0`);
  });
}

function answerAll(): void {
  const searches = asked;
  asked = [];
  try {
    const starting = pass(searches);
    for (const { workers, steps, done } of searches)
      done({ pids: [...workers, ...steps], starting });
  } catch (error) {
    for (const { failed } of searches) failed(error);
  }
}

/** One look at everybody (M2). True when somebody is between two programs and must be looked at again. */
function pass(searches: readonly Search[]): boolean {
  const seen = ownLine();
  let starting = false;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const fresh = listPids().filter((pid) => !seen.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      seen.add(pid);
      const environment = readEnvironment(pid);
      if (environment?.length === 0) starting = mayHaveEnvironment(pid) || starting;
      else if (environment?.includes(ANY_MARK)) enter(pid, environment, searches);
    }
  }
  return starting;
}

function enter(pid: number, environment: Buffer, searches: readonly Search[]): void {
  const isStep = environment.includes(STEP_MARK);
  for (const { marks, spare, workers, steps } of searches)
    if (!spare.has(pid) && marks.some((entries) => entries.every((e) => environment.includes(e))))
      (isStep ? steps : workers).push(pid);
}
