/**
 * `state/autonomy.json`: what classes of actions have earned, for people to read, and to take back by editing it. The journal is
 * the truth; the file is written after it.
 *
 * A1 An edit only ever takes away: `"revoked": true` ends what was earned, a line that is removed begins with nothing. More
 *    successes than are known are not believed, and the file is written as it is.
 * A2 A file that cannot be understood takes nothing away and is not written over, so that nobody's edit is lost: it is said.
 * A3 Only lines that we wrote can be missing: an edit is told from a file that was there before us.
 * A4 A file that is gone takes nothing away: it is written anew. One that cannot be written keeps nothing else from its work.
 * A5 What has earned nothing yet can be taken back too. A line that takes back what is no class of actions is not passed over in
 *    silence: its writer means something.
 */
import { basename, dirname } from 'node:path';
import { toPlainError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { isoOrNull } from '../../machines/time.ts';
import { ACTING_REMEDIES } from '../../machines/supervision.ts';
import type { Earned } from '../../machines/supervision.ts';
import { MAX_CLASSES } from '../../machines/autonomy.ts';
import type { Ledger } from '../../machines/autonomy.ts';
import { readIfThere } from '../../cells/inside.ts';
import { stampOf } from '../../cells/whole-file.ts';
import { writeWhole } from '../../cells/durable.ts';

export interface AutonomyEdit {
  kind: 'revoked' | 'cleared';
  class: string;
}

const MAX_BYTES = 16 * 1024 * 1024;
/** Of a remedy, a host and a service. */
const MAX_CLASS_LENGTH = 430;
const MAX_SHOWN = 60;

export class AutonomyFile {
  readonly #path: string;
  /** As we wrote it last, or found it when we began. */
  #text: string | undefined;
  #ledger: Ledger | undefined;
  /** What was found, until that is told. */
  #taken: string | undefined;
  #seen: string | null = null;
  /** A2. */
  #misread: string | null = null;
  /** A4. */
  #unwritten: string | null = null;
  /** A5. */
  #notTaken: string | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  get problem(): string | null {
    return this.#misread ?? this.#unwritten ?? this.#notTaken;
  }

  /** Somebody else changed it since it was looked at. */
  isNews(): boolean {
    return this.#stamp() !== this.#seen;
  }

  /** What people changed since it was written last. */
  edits(ledger: Ledger): AutonomyEdit[] {
    this.#taken = undefined;
    this.#seen = this.#stamp(); // first: what changes from here on is news
    const text = this.#read();
    if (text === undefined) {
      this.#ledger = undefined; // A4
      this.#notTaken = null;
      return [];
    }
    if (text === this.#text) return [];
    const lines = this.#parse(text);
    if (lines === undefined) return []; // A2
    const isOurs = this.#text !== undefined;
    this.#taken = text;
    const known = Object.entries(ledger).flatMap(([name, { revokedBy }]): AutonomyEdit[] => {
      const line = Object.hasOwn(lines, name) ? lines[name] : undefined;
      if (line === undefined) return isOurs ? [{ kind: 'cleared', class: name }] : []; // A3
      return isRevoked(line) && revokedBy === null ? [{ kind: 'revoked', class: name }] : [];
    });
    return [...known, ...this.#aheadOfTime(lines, ledger)];
  }

  /** A5. */
  #aheadOfTime(lines: JsonObject, ledger: Ledger): AutonomyEdit[] {
    const names = Object.keys(lines).filter(
      (name) => !Object.hasOwn(ledger, name) && isRevoked(lines[name]),
    );
    const taken = names.filter(isClass).slice(0, MAX_CLASSES - Object.keys(ledger).length);
    const isTaken = new Set(taken);
    const first = names.find((name) => !isTaken.has(name));
    this.#notTaken =
      first === undefined
        ? null
        : `${this.#path}: ${JSON.stringify(first.slice(0, MAX_SHOWN))} takes nothing back: ` +
          (isClass(first)
            ? 'there is no room for more'
            : `write one of ${ACTING_REMEDIES.join(', ')}, a space, and <host>/<service>`);
    return taken.map((name) => ({ kind: 'revoked', class: name }));
  }

  /** When what was changed has been told to whom it concerns. */
  async write(ledger: Ledger): Promise<void> {
    if (this.#taken !== undefined) {
      this.#text = this.#taken;
      this.#taken = undefined;
      this.#ledger = undefined; // it is written anew
    }
    if (this.#ledger === ledger || this.#misread !== null) return;
    const text = `${JSON.stringify(shown(ledger), null, 2)}\n`;
    const before = this.#read();
    const isEdited = before !== undefined && this.#text !== undefined && before !== this.#text;
    if (isEdited || this.#misread !== null) return; // it is looked at first
    try {
      if (before !== text && (before !== undefined || Object.keys(ledger).length > 0))
        await writeWhole(this.#path, text, { sync: true, what: 'autonomy-file' });
      this.#seen = this.#stamp();
      this.#unwritten = null;
    } catch (error) {
      this.#unwritten = `${this.#path} cannot be written: ${String(error)}`;
      return;
    }
    this.#text = text;
    this.#ledger = ledger;
  }

  /** Null: it is not there, or cannot be asked for. */
  #stamp(): string | null {
    try {
      return stampOf(this.#path)?.key ?? null;
    } catch {
      return null; // the reading says why
    }
  }

  /** Undefined: it is gone, or (A2) cannot be read. */
  #read(): string | undefined {
    try {
      const path = this.#path;
      const bytes = readIfThere(dirname(path), basename(path), { maxBytes: MAX_BYTES });
      this.#misread = null;
      return bytes?.toString();
    } catch (error) {
      this.#misread = `${this.#path} cannot be read: ${toPlainError(error).message}`;
      return undefined;
    }
  }

  #parse(text: string): JsonObject | undefined {
    try {
      const value: unknown = JSON.parse(text);
      if (isJsonObject(value)) return value;
      this.#misread = `${this.#path} holds no object`;
    } catch (error) {
      this.#misread = `${this.#path} is no JSON: ${String(error)}`;
    }
    return undefined;
  }
}

const isRevoked = (line: JsonValue | undefined): boolean =>
  isJsonObject(line) && line['revoked'] === true;

const isClass = (name: string): boolean =>
  name.length <= MAX_CLASS_LENGTH &&
  ACTING_REMEDIES.some(
    (remedy) => name.startsWith(`${remedy} `) && name.length > remedy.length + 1,
  );

const shown = (ledger: Ledger): JsonObject =>
  Object.fromEntries(
    Object.entries(ledger)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, earned]) => [name, earnedView(earned)]),
  );

export const earnedView = ({
  successes,
  lastSuccessAt,
  lastFailureAt,
  revokedBy,
}: Earned): JsonObject => ({
  successes,
  last_success: isoOrNull(lastSuccessAt),
  last_failure: isoOrNull(lastFailureAt),
  revoked: revokedBy !== null,
  revoked_by: revokedBy,
});
