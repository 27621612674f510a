/**
 * What must hold, or the program itself is wrong. Not a `RuntimeError`: nobody outside can act on it. (node:assert would
 * serve, but `machines/` imports nothing that belongs to a platform.)
 */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
