/**
 * `lazarus events [cell]`: every journaled record, one line each, from the shared journal and, for what has left it, from
 * the missions' own copies.
 *
 * P1 While a node runs, nothing is shown beyond what it has made durable: the node says how far that is.
 */
import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeRecord } from '../actors/records.ts';
import type { JournalRecord } from '../actors/records.ts';
import { resolveCell } from '../actors/verbs/ids.ts';
import type { StatusView } from '../actors/status.ts';
import { describeEvent } from '../actors/mission-log.ts';
import { hasCode } from '../cells/inside.ts';
import { readCellCopy } from '../cells/journal-copy.ts';
import { readSegments } from '../cells/journal-reader.ts';
import { missionsLayout } from '../cells/layout.ts';
import { homeCell } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { act, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { DONE, print } from './output.ts';
import { onStop } from './signals.ts';
import { readStatus } from './status.ts';
import { brief } from './terminal.ts';

const INTERVAL_MS = 200;

interface EventFlags {
  follow?: boolean;
  lines?: string;
}

export function command(): Command {
  const events = verb(
    'events',
    'What happened, record by record: time, address, seq, type, detail. With -f and --json one document a line.',
    'lazarus events -f\nlazarus events 5c0e6e08 --json',
  )
    .argument('[cell]', 'only of this mission: its id, or the first characters of it')
    .option('-f, --follow', 'go on as records come')
    .option('-n, --lines <count>', 'begin with the last records only');
  return act<EventFlags>(events, async ([cell], flags) => {
    const missions = chooseMissions(flags.missions);
    const view = await readStatus(missions);
    const cellId = cell === undefined ? undefined : resolveCell(view, cell).cell_id;
    const whole = flags.json === true && !flags.follow;
    let told = 0;
    const tell = (record: Read): void => {
      if (!whole) return print(flags.json ? toJson(record) : toText(record));
      print(`${told === 0 ? '{"events": [' : ','}\n${toJson(record)}`); // streamed: history may be long
      told += 1;
    };
    let last = 0;
    const found: Read[] = [];
    for (const record of past(missions, view, cellId)) {
      last = Math.max(last, record.lsn);
      if (flags.lines === undefined) tell(record);
      else found.push(record);
    }
    if (flags.lines !== undefined)
      found.slice(-Math.max(1, Number(flags.lines) || 1)).forEach(tell);
    if (whole) print(told === 0 ? '{"events": []}' : ']}');
    if (!flags.follow) return DONE;
    onStop(() => process.exit(DONE));
    for (;;) {
      await sleep(INTERVAL_MS);
      const durable = await readStatus(missions).then(durableLsn, (error: unknown) => {
        if (error instanceof RuntimeError) return last; // a node that does not answer just now: it is asked again
        throw error;
      });
      if (durable <= last) continue;
      for (const record of shared(missions, { from: last + 1, to: durable })) {
        last = record.lsn;
        if (isOf(record, cellId)) tell(record);
      }
    }
  });
}

interface Read {
  lsn: number;
  address: string;
  line: string;
}

/** Everything there is, oldest first. */
function* past(missions: Missions, view: StatusView, cellId: string | undefined): Generator<Read> {
  const to = durableLsn(view);
  const folders = view.cells.filter(({ cell_id: id }) => cellId === undefined || id === cellId);
  const current = [...shared(missions, { from: 0, to })];
  const first = current[0]?.lsn ?? Infinity;
  const copied = folders.flatMap(({ path }) =>
    path === null
      ? []
      : [...readCellCopy(path)].filter(({ lsn, sealed }) => sealed || (lsn < first && lsn <= to)),
  );
  // What came with a folder from another node counts on from other lsns: it is older than all that is our own.
  const older = copied.filter(({ sealed }) => sealed);
  const own = copied.filter(({ sealed }) => !sealed).toSorted((a, b) => a.lsn - b.lsn);
  const seen = new Set<string>();
  for (const record of [...older, ...own]) {
    const name = `${record.address} ${decodeRecord(record.line).n}`;
    if (seen.has(name)) continue;
    seen.add(name);
    yield record;
  }
  for (const record of current) if (isOf(record, cellId)) yield record;
}

/** The shared journal; read once more when a segment was dropped meanwhile. */
function* shared(missions: Missions, { from, to }: { from: number; to: number }): Generator<Read> {
  const { journal } = missionsLayout(missions.dir);
  let next = from;
  for (let tries = 1; ; tries += 1) {
    try {
      for (const record of readSegments(journal, { fromLsn: next })) {
        if (record.lsn > to) return;
        next = record.lsn + 1;
        yield record;
      }
      return;
    } catch (error) {
      if (tries >= 3 || !hasCode(error, 'ENOENT')) throw error;
    }
  }
}

/** P1. Without a node everything that is whole counts. */
function durableLsn({ node }: StatusView): number {
  return typeof node['committed_lsn'] === 'number' ? node['committed_lsn'] : Infinity;
}

function isOf({ address }: Read, cellId: string | undefined): boolean {
  if (cellId === undefined || homeCell(address) === cellId) return true;
  return address.startsWith('system/') && address.split('/')[2] === cellId;
}

function toJson({ lsn, address, line }: Read): string {
  const record = decodeRecord(line);
  const { n: seq, p: epoch, t } = record;
  const time = new Date(t).toISOString();
  return JSON.stringify({
    lsn,
    time,
    address,
    seq,
    epoch,
    type: typeOf(record),
    data: dataOf(record),
  });
}

function toText({ address, line }: Read): string {
  const record = decodeRecord(line);
  const time = new Date(record.t).toISOString();
  return `${time} ${address} ${record.n} ${typeOf(record)}  ${brief(detailOf(record), 120)}`.trimEnd();
}

/** An applied event has its own type; what the kernel notes about an actor begins with `actor.`. */
const typeOf = (record: JournalRecord): string =>
  record.k === undefined ? record.e.type : `actor.${record.k}`;

/** The event, or what the kernel noted; a snapshot is told by its size alone. */
function dataOf(record: JournalRecord): JsonObject {
  const { a: _a, n: _n, p: _p, t: _t, u: _u, k: _k, ...rest } = record as unknown as JsonObject;
  const isState = ['snapshot', 'migrated', 'rolled_back'].includes(record.k ?? '');
  if (isState) return { ...rest, e: `${JSON.stringify(rest['e']).length} characters of state` };
  return record.k === undefined ? { ...record.e } : rest;
}

function detailOf(record: JournalRecord): string {
  const [kind, , , agentId] = record.a.split('/');
  const told =
    record.k === undefined && kind === 'cell' ? describeEvent(record.e, agentId) : undefined;
  if (told !== undefined) return told;
  const { type: _, ...data } = dataOf(record);
  return Object.keys(data).length === 0 ? '' : JSON.stringify(data);
}
