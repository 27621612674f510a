/**
 * `lazarus why <what>`: the answer first, in a sentence or two; then what holds and which file says so, what happens next
 * and when, what a person can do; then the chain of causes from the journal, with the place of every record.
 *
 * Y1 With a node up, the state is the node's committed one and the files are read only as far as it has committed (P1).
 * Y2 Nothing is written, no lock is taken; a copy of a missions folder serves as well as the folder itself.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { decodeRecord } from '../actors/records.ts';
import type { Explanation, PolicyFact } from '../actors/why/explanation.ts';
import { historyOf } from '../actors/why/history.ts';
import type { Happened, History } from '../actors/why/history.ts';
import { homesOf } from '../actors/why/newest-first.ts';
import { redacted } from '../actors/why/words.ts';
import { hasCode, readInside } from '../cells/inside.ts';
import { missionsLayout } from '../cells/layout.ts';
import { lineOfPointer, MAX_FILE_BYTES } from '../cells/parse-json.ts';
import { recordAt } from '../cells/record-places.ts';
import type { PlacedRecord } from '../cells/record-places.ts';
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { read } from './access.ts';
import { act, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';

/** As the verb answers it. */
type Told = Explanation & { running: boolean; committed_lsn: number | null };

const DEFAULT_LIMIT = 40;
const MAX_LIMIT = 1000;
/** Longer data is told by its size, but for a record that was asked for by itself. */
const MAX_DATA = 4000;

export function command(): Command {
  const why = verb(
    'why',
    'Why something is as it is, what happens next and when, what it needs from you.',
    'lazarus why build\nlazarus why 5c0e6e08/build --json\nlazarus why cell/5c0e6e08/agent/writer\nlazarus why /var/missions/.lazarus/journal/000000000001.wal:12',
  )
    .argument(
      '<what>',
      'a task, agent, mission, revival or action, a service of the homelab (<host>/<service>), the address of an actor, the key of an effect, a record: <address>#<seq> or <file>:<n>',
    )
    .option('--limit <count>', 'records told at most', String(DEFAULT_LIMIT));
  return act<{ limit: string }>(why, async ([what = ''], flags) => {
    const missions = chooseMissions(flags.missions);
    const limit = limitOf(flags.limit);
    const single = recordNamed(what);
    const subject = single ? `${single.address}#${decodeRecord(single.line).n}` : what;
    const told = (await read(missions, 'why', { subject })) as unknown as Told;
    const history = historyIn(missions, told, limit);
    const policies = told.policies.map((policy) => ({
      ...policy,
      line: lineIn(told.path, policy),
    }));
    if (told.kind === 'revival' && told.story.length === 0) told.story = storyIn(missions, told.id);
    const record = told.kind === 'record' ? wholeRecord(history, told.id) : null;
    const result = { ...told, policies, record, history: bounded(history) };
    show(flags, result as unknown as JsonValue, () =>
      linesOf({ ...told, policies }, history, record),
    );
  });
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new RuntimeError(`--limit ${text} is not a number from 1 to ${MAX_LIMIT}`, {
    code: 'INVALID_ARGUMENT',
    hint: `Without it ${DEFAULT_LIMIT} records are told.`,
  });
}

/** `<file>:<n>` as this verb prints it. */
function recordNamed(what: string): PlacedRecord | undefined {
  const match = /^(.+\.wal):([1-9]\d{0,8})$/.exec(what);
  if (match === null) return undefined;
  const [, file = '', n] = match;
  const hint = 'Places are printed by `lazarus why` behind each record.';
  if (!existsSync(file))
    throw new RuntimeError(`there is no file ${file}; it may have been compacted since`, {
      code: 'NOT_FOUND',
      hint,
    });
  const found = recordAt(resolve(file), Number(n));
  if (found) return found;
  throw new RuntimeError(`${file} has no record ${n}`, { code: 'NOT_FOUND', hint });
}

function historyIn(missions: Missions, { focus, path, committed_lsn }: Told, limit: number) {
  const system = join(missions.dir, SYSTEM_CELL_ID);
  const dirs = homesOf(focus, (cellId) => (cellId === SYSTEM_CELL_ID ? system : path));
  const source = {
    journalFolder: missionsLayout(missions.dir).journal,
    cellDirs: dirs.filter((dir) => existsSync(dir)),
    toLsn: committed_lsn ?? Infinity,
  };
  return historyOf(source, focus, limit);
}

