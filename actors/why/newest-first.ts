/** All records of the concerned places in the order of time, newest first: the shared journal, then what the cells' copies have beyond it. */
import { copyBackwards, sharedBackwards } from '../../cells/record-places.ts';
import type { PlacedRecord } from '../../cells/record-places.ts';
import { SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import type { Focus } from './explanation.ts';

export interface HistorySource {
  journalFolder: string;
  /** Folders of the cells whose copies hold what has left the shared journal. */
  cellDirs: readonly string[];
  /** Nothing of the shared journal beyond this is shown (P1). */
  toLsn: number;
}

/** Where a cell's records can be once they have left the shared journal; its Lazarus' are the system cell's. */
export function homesOf(
  focus: Focus,
  folderOf: (cellId: string) => string | undefined | null,
): string[] {
  const ids = [SYSTEM_CELL_ID, ...(focus.cell === null ? [] : [focus.cell])];
  return ids.map(folderOf).filter((dir) => typeof dir === 'string');
}

/** The shared journal, then what the copies have beyond it, by time. */
export function* newestFirst({
  journalFolder,
  cellDirs,
  toLsn,
}: HistorySource): Generator<PlacedRecord> {
  yield* sharedBackwards(journalFolder, { toLsn });
  const copies = cellDirs.map((dir) => copyBackwards(dir));
  const heads = copies.map((copy) => copy.next());
  for (;;) {
    let newest = -1;
    for (const [i, head] of heads.entries())
      if (!head.done && (newest < 0 || isNewer(head.value, heads[newest]?.value))) newest = i;
    const head = heads[newest];
    if (head === undefined || head.done) return;
    yield head.value;
    heads[newest] = (copies[newest] as Generator<PlacedRecord>).next();
  }
}

function isNewer(a: PlacedRecord, b: PlacedRecord | undefined | void): boolean {
  if (!b) return true;
  const [at, bt] = [timeOf(a.line), timeOf(b.line)];
  return at > bt || (at === bt && a.lsn > b.lsn);
}

const timeOf = (line: string): number => Number(/,"t":(\d+)/.exec(line.slice(0, 500))?.[1] ?? 0);
