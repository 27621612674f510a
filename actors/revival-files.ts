/**
 * The requests for people under `<missions>/.lazarus/revivals/`, one file each: written to `pending/` when a person is
 * asked, moved to `approved/`, `rejected/` or `expired/` when it is answered or lapses, by whichever door. The truth is in
 * the journal; a file is how it is shown, and moving it is one way to answer.
 *
 * R1 An answered request stands in one folder. It is whole there before it goes from where it was.
 * R2 Each folder of answered requests keeps the newest 1,000.
 * R3 A person may move a new request in the moment it appears: nothing of it is touched after that.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeWhole } from '../cells/durable.ts';
import type { MissionsLayout } from '../cells/layout.ts';
import { ID_PATTERN } from '../machines/addresses.ts';
import type { LedgerEntry } from '../machines/lazarus-context.ts';

export type RevivalFolder = keyof MissionsLayout['revivals'];

const FOLDERS: readonly RevivalFolder[] = ['pending', 'approved', 'rejected', 'expired'];
const KEPT = 1000;

export interface RevivalName {
  cellId: string;
  agentId: string;
  revivalId: string;
}

/** `<cell_id>.<agent_id>.<n>`; null when it is not the id of a revival. */
export function parseRevivalId(revivalId: string): RevivalName | null {
  const [cellId = '', agentId = '', count = '', ...rest] = revivalId.split('.');
  const isOne =
    ID_PATTERN.test(cellId) && ID_PATTERN.test(agentId) && /^[1-9]\d{0,15}$/.test(count);
  return isOne && rest.length === 0 ? { cellId, agentId, revivalId } : null;
}

export class RevivalFiles {
  readonly folders: MissionsLayout['revivals'];

  constructor(folders: MissionsLayout['revivals']) {
    this.folders = folders;
  }

  makeFolders(): void {
    for (const folder of FOLDERS) mkdirSync(this.folders[folder], { recursive: true, mode: 0o700 });
  }

  /** R1. Idempotent: a crash in the middle leaves two files, and the next call one. Nothing for one nobody was asked about. */
  async place(entry: LedgerEntry): Promise<void> {
    if (!entry.asked || parseRevivalId(entry.revival_id) === null) return;
    this.makeFolders();
    const folder = folderOf(entry);
    if (folder === 'pending') {
      for (const other of FOLDERS)
        if (other !== folder) rmSync(this.path(other, entry.revival_id), { force: true }); // R3
      await this.#write(folder, entry);
      return;
    }
    await this.#write(folder, entry); // R1
    rmSync(this.path('pending', entry.revival_id), { force: true });
    rmSync(`${this.path(folder, entry.revival_id)}.error`, { force: true });
    this.#trim(folder);
  }

  /** A question whose file is gone is shown again. R3: nothing else is touched. */
  async putBack(entry: LedgerEntry): Promise<void> {
    this.makeFolders();
    await this.#write('pending', entry);
  }

  path(folder: RevivalFolder, revivalId: string): string {
    return join(this.folders[folder], `${revivalId}.json`);
  }

  /** Ids of the requests that stand in a folder; none when it does not exist. */
  list(folder: RevivalFolder): string[] {
    return namesIn(this.folders[folder]).map((name) => name.slice(0, -'.json'.length));
  }

  #write(folder: RevivalFolder, entry: LedgerEntry): Promise<boolean> {
    const text = `${JSON.stringify(forPeople(entry), null, 2)}\n`;
    const path = this.path(folder, entry.revival_id);
    return writeWhole(path, text, { sync: true, mode: 0o600, what: 'revival-request' });
  }

  /** R2. */
  #trim(folder: RevivalFolder): void {
    const names = namesIn(this.folders[folder]);
    if (names.length <= KEPT) return;
    const aged = names.map((name) => {
      const path = join(this.folders[folder], name);
      return { path, at: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 };
    });
    aged.sort((a, b) => a.at - b.at);
    for (const { path } of aged.slice(0, names.length - KEPT)) rmSync(path, { force: true });
  }
}

function folderOf({ outcome, answered }: LedgerEntry): RevivalFolder {
  if (outcome === 'asking') return 'pending';
  if (answered === null) return 'expired';
  return answered === 'give_up' ? 'rejected' : 'approved';
}

function forPeople(request: LedgerEntry): object {
  const { asked: _, earlier, ...entry } = request;
  const { outcome, revival_id: id } = entry;
  if (outcome !== 'asking') return entry;
  const { substitute: __, ...open } = entry; // who answers by the file writes it, and it must not stand there twice
  return {
    ...open,
    earlier,
    how_to_answer: [
      'move this file to ../approved/ to bring the agent back, or to ../rejected/ to leave it;',
      'in ../approved/, "choice" may say another of the choices, with "substitute": "<agent>" for that one;',
      `or run one of the commands under "choices"; \`lazarus why ${id}\` tells the whole story`,
    ].join(' '),
  };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
