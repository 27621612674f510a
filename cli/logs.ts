/** `lazarus logs [cell] [agent]`: the logs that the runtime writes for people, as they are. */
import type { Command } from 'commander';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveCell, resolveMember } from '../actors/verbs/ids.ts';
import type { StatusView } from '../actors/status.ts';
import { cellPath, encodeName } from '../cells/layout.ts';
import type { JsonObject } from '../machines/json.ts';
import { act, verb } from './command.ts';
import { FileTail } from './file-tail.ts';
import { chooseMissions } from './missions.ts';
import { DONE, print, printable, show } from './output.ts';
import { onStop } from './signals.ts';
import { readStatus } from './status.ts';

const INTERVAL_MS = 200;
/** How often a log that is followed is looked for in new missions. */
const LOOK_EVERY = 10;

interface LogFlags {
  follow?: boolean;
  lines: string;
}

export function command(): Command {
  const logs = verb(
    'logs',
    'What happened, for people: of all missions, of one, or of one agent (with what its steps put out).',
    'lazarus logs -f\nlazarus logs 5c0e6e08 writer_1',
  )
    .argument('[cell]', 'a mission, or <cell_id>/<agent_id>')
    .argument('[agent]', 'an agent of it')
    .option('-f, --follow', 'go on as lines come')
    .option('-n, --lines <count>', 'begin with the last lines of each log', '200');
  return act<LogFlags>(logs, async ([cell, agent], flags) => {
    const missions = chooseMissions(flags.missions);
    const choose = async (): Promise<Source[]> =>
      sourcesOf(await readStatus(missions), cell, agent);
    const tails = new Map<string, Tail>();
    addNew(tails, await choose(), Math.max(0, Number(flags.lines) || 0));
    const lines = [...tails.values()].flatMap(readTail).toSorted(byTime);
    if (!flags.follow) {
      show(flags, { lines: lines.map(toJson) }, () =>
        lines.map((line) => toText(line, tails.size)),
      );
      return DONE;
    }
    onStop(() => process.exit(DONE));
    const tell = (line: Line): void =>
      print(flags.json ? JSON.stringify(toJson(line)) : toText(line, tails.size));
    lines.forEach(tell);
    for (let round = 1; ; round += 1) {
      await sleep(INTERVAL_MS);
      if (agent === undefined && round % LOOK_EVERY === 0) addNew(tails, await choose(), Infinity);
      [...tails.values()].flatMap(readTail).toSorted(byTime).forEach(tell);
    }
  });
}

interface Source {
  cellId: string;
  agentId: string | null;
  path: string;
}
type Tail = Source & { tail: FileTail };
type Line = Source & { text: string; time: string };

/** Throws NOT_FOUND, AMBIGUOUS_ID. */
function sourcesOf(view: StatusView, cell?: string, agent?: string): Source[] {
  if (cell === undefined) return view.cells.flatMap((known) => sourceOf(known, null));
  if (agent === undefined && !cell.includes('/')) return sourceOf(resolveCell(view, cell), null);
  const member = resolveMember(view, 'agent', agent === undefined ? cell : `${cell}/${agent}`);
  return sourceOf(resolveCell(view, member.cellId), member.id);
}

function sourceOf(
  { cell_id: cellId, path }: StatusView['cells'][number],
  agentId: string | null,
): Source[] {
  if (path === null) return [];
  const log = agentId === null ? cellPath.missionLog : cellPath.agentLog(encodeName(agentId));
  return [{ cellId, agentId, path: join(path, log) }];
}

function addNew(tails: Map<string, Tail>, sources: readonly Source[], lastLines: number): void {
  for (const source of sources)
    if (!tails.has(source.path))
      tails.set(source.path, { ...source, tail: new FileTail(source.path, lastLines) });
}

/** Lines without a time of their own (a step's output) belong to the line before them. */
function readTail({ tail, ...source }: Tail): Line[] {
  let time = '';
  return tail.read().map((text) => {
    time = /^\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(text)?.[0] ?? time;
    return { ...source, text, time };
  });
}

const byTime = (a: Line, b: Line): number => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0);

function toJson({ cellId, agentId, time, text }: Line): JsonObject {
  const body = text.startsWith(time) ? text.slice(time.length).trimStart() : text;
  return { time: time || null, cell_id: cellId, agent_id: agentId, text: body };
}

function toText({ cellId, text }: Line, sources: number): string {
  return printable(sources > 1 ? `${cellId.slice(0, 8)} ${text}` : text);
}
