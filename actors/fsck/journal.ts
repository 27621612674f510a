/**
 * The shared journal and its index: can every byte be read, and does every actor's row of records make sense?
 *
 * N1 Records of an actor have rising seqs without a hole; a hole is filled from the cell's copy or closed by a snapshot.
 * N2 Epochs never go back: a record of an older life behind one of a newer is one that fencing should have kept out (P5).
 * N3 An effect that may not be repeated begins once, unless a person settled it as not started in between (P4).
 */
import { join } from 'node:path';
import { recoverJournal } from '../../cells/journal-reader.ts';
import type { JournalRecordLine, RecoveredJournal } from '../../cells/journal-reader.ts';
import { segmentPath } from '../../cells/journal-segment.ts';
import { homeCell } from '../../machines/addresses.ts';
import { lossesPath } from '../losses.ts';
import { readNodeIndex } from '../node-index.ts';
import { decodeRecord, isJumpLine } from '../records.ts';
import { noteFlip } from './copies.ts';
import type { Findings } from './finding.ts';
import type { World } from './world.ts';

/** What the first pass over the journal learned, for the second (replay.ts). */
export interface JournalFacts {
  /** Seqs of events that changed nothing, by address. */
  rejected: Map<string, Set<number>>;
}

export function checkJournal(world: World, findings: Findings): JournalFacts {
  const rows = new Rows(world, findings);
  const journal = recoverJournal(world.layout.journal, {
    onRecord: (record) => {
      if (record.lsn <= world.toLsn) rows.take(record);
    },
  });
  rows.finish();
  if (!world.isWhole) return { rejected: rows.rejected };
  for (const { segment, from, to, reason, lostLsn } of journal.corrupt)
    findings.add({
      severity: 'error',
      code: 'journal-damaged',
      what: `${reason}, bytes ${from} to ${to}`,
      where: segmentPath(world.layout.journal, segment),
      means:
        lostLsn === null
          ? 'Nothing is known to be lost in it.'
          : `Records ${lostLsn.from} to ${lostLsn.to} of the journal cannot be read; actors that had some are refilled from their cell's copy, or held.`,
      todo: 'Keep the file. Put a sound copy of it in place from a backup, or accept what is named below actor by actor.',
    });
  if (journal.tornBytes > 0 && !world.isUp)
    findings.add({
      severity: 'note',
      code: 'journal-torn',
      what: `${journal.tornBytes} bytes behind the last whole batch`,
      where: segmentPath(world.layout.journal, journal.last?.number ?? 0),
      means: 'A write was under way when the node ended. Nothing acknowledged was in it.',
      todo: 'Nothing: the next start cuts it off.',
    });
  for (const { segment, at } of journal.mended)
    noteFlip(findings, { where: segmentPath(world.layout.journal, segment) }, at);
  checkLosses(world, findings);
  checkIndex(world, journal, findings);
  return { rejected: rows.rejected };
}

interface Row {
  seq: number;
  lsn: number;
}

const HEAD = /^\{"a":"[^"]+","n":([1-9]\d{0,14}),"p":(\d{1,15}),"t":\d+,"u":\d+/;
const NOTE = /^\{"a":"[^"]+","n":\d+,"p":\d+,"t":\d+,"u":\d+,"k":"(rejected|started|settled)"/;

class Rows {
  readonly rejected = new Map<string, Set<number>>();
  readonly #world: World;
  readonly #findings: Findings;
  readonly #rows = new Map<string, Row>();
  /** The last effect that began, by address and invoke id; only this one can begin again. */
  readonly #started = new Map<string, number>();
  readonly #holes: { address: string; from: number; to: number; segment: number }[] = [];
  #epoch = 0;

  constructor(world: World, findings: Findings) {
    this.#world = world;
    this.#findings = findings;
  }

  take(record: JournalRecordLine): void {
    const { address, line, lsn, segment } = record;
    const head = HEAD.exec(line);
    if (head === null) return this.#unreadable(record);
    const [seq, epoch] = [Number(head[1]), Number(head[2])];
    this.#noteEpoch(epoch, record);
    const row = this.#rows.get(address);
    if (row && seq <= row.seq) return this.#twice(record, seq);
    if (row && seq > row.seq + 1 && !isClosing(line))
      this.#holes.push({ address, from: row.seq + 1, to: seq - 1, segment });
    this.#rows.set(address, { seq, lsn });
    if (NOTE.test(line)) this.#note(record, seq);
  }

  /** N1: holes are looked at last, when it is known what else there is. */
  finish(): void {
    for (const { address, from, to, segment } of this.#holes) {
      if (!this.#world.isChecked(address) || this.#isCopied(address, from, to)) continue;
      this.#findings.add({
        severity: 'warning',
        code: 'records-missing',
        what: `records ${from} to ${to} of ${address} are missing`,
        where: segmentPath(this.#world.layout.journal, segment),
        means: this.#world.isUp
          ? "Its history has a hole that the cell's copy does not fill. The running node holds it, unless it has its state all the same."
          : "Its history has a hole that the cell's copy does not fill. Whether its state can be had all the same is told separately.",
        todo: 'If it is held: put back a sound copy of the journal or of the cell, or accept the loss with `lazarus cell release`.',
        cell_id: homeCell(address),
      });
    }
  }

