/**
 * How steps ended, as their workers wrote it down (P4): every file whole and about the step whose name it bears, what ran
 * is what the records asked for, and no effect has two outcomes.
 */
import { join } from 'node:path';
import { hasCode, listInside, readInside } from '../../cells/inside.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import { plain } from './finding.ts';
import type { Findings } from './finding.ts';
import type { StepArgv } from './replay.ts';
import type { CellPlace, World } from './world.ts';

const LOGS = 'artifacts/logs';
const MAX_BYTES = 64 * 1024;
/** Probes and criteria are asked as often as need be, under the same key. */
const NAME = /^(.+?)(\.(?:probe|criterion))?\.([1-9]\d{0,8})\.outcome\.json$/;

export function checkOutcomes(world: World, findings: Findings, argv: StepArgv): void {
  for (const cell of world.cells) {
    if (cell.cellId === SYSTEM_CELL_ID) continue;
    const keys = new Map<string, string>();
    for (const folder of listInside(cell.dir, LOGS) ?? [])
      if (folder.isDirectory()) checkFolder(cell, findings, { folder: folder.name, keys, argv });
  }
}

function checkFolder(
  cell: CellPlace,
  findings: Findings,
  { folder, keys, argv }: { folder: string; keys: Map<string, string>; argv: StepArgv },
): void {
  for (const { name } of listInside(cell.dir, `${LOGS}/${folder}`) ?? []) {
    const match = NAME.exec(name);
    if (match === null) continue;
    const [, , kind, attempt] = match;
    const path = `${LOGS}/${folder}/${name}`;
    const where = join(cell.dir, path);
    const outcome = readOutcome(cell, path);
    if (typeof outcome === 'string') {
      unreadable(findings, { cell, where, problem: outcome });
      continue;
    }
    if (outcome['attempt'] !== Number(attempt))
      unreadable(findings, {
        cell,
        where,
        problem: `it is about attempt ${plain(outcome['attempt'])}`,
      });
    if (kind === undefined) checkKey(cell, findings, { where, outcome, keys, argv });
  }
}

function readOutcome({ dir }: CellPlace, path: string): JsonObject | string {
  let text: string;
  try {
    text = readInside(dir, path, { maxBytes: MAX_BYTES }).toString('utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'it went while it was read';
    return error instanceof Error ? error.message : String(error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  if (!isJsonObject(value)) return 'it is no object';
  return problemOf(value) ?? value;
}

function problemOf(value: JsonObject): string | undefined {
  const { exit_code: code, signal } = value;
  const isExit = Number.isSafeInteger(code) && signal === null;
  if (!isExit && !(code === null && typeof signal === 'string'))
    return 'it says neither an exit code nor a signal';
  for (const field of ['key', 'argv_sha256', 'started_at', 'finished_at'] as const)
    if (typeof value[field] !== 'string') return `${field} is missing`;
  return undefined;
}

function unreadable(
  findings: Findings,
  { cell, where, problem }: { cell: CellPlace; where: string; problem: string },
): void {
  findings.add({
    severity: 'warning',
    code: 'outcome-unreadable',
    what: `the outcome of a step cannot be believed: ${problem}`,
    where,
    means:
      'Should its step be in flight, it counts as none: the step goes by its `retry`, and may be in doubt.',
    todo: 'Look at the output beside it; a step in doubt stands in `lazarus doubt list`.',
    cell_id: cell.cellId,
  });
}

function checkKey(
  { cellId }: CellPlace,
  findings: Findings,
  {
    where,
    outcome,
    keys,
    argv,
  }: { where: string; outcome: JsonObject; keys: Map<string, string>; argv: StepArgv },
): void {
  const key = plain(outcome['key']);
  if (!key.startsWith(`cell/${cellId}/agent/`))
    return findings.add({
      severity: 'note',
      code: 'outcome-foreign',
      what: `the outcome is of an effect of another cell: ${key}`,
      where,
      means: 'It came with a copied folder and is never believed here.',
      todo: 'Nothing.',
      cell_id: cellId,
    });
  const first = keys.get(key);
  keys.set(key, where);
  if (first !== undefined)
    findings.add({
      severity: 'error',
      code: 'outcome-twice',
      what: `effect ${key} has two outcomes; the other is ${first}`,
      where,
      means: 'The step ran to its end twice (P4).',
      todo: 'Look at what both runs did, keep the files and report it.',
      cell_id: cellId,
    });
  const asked = argv.get(key);
  if (asked !== undefined && asked !== outcome['argv_sha256'])
    findings.add({
      severity: 'error',
      code: 'outcome-argv',
      what: `the outcome of ${key} is that of another command than the records asked for`,
      where,
      means: 'It is not believed: should its step be in flight, it is in doubt.',
      todo: 'Find out who wrote the file.',
      cell_id: cellId,
    });
}
