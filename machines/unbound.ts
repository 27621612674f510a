/**
 * Effects are only named in machines; the runtime carries them out. A body that runs all the same means that somebody
 * started a machine instead of folding it, which is a fault of the program and not of any input.
 */
import { InvariantError } from './invariant.ts';

export function unbound(name: string): never {
  throw new InvariantError(
    `effect ${name} was started inside XState; effects are run by the kernel`,
  );
}

/** For `types` in XState's `setup`, whose values nobody ever reads. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the type
export function typeOnly<T>(): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a type, not a value
  return {} as T;
}
