/** Digests of what a task's steps put out, for `context.json`: enough to tell whether the files are still the same. */
import { createHash } from 'node:crypto';
import { listInside, readInside } from '../cells/inside.ts';
import { cellPath } from '../cells/layout.ts';
import { RuntimeError } from '../machines/errors.ts';

/** Larger outputs are named without a digest. */
const MAX_DIGESTED_BYTES = 8 << 20;
/** Newest attempts of a task with more files than this are left out. */
const MAX_FILES = 200;

/** Name of the output file to `sha256:<hex>`, or to the reason why there is none. */
export function outputDigests(cellDir: string, taskId: string): Record<string, string> {
  const folder = cellPath.stepLogs(taskId);
  const names = (listInside(cellDir, folder) ?? []).map(({ name }) => name);
  const outputs = names.filter((name) => name.endsWith('.out')).toSorted();
  return Object.fromEntries(
    outputs.slice(0, MAX_FILES).map((name) => [name, digest(cellDir, `${folder}/${name}`)]),
  );
}

function digest(cellDir: string, path: string): string {
  try {
    const bytes = readInside(cellDir, path, { maxBytes: MAX_DIGESTED_BYTES });
    return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  } catch (error) {
    return error instanceof RuntimeError ? error.code : String(error);
  }
}