  #isCopied(address: string, from: number, to: number): boolean {
    const copied = new Set(
      this.#world.store.readCopy(address, from - 1).map((line) => decodeRecord(line).n),
    );
    for (let seq = from; seq <= to; seq += 1) if (!copied.has(seq)) return false;
    return true;
  }

  #unreadable({ lsn, segment }: JournalRecordLine): void {
    this.#findings.add({
      severity: 'error',
      code: 'record-unreadable',
      what: `record ${lsn} is sound by its checksum and does not have the form of a record`,
      where: segmentPath(this.#world.layout.journal, segment),
      means: 'Something that is no node of this runtime wrote it, or a defect of the runtime.',
      todo: 'Keep the file and report it.',
    });
  }

  #twice({ address, segment }: JournalRecordLine, seq: number): void {
    if (!this.#world.isChecked(address)) return;
    this.#findings.add({
      severity: 'error',
      code: 'seq-twice',
      what: `record ${seq} of ${address} stands in the journal twice`,
      where: segmentPath(this.#world.layout.journal, segment),
      means: 'Two writers had this actor at the same time, or a defect (P3, P5).',
      todo: 'Keep the journal and report it.',
      cell_id: homeCell(address),
    });
  }

  /** N2. */
  #noteEpoch(epoch: number, { address, lsn, segment }: JournalRecordLine): void {
    if (epoch < this.#epoch)
      this.#findings.add({
        severity: 'error',
        code: 'epoch-back',
        what: `record ${lsn} (${address}) has epoch ${epoch} behind records of epoch ${this.#epoch}`,
        where: segmentPath(this.#world.layout.journal, segment),
        means: 'An earlier life of the node wrote after a later one had begun (P5).',
        todo: 'Keep the journal and report it.',
      });
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  #note({ address, line, segment }: JournalRecordLine, seq: number): void {
    const record = decodeRecord(line);
    if (record.k === 'rejected') {
      const seqs = this.rejected.get(address) ?? new Set();
      this.rejected.set(address, seqs.add(record.of));
    } else if (record.k === 'settled') {
      this.#started.delete(`${address} ${record.v}`);
    } else if (record.k === 'started') {
      const key = `${address} ${record.v}`;
      if (this.#started.get(key) === record.of && this.#world.isChecked(address))
        this.#findings.add({
          severity: 'error',
          code: 'started-twice',
          what: `effect ${address}#${record.of}#${record.v} began again at record ${seq}`,
          where: segmentPath(this.#world.layout.journal, segment),
          means:
            'A step that is never repeated without a word from a person may have run twice (P4).',
          todo: 'Look at what it did (artifacts/logs/), keep the journal and report it.',
          cell_id: homeCell(address),
        });
      this.#started.set(key, record.of);
    }
  }
}

const BASE =
  /^\{"a":"[^"]*","n":\d+,"p":\d+,"t":\d+,"u":\d+,"k":"(?:snapshot|migrated|rolled_back|init)"/;
/** A state stands for everything before it; a loss that a person accepted, and a move from elsewhere, are marked. */
const isClosing = (line: string): boolean => BASE.test(line) || isJumpLine(line);

/** What an earlier start found lost, and nobody has put back or accepted since. */
function checkLosses({ layout, found, isUp, unjudged }: World, findings: Findings): void {
  const { verdicts, problem } = found.losses;
  const where = lossesPath(layout.index);
  if (problem !== undefined)
    findings.add({
      severity: 'error',
      code: 'losses-unreadable',
      what: `what is known to be lost of the journal cannot be read: ${problem}`,
      where,
      means: 'Nobody knows any more which actors lost records.',
      todo: 'Put back a sound copy of the file, or start and accept what is held: `lazarus status`.',
    });
  for (const { region, actors, unaccounted } of verdicts) {
    if (unaccounted === 0 && Object.keys(actors).length === 0) continue; // settled: the damage itself is told above
    const isNews = isUp && unjudged.has(region);
    findings.add({
      severity: 'error',
      code: 'loss-open',
      what: `records of ${Object.keys(actors).slice(0, 5).join(', ') || 'actors unknown'} stood in a bad part of segment ${region.segment}, bytes ${region.from} to ${region.to}`,
      where,
      means: isNews
        ? 'It was damaged while the node ran. Their states do not need it after a clean stop; after a crash they may.'
        : `Whom it names is held until the loss is accepted; ${unaccounted} records are not accounted for.`,
      todo: isNews
        ? 'Stop the node cleanly before anything ends it, and check again.'
        : 'Put the damaged file back from a backup while no node runs, or accept the loss with `lazarus cell release`.',
    });
  }
}

function checkIndex({ layout, found }: World, journal: RecoveredJournal, findings: Findings): void {
  const { problem } = readNodeIndex(layout.index);
  if (problem !== undefined)
    findings.add({
      severity: 'warning',
      code: 'index-damaged',
      what: `the node's index cannot be used: ${problem}`,
      where: layout.index,
      means: 'It is a cache. The next start reads every cell instead, and takes longer.',
      todo: 'Nothing, or delete it while no node runs.',
    });
  const { lsn } = found.index;
  const hasJournal = journal.segments.length > 0;
  if (lsn > journal.nextLsn)
    findings.add({
      severity: 'error',
      code: 'journal-cut',
      what: `the index was written when the journal had reached record ${lsn - 1}; the files there end at ${journal.nextLsn - 1}`,
      where: hasJournal ? join(layout.journal, '*.wal') : layout.journal,
      means: 'The newest files of the journal are gone, and with them what only they held.',
      todo: 'Put them back from where they went before a node is started here.',
    });
}
