/**
 * The folders of `actions/`, in memory: moves and writing as actors/actions/action-moves.ts has them, and people who move the
 * same files without asking.
 */
import { hasTransition, isSameProposal, withTransition } from '../../machines/action-file.ts';
import type { Moved, MoveInput } from '../../machines/action-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { hashOf } from './action.ts';

export interface ActionOnDisk {
  id: string;
  status: ActionStatus;
  content: JsonObject;
  /** Epoch ms: since when it stands there. */
  movedAt: number;
  /** Half a file: nobody can read it. */
  isGarbled: boolean;
}

const hashes = new WeakMap<JsonObject, string>();
/** Contents are never changed, but replaced. */
export function hashOnce(content: JsonObject): string {
  const known = hashes.get(content) ?? hashOf(content);
  hashes.set(content, known);
  return known;
}

export class SimulatedFiles {
  readonly all = new Map<string, ActionOnDisk>();
  /** Called after every change that is none of a move of ours. */
  onChange: (id: string) => void = () => {};
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  list(...folders: ActionStatus[]): ActionOnDisk[] {
    return [...this.all.values()].filter(({ status }) => folders.includes(status));
  }

  /** By a person, or another program. */
  put(id: string, status: ActionStatus, content: JsonObject): void {
    this.#put(id, status, content);
    this.onChange(id);
  }
  remove(id: string): void {
    this.all.delete(id);
    this.onChange(id);
  }
  garble(id: string, isGarbled: boolean): void {
    const file = this.all.get(id);
    if (file) this.all.set(id, { ...file, isGarbled });
    this.onChange(id);
  }

  #put(id: string, status: ActionStatus, content: JsonObject): void {
    this.all.set(id, { id, status, content, movedAt: this.#now(), isGarbled: false });
  }

  place(id: string): Moved['place'] {
    const file = this.all.get(id);
    return file === undefined
      ? null
      : { status: file.status, content: file.content, sha256: hashOnce(file.content) };
  }

  write(id: string, content: JsonObject): Moved {
    const known = this.all.get(id);
    const written = hashOf(content);
    if (known === undefined) this.#put(id, 'pending', content);
    else if (known.isGarbled || !isSameProposal(content, known.content)) {
      const reason = 'another action has this id';
      return { outcome: 'elsewhere', place: this.place(id), reason, written };
    }
    return { outcome: 'moved', place: this.place(id), reason: null, written };
  }

  /** `whyNot`: asked in the moment in which the file would appear. Throws where it cannot be read. */
  move(
    { actionId: id, move, content }: MoveInput,
    key: string,
    whyNot: () => string | undefined,
  ): Moved {
    const { from, to, sha256, entry, set } = move;
    const file = this.all.get(id);
    if (file !== undefined && hasTransition(file.content, key))
      return { outcome: 'moved', place: this.place(id), reason: null };
    if (file?.status !== from) {
      if (file === undefined && content !== undefined)
        this.#put(id, to, withTransition(content, { ...entry, key }, set));
      return { outcome: 'elsewhere', place: this.place(id), reason: 'it stands elsewhere' };
    }
    if (file.isGarbled) throw new Error(`the file of action ${id} cannot be read`);
    const place = this.place(id);
    if (sha256 !== null && place?.sha256 !== sha256)
      return { outcome: 'changed', place, reason: 'it was changed meanwhile' };
    const withheld = whyNot();
    if (withheld !== undefined) return { outcome: 'withheld', place, reason: withheld };
    this.#put(id, to, withTransition(file.content, { ...entry, key }, set));
    return { outcome: 'moved', place: this.place(id), reason: null };
  }
}
