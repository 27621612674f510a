/** The revival ledger and the requests for people: every line a whole entry, every request in one folder, and the open ones those that Lazarus asks. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '../../cells/inside.ts';
import { REVIVAL_STATES } from '../../cells/layout.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { LazarusContext } from '../../machines/lazarus-context.ts';
import type { ActorState } from '../fold.ts';
import { plain } from './finding.ts';
import type { Findings } from './finding.ts';
import { readText } from './world.ts';
import type { World } from './world.ts';

export function checkRevivals(world: World, findings: Findings): void {
  const { revivalLedger } = world.layout;
  const keys = new Set<string>();
  for (const file of [`${revivalLedger}.1`, revivalLedger])
    checkLedger(file, { world, findings, keys });
  checkRequests(world, findings);
}

const FIELDS = ['revival_id', 'cell_id', 'agent_id', 'status', 'requested_at'] as const;

function checkLedger(
  file: string,
  { world, findings, keys }: { world: World; findings: Findings; keys: Set<string> },
): void {
  const text = readText(file);
  if (text === undefined) return;
  const lines = text.split('\n');
  const isCut = lines.at(-1) !== '';
  if (!isCut) lines.pop();
  for (const [index, line] of lines.entries()) {
    const where = `${file}:${index + 1}`;
    const entry = parse(line);
    const isLast = isCut && index === lines.length - 1;
    if (entry === undefined) {
      const isCutOff = isLast || lines[index + 1]?.startsWith(line) === true; // and written again behind it
      if (!(isLast && world.isUp)) unreadable(findings, where, isCutOff);
      continue;
    }
    const missing = FIELDS.filter((field) => typeof entry[field] !== 'string');
    if (missing.length > 0) unreadable(findings, where, false, `${missing.join(', ')} missing`);
    const key = entry['key'];
    if (typeof key !== 'string') continue;
    if (keys.has(key)) twice(findings, where, key);
    keys.add(key);
  }
}

function unreadable(findings: Findings, where: string, isCutOff: boolean, why = 'not JSON'): void {
  findings.add({
    severity: isCutOff ? 'note' : 'warning',
    code: 'ledger-line',
    what: `the line of the revival ledger cannot be read: ${why}`,
    where,
    means: isCutOff
      ? 'It was being written when the node ended; the next start writes it again on a line of its own.'
      : 'It was changed by hand, or the disk lost it. The journal has what happened.',
    todo: 'Nothing; `lazarus why <agent>` tells the story.',
  });
}

function twice(findings: Findings, where: string, key: string): void {
  findings.add({
    severity: 'warning',
    code: 'ledger-twice',
    what: `the ledger has the entry ${key} twice`,
    where,
    means: 'The one outcome was written twice; nothing was done twice.',
    todo: 'Nothing.',
  });
}

function parse(line: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined; // told by the caller, with the place
  }
}

function checkRequests(world: World, findings: Findings): void {
  const seen = new Map<string, string>();
  for (const state of REVIVAL_STATES) {
    const folder = world.layout.revivals[state];
    for (const name of namesIn(folder)) {
      const where = join(folder, name);
      const id = name.slice(0, -'.json'.length);
      const other = seen.get(id);
      seen.set(id, where);
      if (other !== undefined && !world.isUp)
        findings.add({
          severity: 'warning',
          code: 'request-twice',
          what: `request ${id} stands in two folders; the other is ${other}`,
          where,
          means: 'A crash in the middle of a move. The journal has what holds.',
          todo: 'Nothing: the next start leaves one.',
        });
      checkRequest(world, findings, { where, id, isPending: state === 'pending' });
    }
  }
  if (!world.isUp) checkAsked(world, findings, seen);
}

function checkRequest(
  world: World,
  findings: Findings,
  { where, id, isPending }: { where: string; id: string; isPending: boolean },
): void {
  const request = parse(readText(where) ?? '');
  if (request?.['revival_id'] !== id)
    findings.add({
      severity: 'warning',
      code: 'request-unreadable',
      what: 'the request cannot be read, or is named after another one',
      where,
      means: 'A person who looks at it is told something wrong. The journal has what holds.',
      todo: `\`lazarus revivals show ${id}\` tells what is asked.`,
    });
  if (!isPending || world.isUp || request === undefined) return;
  const address = `system/lazarus/${plain(request['cell_id'])}/${plain(request['agent_id'])}`;
  const lazarus = contextOf(world, address);
  if (lazarus?.revivalId === id && lazarus.outcome === 'asking') return;
  findings.add({
    severity: 'warning',
    code: 'request-answered',
    what: `request ${id} is shown as open, and nobody is asked any more`,
    where,
    means:
      'It was answered or lapsed, and the file was not moved. An answer given here is refused.',
    todo: 'Nothing: a start moves it; else remove the file.',
  });
}

/** Every question that Lazarus asks has its file. */
function checkAsked(world: World, findings: Findings, seen: ReadonlyMap<string, string>): void {
  for (const address of world.found.actors.keys()) {
    if (!address.startsWith('system/lazarus/') || !world.isChecked(address)) continue;
    const lazarus = contextOf(world, address);
    if (lazarus?.outcome !== 'asking' || lazarus.revivalId === null) continue;
    if (seen.has(lazarus.revivalId) || isBeingWritten(world, address)) continue;
    findings.add({
      severity: 'warning',
      code: 'request-missing',
      what: `Lazarus asks about revival ${lazarus.revivalId}, and there is no file for it`,
      where: world.layout.revivals.pending,
      means: 'Who looks at the folder alone does not see the question; the status shows it.',
      todo: `Answer it: \`lazarus revivals show ${lazarus.revivalId}\``,
    });
  }
}

function contextOf(world: World, address: string): LazarusContext | undefined {
  return stateOf(world, address)?.snapshot.context as LazarusContext | undefined;
}

/** The effect that writes it has no outcome yet: the next start does it again. */
function isBeingWritten(world: World, address: string): boolean {
  const invokes = Object.values(stateOf(world, address)?.invokes ?? {});
  return invokes.some(({ src }) => src === 'writeLedger' || src === 'fileRequest');
}

function stateOf(world: World, address: string): ActorState | undefined {
  try {
    return world.found.actors.get(address)?.stopped ? undefined : world.fold(address);
  } catch {
    return undefined; // reported with the checkpoints
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}
