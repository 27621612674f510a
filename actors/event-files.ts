/**
 * Event files of planner and supervisor: each written whole and durable, never over another one, and only once however often
 * the effect behind it runs.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isLeftover, syncFolder, writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import { RuntimeError } from '../machines/errors.ts';
import { escapeUnseen } from '../machines/plain-text.ts';
import type { EventFile } from '../machines/remediation-event.ts';

/** Events of one name in one second. */
const MOST = 1000;

/** The path of the file that says it: one that an earlier try wrote, or a new one. `restarted`: there may have been one. */
export async function writeEventFile(
  { folder, name, content }: EventFile,
  { events, restarted }: { events: string; restarted: boolean },
): Promise<string> {
  const text = `${escapeUnseen(JSON.stringify(content, null, 2))}\n`;
  const parent = join(events, folder);
  await makeFolder(events, parent);
  if (restarted) removeHalf(parent, name);
  for (let serial = 1; serial <= MOST; serial += 1) {
    const path = join(parent, `${name}${serial > 1 ? `-${serial}` : ''}.json`);
    const there = textOf(path);
    if (there === text) return path;
    if (there !== undefined) continue;
    const onlyIf = (): boolean => textOf(path) === undefined;
    if (await writeWhole(path, text, { sync: true, what: 'event-file', onlyIf })) return path;
  }
  throw new RuntimeError(`${parent} has ${MOST} events called ${name}`, { code: 'CONFLICT' });
}

/** Two folders deep at most, both durable by name. */
async function makeFolder(root: string, folder: string): Promise<void> {
  if (mkdirSync(folder, { recursive: true }) === undefined) return;
  await syncFolder(dirname(folder));
  await syncFolder(root);
}

/** What a process that was killed had begun to write. */
function removeHalf(folder: string, name: string): void {
  for (const entry of readdirSync(folder))
    if (entry.startsWith(`.${name}`) && isLeftover(entry))
      rmSync(join(folder, entry), { force: true });
}

/** Undefined: nothing is there. What cannot be read is somebody else's. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    if (hasCode(error, 'EISDIR', 'EACCES', 'ELOOP')) return '';
    throw error;
  }
}
