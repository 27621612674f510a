/** What is wrong with a file of the inventory, found while it is read: each thing with its place and a way to mend it. */
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';

export const MAX_NAME = 200;
const MAX_PROBLEMS = 20;

export interface InventoryProblem {
  /** Relative to the inventory: `hosts/vps/services.yaml`; or `NODE_ALIAS_MAP`. */
  file: string;
  /** JSON pointer to the offending place. */
  pointer: string;
  message: string;
  fix: string;
}

/** A name in a list of names, as it is written. */
export interface Need {
  text: string;
  pointer: string;
}

/** What is found out about one file. */
export class Findings {
  readonly #file: string;
  readonly problems: InventoryProblem[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  add(pointer: string, message: string, fix: string): void {
    if (this.problems.length < MAX_PROBLEMS)
      this.problems.push({ file: this.#file, pointer, message, fix });
  }

  /** Null: it is not there, or no flag. */
  flag(given: JsonObject, key: string, pointer: string): boolean | null {
    const value = own(given, key);
    if (value === undefined || value === null || typeof value === 'boolean') return value ?? null;
    const message = `${key} must be true or false, not ${kindOf(value)}`;
    this.add(`${pointer}/${key}`, message, `Write \`${key}: true\` or \`${key}: false\`.`);
    return null;
  }

  /** A name or a list of names. */
  texts(given: JsonObject, key: string, pointer: string, max: number): Need[] {
    const value = own(given, key);
    if (value === undefined || value === null) return [];
    const at = `${pointer}/${key}`;
    const isList = Array.isArray(value);
    const list = isList ? value : [value];
    if (list.length > max) this.add(at, `${key} has ${list.length} names`, `Write at most ${max}.`);
    return list.slice(0, max).flatMap((text, i): Need[] => {
      const place = isList ? `${at}/${i}` : at;
      if (typeof text === 'string' && text.length <= 2 * MAX_NAME + 1 && text !== '')
        return [{ text, pointer: place }];
      const message = `${key} takes a name or a list of names, not ${kindOf(text)}`;
      this.add(place, message, `Write for example \`${key}: [one, other]\`.`);
      return [];
    });
  }
}

const own = (given: JsonObject, key: string): JsonValue | undefined =>
  Object.hasOwn(given, key) ? given[key] : undefined;

export const shown = (name: unknown): string => plainText(String(name), 60);

export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return value === '' ? "''" : `the text '${shown(value)}'`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return 'a map';
}
