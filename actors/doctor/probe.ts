/** Real programs and real requests, each with a time limit and a bound on what it may say. No shell is involved. */
import { execFile } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';

export type Ran =
  | { kind: 'ended'; code: number; out: string; err: string }
  | { kind: 'absent' }
  | { kind: 'late'; timeoutMs: number };

const MAX_OUTPUT = 256 * 1024;

export function run(
  argv: readonly string[],
  { timeoutMs = 5000 }: { timeoutMs?: number } = {},
): Promise<Ran> {
  const [program = '', ...args] = argv;
  const limits = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT } as const;
  return new Promise((resolve) => {
    execFile(program, args, limits, (error, out, err) => {
      const code = error?.code;
      if (code === 'ENOENT' || code === 'EACCES') resolve({ kind: 'absent' });
      else if (error?.killed === true) resolve({ kind: 'late', timeoutMs });
      else
        resolve({ kind: 'ended', code: typeof code === 'number' ? code : error ? 1 : 0, out, err });
    });
  });
}

/** Absolute path of a program, or null. `folders` are looked into after PATH. */
export function findProgram(name: string, folders: readonly string[] = []): string | null {
  if (isAbsolute(name)) return isProgram(name) ? name : null;
  const path = (process.env['PATH'] ?? '').split(':').filter(isAbsolute);
  for (const folder of [...path, ...folders])
    if (isProgram(join(folder, name))) return join(folder, name);
  return null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // whatever the reason: it cannot be run
  }
}

/** The first line that says something. */
export function firstLine(text: string): string {
  const line = text.split('\n').find((candidate) => candidate.trim() !== '') ?? '';
  return line.trim().slice(0, 200);
}

/** Throws when it does not answer in time, or not with a JSON object. */
export async function getJson(url: string, timeoutMs = 2000): Promise<JsonObject> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'error' });
  const text = await readBounded(response);
  if (!response.ok) throw new Error(`it answered ${response.status}`);
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) throw new Error('it answered no JSON object');
  return value;
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += (chunk as Uint8Array).byteLength;
    if (size > MAX_OUTPUT) throw new Error(`it answered more than ${MAX_OUTPUT} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks).toString('utf8');
}
