/**
 * What index and journal say of every actor at start. Nothing is folded yet: restorer.ts does that when an actor wakes.
 *
 * R1 What the node's index says of an actor (node-index.ts) is corrected by the journal from the index's lsn on.
 */
import { dirname, join } from 'node:path';
import { recoverJournal } from '../cells/journal-reader.ts';
import type { RecoveredJournal } from '../cells/journal-reader.ts';
import { Actor } from './actor.ts';
import type { Instant } from './clock.ts';
import { Losses } from './losses.ts';
import { readNodeIndex } from './node-index.ts';
import type { NodeIndex } from './node-index.ts';
import { decodeRecord, isSnapshotLine } from './records.ts';
import { readUptime } from './uptime-file.ts';

export { readNodeIndex, writeNodeIndex } from './node-index.ts';
export type { IndexedActor, NodeIndex } from './node-index.ts';

export interface Found {
  index: NodeIndex;
  indexProblem: string | undefined;
  journal: RecoveredJournal;
  actors: Map<string, Actor>;
  /** The latest times that any record, the index or the uptime file carries. */
  latest: Instant;
  /** Where the journal must begin, at the latest; 0: not known. */
  begin: number;
  /** Verdicts of earlier starts; those about what is newly found bad are loss-accounting.ts's. */
  losses: Losses;
}

interface Places {
  indexFile: string;
  journalFolder: string;
  /** Default: beside the index. */
  uptimeFile?: string;
}

/** Reads index and journal; folds nothing yet. Changes nothing on disk. Call `judgeLosses` before an actor is folded. */
export function findActors(places: Places): Found {
  for (let tries = 1; ; tries += 1) {
    const found = readAll(places);
    if (found.journal.corrupt.length === 0 || tries >= 3) return found;
    // A node that runs may have dropped what an older index says should be there.
    if (readNodeIndex(places.indexFile).index.lsn === found.index.lsn) return found;
  }
}

function readAll({ indexFile, journalFolder, uptimeFile }: Places): Found {
  const { index, problem } = readNodeIndex(indexFile);
  const uptime = readUptime(uptimeFile ?? join(dirname(indexFile), 'uptime.json'));
  const begin = index.lsn > 0 ? index.lsn : (uptime?.begin ?? 0);
  const losses = new Losses(indexFile);
  const actors = new Map<string, Actor>();
  for (const { address, machine, seq, stopped } of index.actors) {
    const actor = new Actor(address);
    actor.stopped = stopped === true;
    actor.machine = machine;
    actor.seq = seq;
    actor.checkpointSeq = stopped ? 0 : seq;
    actors.set(address, actor);
  }
  let lastLine = '';
  const journal = recoverJournal(journalFolder, {
    fromLsn: index.lsn,
    begin,
    known: uptime?.journal,
    onRecord: ({ lsn, address, line }) => {
      let actor = actors.get(address);
      if (actor === undefined) actors.set(address, (actor = new Actor(address)));
      if (actor.firstDirtyLsn === 0) actor.firstDirtyLsn = lsn;
      if (actor.tail === undefined || isSnapshotLine(line)) actor.tail = [line];
      else actor.tail.push(line);
      lastLine = line;
    },
  });
  for (const actor of actors.values()) noteTail(actor);
  losses.mark(actors, journal);
  const last = lastLine === '' ? undefined : decodeRecord(lastLine);
  const latest = {
    at: Math.max(index.at, uptime?.at ?? 0, last?.t ?? 0),
    up: Math.max(index.up, uptime?.up ?? 0, last?.u ?? 0),
  };
  return { index, indexProblem: problem, journal, actors, latest, begin, losses };
}

/** What the last record says without folding: the seq, and whether the actor was stopped. */
function noteTail(actor: Actor): void {
  const last = actor.tail?.at(-1);
  if (last === undefined) return;
  const record = decodeRecord(last);
  actor.seq = Math.max(actor.seq, record.n);
  actor.stopped = record.k === 'stopped';
  for (const line of actor.tail ?? []) {
    const machine = /"k":"(?:init|snapshot|migrated|rolled_back)","m":"([^"]+)"/.exec(
      line.slice(0, 600),
    );
    if (machine?.[1]) actor.machine = machine[1];
  }
}