/** Where in its file a policy stands; null when it is none of a file's, or the file says something else by now. */
function lineIn(cellDir: string | null, { path, pointer }: PolicyFact): number | null {
  if (cellDir === null || path === null || pointer === null) return null;
  try {
    const text = readInside(cellDir, path, { maxBytes: MAX_FILE_BYTES }).toString('utf8');
    return lineOfPointer(text, pointer);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'FILE_INVALID', 'PATH_ESCAPES_CELL', 'EACCES')) return null;
    throw error;
  }
}

/** Of a request that is over: its last line in the ledger. */
function storyIn(missions: Missions, revivalId: string): string[] {
  const { revivalLedger } = missionsLayout(missions.dir);
  for (const file of [revivalLedger, `${revivalLedger}.1`]) {
    if (!existsSync(file)) continue;
    const mark = `"revival_id":${JSON.stringify(revivalId)}`;
    const line = readFileSync(file, 'utf8')
      .split('\n')
      .findLast((text) => text.includes(mark));
    if (line === undefined) continue;
    try {
      const { story } = JSON.parse(line) as { story?: string[] };
      return [...(story ?? []), `(${file})`];
    } catch {
      return [`(its line in ${file} cannot be read)`];
    }
  }
  return [];
}

function wholeRecord({ records }: History, id: string): JsonValue {
  const found = records.find(({ address, seq }) => `${address}#${seq}` === id);
  const line = found && recordAt(found.place.file, found.place.record)?.line;
  return line === undefined ? null : redacted(JSON.parse(line) as JsonValue);
}

function bounded(history: History): History {
  const records = history.records.map((record) => {
    const { length } = JSON.stringify(record.data);
    return length <= MAX_DATA ? record : { ...record, data: `${length} characters` };
  });
  return { ...history, records };
}

// ---- for people --------------------------------------------------------------------------------------------------------

type WithLines = Omit<Told, 'policies'> & { policies: (PolicyFact & { line: number | null })[] };

function linesOf(told: WithLines, history: History, record: JsonValue): string[] {
  const { facts, policies, next, needs, story, running } = told;
  const shown = policies.filter(({ decided, origin }) => decided || origin !== 'default');
  return [
    paint('bold', brief(told.answer, 600)),
    ...section(
      'What is known',
      facts.map(({ name, value }) => [name, brief(textOf(value), 160)]),
    ),
    ...section('Policies that hold', shown.map(policyRow)),
    ...section(
      'What happens next',
      next.map(({ at, what }) => [at ?? '', brief(what, 160)]),
    ),
    ...section(
      'What you can do',
      needs.map(({ what, command: line }) => [line ?? '', brief(what, 160)]),
    ),
    ...section(
      "Lazarus' own notes",
      story.map((line) => [brief(line, 200)]),
    ),
    ...(record === null ? [] : ['', paint('bold', 'The record'), JSON.stringify(record, null, 2)]),
    ...chainLines(history),
    ...(running ? [] : ['', 'No node runs here: nothing moves until `lazarus up`.']),
  ];
}

const textOf = (value: JsonValue): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

function section(title: string, rows: string[][]): string[] {
  return rows.length === 0 ? [] : ['', paint('bold', title), ...table(['', ''], rows).slice(1)];
}

function policyRow({ name, value, origin, path, line, decided }: WithLines['policies'][number]) {
  const where = path === null || line === null ? origin : `${path}:${line}`;
  return [name, brief(textOf(value), 80), where, decided ? 'decided this' : ''];
}

function chainLines({ records, more, dropped_before: dropped }: History): string[] {
  const lines = ['', paint('bold', 'What led to it (oldest first)')];
  if (more) lines.push(paint('dim', '  (older records are left out; --limit shows more)'));
  if (dropped !== null)
    lines.push(
      paint('yellow', `  Older records were dropped: the history on disk begins ${dropped}`),
    );
  if (records.length === 0) lines.push('  Nothing of it is in the journal.');
  else lines.push(...table(['', '', '', '', ''], records.map(rowOf)).slice(1));
  if (records.length > 0)
    lines.push(
      paint(
        'dim',
        '  A place is <file>:<record>; `lazarus why <file>:<record>` prints the record.',
      ),
    );
  return lines;
}

function rowOf(record: Happened): string[] {
  const { at, who, text, origin, cause, lost_cause: isLost, place } = record;
  const from = isLost
    ? `[caused by ${cause}, no longer on disk]`
    : origin === null || origin === 'runtime'
      ? ''
      : `[${origin}]`;
  return [
    at,
    brief(who, 30),
    `${brief(text, 110)}${from === '' ? '' : ` ${from}`}`,
    `${place.file}:${place.record}`,
  ];
}
