/**
 * `run.json` in the folder of an action's output: that a run was begun, and how it ended.
 *
 * R1 Written whole and synced before the first process is started: no record means that nothing was.
 * R2 Written again, as before, right after a process was reaped: a record with `finished_at` is how it ended.
 * R3 It is believed only for the same effect of the same content: the key of an effect may come again when the missions
 *    folder was thrown away and this one was not.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncFolder } from '../../cells/durable.ts';
import { hasCode, readIfThere, writeWholeInside } from '../../cells/inside.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject, isJsonObject } from '../../machines/json.ts';
import type { JsonValue } from '../../machines/json.ts';
import { patiently } from '../patience.ts';
import type { RunOutcome } from '../../machines/action-context.ts';

const FORMAT = 'lazarus.run@1';
const NAME = 'run.json';
const MAX_BYTES = 256 * 1024;

/** What ended of a run that has several parts. */
export interface StepRecord {
  /** Of what it runs. */
  argv_sha256: string;
  ok: boolean;
  exit_code: number | null;
  signal: string | null;
  reason: string | null;
  finished_at: string;
}

export interface RunRecord {
  format: typeof FORMAT;
  key: string;
  action_id: string;
  /** Of the content that was approved. */
  action_sha256: string;
  /** Of all its parts. */
  argv_sha256: string;
  /** How often it was begun. */
  tries: number;
  /** What the driver remembers to tell later whether it happened. */
  before: JsonValue;
  steps: StepRecord[];
  started_at: string;
  /** Null while it runs, and when it was cut off. */
  finished_at: string | null;
  exit_code: number | null;
  signal: string | null;
  outcome: RunOutcome | null;
}

export type Identity = Pick<RunRecord, 'key' | 'action_id' | 'action_sha256'>;

export function freshRecord(identity: Identity, argvSha256: string, before: JsonValue): RunRecord {
  return {
    format: FORMAT,
    ...identity,
    argv_sha256: argvSha256,
    tries: 0,
    before,
    steps: [],
    started_at: new Date().toISOString(),
    finished_at: null,
    exit_code: null,
    signal: null,
    outcome: null,
  };
}

/** Null: this run was never begun (R1). Throws when there is a record that cannot be read: that is not "none". */
export function readRecord(folder: string, identity: Identity): RunRecord | null {
  const bytes = readBytes(folder);
  if (bytes === undefined) return null;
  const value = parse(bytes);
  if (!isRecord(value))
    throw new RuntimeError(`${folder}/${NAME} cannot be read: it is not a record of ours`, {
      code: 'FILE_INVALID',
      details: { folder },
      hint: 'See what the action did, and move the file away; `lazarus doubt list` has what is in doubt.',
    });
  const isSame = // R3
    value.key === identity.key &&
    value.action_id === identity.action_id &&
    value.action_sha256 === identity.action_sha256;
  return isSame ? value : null;
}

/** Of the runtime's layout: `lazarus/actions/<id>`, which may all be new. */
const NEW_FOLDERS = 3;

/** Makes the folder where it is missing. Its name is durable then, whoever made it: no record must mean that there was none. */
export async function makeFolder(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!lstatSync(folder).isDirectory())
    throw new RuntimeError(
      `${folder} is a symbolic link: what is written there would go elsewhere`,
      {
        code: 'PATH_ESCAPES_CELL',
        details: { folder },
        hint: 'Put a real folder there, or remove it.',
      },
    );
  let above = folder;
  for (let level = 0; level < NEW_FOLDERS; level += 1) {
    above = dirname(above);
    await syncFolder(above);
  }
}

/** R1, R2. A disk that is full for a while makes nothing unknown that is known. */
export async function writeRecord(
  folder: string,
  record: RunRecord,
  signal: AbortSignal,
): Promise<void> {
  const text = `${JSON.stringify(record, null, 2)}\n`;
  const options = { sync: true, mode: 0o600, what: 'run-record' };
  await patiently(() => writeWholeInside(folder, NAME, text, options), {
    signal,
    onWait: () => undefined,
  });
}

function readBytes(folder: string): Buffer | undefined {
  try {
    return readIfThere(folder, NAME, { maxBytes: MAX_BYTES });
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is RunRecord {
  if (!isJsonObject(value) || value['format'] !== FORMAT) return false;
  const { outcome, finished_at: finished, steps } = value;
  const texts = ['key', 'action_id', 'action_sha256', 'argv_sha256', 'started_at'];
  return (
    texts.every((name) => typeof value[name] === 'string') &&
    Number.isSafeInteger(value['tries']) &&
    value['before'] !== undefined &&
    Array.isArray(steps) &&
    steps.every((step) => isJsonObject(step) && typeof step['ok'] === 'boolean') &&
    (finished === null ? outcome === null : typeof finished === 'string' && isOutcome(outcome))
  );
}

function isOutcome(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value) || typeof value['ok'] !== 'boolean') return false;
  return ['stdout', 'stderr', 'started_at', 'finished_at'].every(
    (name) => typeof value[name] === 'string',
  );
}

export const outcomeJson = (outcome: RunOutcome): JsonValue => asJsonObject(outcome);
