/** The units of config/isolation.json. The patterns in schemas/isolation.json accept what these functions accept. */
import { RuntimeError } from '../machines/errors.ts';

/** Cores from "2 cores", "1 core", "0.5" or a number. Throws INVALID_ARGUMENT unless it is above 0. */
export function parseCpu(value: string | number): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(?: ?cores?)?$/.exec(value) : null;
  const cores = typeof value === 'number' ? value : Number(match?.[1] ?? Number.NaN);
  if (Number.isFinite(cores) && cores > 0) return cores;
  throw new RuntimeError(`${JSON.stringify(value)} is no number of processor cores`, {
    code: 'INVALID_ARGUMENT',
    details: { value },
    hint: 'Write for example "2 cores" or 0.5.',
  });
}

const UNIT_EXPONENT: Readonly<Record<string, number>> = { B: 0, KB: 1, MB: 2, GB: 3, TB: 4 };

/** Bytes from "4GB", "512 MB", "1.5kb": steps of 1024. Throws INVALID_ARGUMENT unless it is at least one byte. */
export function parseSize(value: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([KMGT]?B|[kmgt]?b)$/.exec(value);
  const exponent = UNIT_EXPONENT[match?.[2]?.toUpperCase() ?? ''] ?? Number.NaN;
  const bytes = Math.floor(Number(match?.[1] ?? Number.NaN) * 1024 ** exponent);
  if (Number.isSafeInteger(bytes) && bytes >= 1) return bytes;
  throw new RuntimeError(`${JSON.stringify(value)} is no amount of bytes`, {
    code: 'INVALID_ARGUMENT',
    details: { value },
    hint: 'Write a number and B, KB, MB, GB or TB, for example "4GB".',
  });
}
