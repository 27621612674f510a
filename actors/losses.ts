/**
 * Whose records a bad region of the journal held. A hole between two records of an actor shows by its seqs, and the fold
 * sees to it; but where the region held an actor's *newest* records, what is left has no hole and looks whole. The lines
 * that can still be read in the region (one flipped bit spoils a batch, not its text) name such actors.
 *
 * L1 Named, and no record of its own behind the region: it has lost its end, and is held until a person accepts that
 *    (`release`), unless a checkpoint covers it. What was only kept for it while it was held is no record of its own.
 * L2 A region of which nothing can be read names nobody: how many records it held is in the warning.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { readSegments } from '../cells/journal-reader.ts';
import type { CorruptRegion, RecoveredJournal } from '../cells/journal-reader.ts';
import { Actor } from './actor.ts';

/** A longer region is read only so far. */
const MAX_REGION_BYTES = 64 << 20;
const RECORD = /\{"a":"([A-Za-z0-9_./%-]{1,300})","n":([1-9]\d{0,14}),"p":/g;

interface Last {
  lsn: number;
  n: number;
}

/** Marks the actors of L1; one that is known from the region alone is added. */
export function noteLosses(
  actors: Map<string, Actor>,
  journal: RecoveredJournal,
  journalFolder: string,
): void {
  const last = lastOwnRecords(journalFolder);
  for (const region of journal.corrupt) {
    const path = journal.segments.find(({ number }) => number === region.segment)?.path;
    if (path === undefined) continue;
    for (const [address, upTo] of namedIn(path, region)) {
      const own = last.get(address);
      if (own && (own.n >= upTo || own.lsn > (region.lostLsn?.to ?? Infinity))) continue;
      const actor = actors.get(address) ?? new Actor(address);
      actors.set(address, actor);
      const reason = `its records up to ${upTo} stood in a damaged part of journal segment ${region.segment} and cannot be read`;
      actor.lost = { upTo: Math.max(upTo, actor.lost?.upTo ?? 0), reason };
      actor.firstDirtyLsn ||= region.lostLsn?.from ?? 1; // keeps the evidence in the journal
    }
  }
}

function lastOwnRecords(journalFolder: string): Map<string, Last> {
  const last = new Map<string, Last>();
  for (const { lsn, address, line } of readSegments(journalFolder)) {
    if (line.includes(',"b":1,"e":')) continue;
    last.set(address, { lsn, n: Number(/"n":(\d+)/.exec(line)?.[1]) });
  }
  return last;
}

/** By address: the highest seq that can be read in the region. */
function namedIn(path: string, { from, to }: CorruptRegion): Map<string, number> {
  const bytes = Buffer.alloc(Math.min(to - from, MAX_REGION_BYTES));
  const fd = openSync(path, 'r');
  try {
    const length = readSync(fd, bytes, 0, bytes.length, from);
    const named = new Map<string, number>();
    for (const [, address = '', n] of bytes.toString('latin1', 0, length).matchAll(RECORD))
      named.set(address, Math.max(Number(n), named.get(address) ?? 0));
    return named;
  } finally {
    closeSync(fd);
  }
}
