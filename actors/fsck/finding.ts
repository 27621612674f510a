/** What `fsck` finds, and what of it can be mended without risk. */
import type { JsonValue } from '../../machines/json.ts';

/**
 * error: a promise is broken, or a start will hold something; warning: nothing is lost, but somebody should look; note:
 * worth knowing, and the next start sees to it.
 */
export type Severity = 'error' | 'warning' | 'note';

export interface Finding {
  severity: Severity;
  /** Stable name of this kind of finding. */
  code: string;
  what: string;
  /** A file, where useful with a place in it; or the address of an actor. */
  where: string;
  means: string;
  todo: string;
  cell_id: string | null;
  /** What `--repair` did about it; null: nothing. */
  repaired: string | null;
}

export type Found = Omit<Finding, 'cell_id' | 'repaired'> & { cell_id?: string | null };

/** Mends one finding and says what it did. Throws when it could not. */
export type Repair = () => string | Promise<string>;

export interface Listed extends Finding {
  repair?: Repair;
}

/** Findings of one kind that are told one by one; of more only the number (P8). */
const MAX_OF_A_KIND = 100;

/** What stands in somebody's file, as it stands there. */
export const plain = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');

export class Findings {
  readonly list: Listed[] = [];
  readonly #counts = new Map<string, number>();

  add(found: Found, repair?: Repair): void {
    const count = (this.#counts.get(found.code) ?? 0) + 1;
    this.#counts.set(found.code, count);
    if (count > MAX_OF_A_KIND) return;
    const finding = { cell_id: null, ...found, repaired: null };
    this.list.push(repair ? { ...finding, repair } : finding);
  }

  /** By code: how many more there are than told. */
  untold(): Record<string, number> {
    const more = [...this.#counts].filter(([, count]) => count > MAX_OF_A_KIND);
    return Object.fromEntries(more.map(([code, count]) => [code, count - MAX_OF_A_KIND]));
  }
}
