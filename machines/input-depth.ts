/** How deep input from outside may be nested: no file of a cell and no event needs more, and what recurses must not be led further. */
import { RuntimeError } from './errors.ts';
import { isDeeperThan } from './json.ts';
import type { JsonValue } from './json.ts';

export const MAX_INPUT_DEPTH = 64;

/** Throws INVALID_ARGUMENT. `what`: "the event is". */
export function refuseDeep(value: JsonValue, what: string): void {
  if (!isDeeperThan(value, MAX_INPUT_DEPTH)) return;
  throw new RuntimeError(`${what} nested more than ${MAX_INPUT_DEPTH} deep`, {
    code: 'INVALID_ARGUMENT',
  });
}
