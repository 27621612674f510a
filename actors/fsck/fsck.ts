/**
 * Every promise that can be checked at rest, checked: what is on disk against what the runtime promises of it.
 *
 * K1 Read-only, unless repairs are asked for; then the lock of the missions folder is held from before the first look to
 *    the last write (P5), and a folder on which a node runs is refused.
 * K2 Repairs write only what can be had from elsewhere: files people read, checkpoints that fold, left-overs, modes. The
 *    journal and the cells' copies of it are never touched, and what cannot be mended stays byte for byte.
 * K3 What changes under a running node's hands is not judged, and the report says so (P9).
 */
import { existsSync } from 'node:fs';
import { hasCode } from '../../cells/inside.ts';
import { missionsLayout } from '../../cells/layout.ts';
import { isLocked, lockMissions } from '../../cells/lock.ts';
import { checkCheckpoints } from './checkpoints.ts';
import { checkCopies } from './copies.ts';
import { Findings } from './finding.ts';
import type { Finding, Listed } from './finding.ts';
import { checkHeld } from './held.ts';
import { checkJournal } from './journal.ts';
import { checkLeftovers } from './leftovers.ts';
import { checkOutcomes } from './outcomes.ts';
import { checkOwnership } from './ownership.ts';
import { checkProjections } from './projections.ts';
import { checkReplay } from './replay.ts';
import { checkRevivals } from './revivals.ts';
import { openWorld } from './world.ts';
import type { HeldActor } from './world.ts';

export interface FsckOptions {
  missionsDir: string;
  /** Ids, or beginnings of them; empty: everything. */
  cells?: readonly string[];
  repair?: boolean;
  /** How far the running node has committed; undefined: nobody knows, or none runs. */
  committedLsn?: number | undefined;
  /** By address: why the running node holds it; undefined: nobody knows, or none runs. */
  held?: ReadonlyMap<string, HeldActor> | undefined;
}

export interface FsckReport {
  /** No error and no warning is left. */
  clean: boolean;
  /** A node runs: see `not_judged`. */
  running: boolean;
  cells: number;
  findings: Finding[];
  /** By code: how many more there are. */
  untold: Record<string, number>;
  /** States that replay gave byte for byte (P2). */
  states_compared: number;
  /** Checks left out, each with the reason. */
  not_judged: string[];
}

/** Throws RuntimeError NODE_LOCKED (a repair while a node runs), NOT_FOUND (no such cell), and what the file system throws. */
export async function fsck(options: FsckOptions): Promise<FsckReport> {
  const layout = missionsLayout(options.missionsDir);
  if (options.repair !== true || !existsSync(layout.own)) return look(options);
  const lock = lockMissions(layout.lock, layout.node); // K1
  try {
    return await look(options);
  } finally {
    lock.release();
  }
}

/** A running node may drop a segment that was just listed: then everything is read once more. */
async function look(options: FsckOptions): Promise<FsckReport> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await lookOnce(options);
    } catch (error) {
      if (tries >= 3 || !hasCode(error, 'ENOENT') || !existsSync(options.missionsDir)) throw error;
    }
  }
}

async function lookOnce({
  missionsDir,
  cells = [],
  repair = false,
  committedLsn,
  held,
}: FsckOptions): Promise<FsckReport> {
  const isUp = !repair && isLocked(missionsLayout(missionsDir).lock);
  const world = openWorld({
    missionsDir,
    cells,
    isUp,
    committedLsn: isUp ? committedLsn : undefined,
    held: isUp ? held : undefined,
  });
  const findings = new Findings();
  const facts = checkJournal(world, findings);
  checkCopies(world, findings);
  const checkpoints = checkCheckpoints(world, findings);
  checkHeld(world, findings);
  const replayed = checkReplay(world, findings, { checkpoints, facts });
  checkOutcomes(world, findings, replayed.argv);
  checkOwnership(world, findings);
  checkProjections(world, findings);
  checkRevivals(world, findings);
  checkLeftovers(world, findings);
  const list = await mended(findings.list, repair);
  return {
    clean: list.every(({ severity, repaired }) => severity === 'note' || repaired !== null),
    running: isUp,
    cells: world.cells.length,
    findings: list.toSorted((a, b) => RANK[a.severity] - RANK[b.severity]),
    untold: findings.untold(),
    states_compared: replayed.compared,
    not_judged: notJudged(isUp, replayed.passedBy),
  };
}

const RANK = { error: 0, warning: 1, note: 2 } as const;

/** One that cannot be mended keeps its finding, with the reason; the others go on. */
async function mended(list: readonly Listed[], repair: boolean): Promise<Finding[]> {
  const told: Finding[] = [];
  for (const { repair: mend, ...finding } of list) {
    if (repair && mend) {
      try {
        finding.repaired = await mend();
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        finding.todo = `The repair failed: ${why}. ${finding.todo}`;
      }
    }
    told.push(finding);
  }
  return told;
}

function notJudged(isUp: boolean, passedBy: number): string[] {
  const whileUp = [
    'whether every actor can be restored, the files people read, open requests and left-overs: a node runs and changes them; check again after a stop',
  ];
  const foreign = [
    `part of the history of ${passedBy} actors: it was written by another build, or is more than fits in memory`,
  ];
  return [...(isUp ? whileUp : []), ...(passedBy > 0 ? foreign : [])];
}
