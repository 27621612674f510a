/** A file that people wrote elsewhere, as the model of a new agent or task. */
import { readFileSync } from 'node:fs';
import { invalid } from '../cells/create.ts';
import { parseJsonObject } from '../cells/parse-json.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';

/** Throws INVALID_ARGUMENT, FILE_INVALID. */
export function readModel(file: string): JsonObject {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new RuntimeError(`${file} cannot be read: ${String(cause)}`, {
      code: 'INVALID_ARGUMENT',
      cause,
    });
  }
  const parsed = parseJsonObject(bytes);
  if (parsed.ok) return parsed.value;
  throw invalid(file, parsed.problems);
}
