/**
 * What the runtime folder has on record for a policy to be put to: the log of drifts, the files of actions, and what is known of the
 * homelab now. Reads, and touches nothing.
 *
 * R1 Bounded: the newest `MAX_STEPS` steps and `MAX_FILES` files count, and what was left out is said (P8).
 * R2 What cannot be read is counted, and is never taken for something else (P6).
 */
import { basename, dirname } from 'node:path';
import { hasCode, readIfThere } from '../../cells/inside.ts';
import { readLineLog } from '../../cells/line-log.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { recordedAction } from '../../machines/recorded-actions.ts';
import type { RecordedAction } from '../../machines/recorded-actions.ts';
import { driftCases, readStep } from '../../machines/recorded-drifts.ts';
import type { RecordedStep } from '../../machines/recorded-drifts.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import type { Ledger } from '../../machines/autonomy.ts';
import type { Earned, SummaryCounts } from '../../machines/supervision.ts';
import { joined } from '../../machines/what-if-comparison.ts';
import type { Recording } from '../../machines/what-if.ts';
import { ActionFiles, MAX_LISTED } from '../actions/action-files.ts';

export interface RecordRead {
  recording: Recording;
  /** Now, of the homelab; null: nobody says. */
  counts: SummaryCounts | null;
  /** Classes of actions of which a person took back what they had earned. */
  revoked: string[];
  /** Of the oldest step or file; null: there is none. Epoch ms. */
  oldestAt: number | null;
  read: {
    steps: number;
    /** Lines of the log that are none. */
    passed_over: number;
    files: number;
    unreadable: number;
    /** R1. */
    older_steps_left_out: number;
    older_files_left_out: number;
  };
}

export interface RecordPlace {
  layout: RuntimeLayout;
  /** The log of drifts. */
  eventsLog: string;
}

const MAX_STEPS = 100_000;
const MAX_FILES = 10_000;
const MAX_BYTES = 16 * 1024 * 1024;

/** `now`: epoch ms. Throws what the file system throws for what is there and cannot be read. */
export async function readRecord(
  { layout, eventsLog }: RecordPlace,
  now: number,
  { maxSteps = MAX_STEPS, maxFiles = MAX_FILES }: { maxSteps?: number; maxFiles?: number } = {},
): Promise<RecordRead> {
  const log = await readSteps(eventsLog, maxSteps);
  const found = readActions(layout, maxFiles);
  const { cases, actions, runs } = joined(driftCases(log.steps), found.actions);
  const times = [...cases.map(({ at }) => at), ...actions.map(({ createdAt }) => createdAt)];
  return {
    recording: { cases, actions, runs, until: now },
    counts: readCounts(layout),
    revoked: readRevoked(layout),
    oldestAt: times.reduce<number | null>((a, b) => (a === null || b < a ? b : a), null),
    read: {
      steps: log.steps.length,
      passed_over: log.passedOver,
      files: found.actions.length,
      unreadable: found.unreadable,
      older_steps_left_out: log.leftOut,
      older_files_left_out: found.leftOut,
    },
  };
}

/** R1: only what is needed of a line is kept. */
async function readSteps(path: string, most: number) {
  let steps: RecordedStep[] = [];
  let [total, others] = [0, 0];
  const take = (line: JsonObject): boolean => {
    const step = readStep(line);
    if (step === undefined) others += 1;
    else {
      total += 1;
      steps.push(step);
    }
    if (steps.length > 2 * most) steps = steps.slice(-most);
    return false;
  };
  const { passedOver } = await readLineLog(path, { wants: take, most: 0 });
  steps = steps.slice(-most);
  return { steps, passedOver: passedOver + others, leftOut: total - steps.length };
}

interface Listed {
  id: string;
  status: ActionStatus;
  changedAt: number;
}

function readActions(layout: RuntimeLayout, most: number) {
  const files = new ActionFiles(layout, '');
  const listed = ACTION_STATUSES.flatMap((status) => listOf(files, status)).sort(
    (a, b) => b.changedAt - a.changedAt || (a.id < b.id ? -1 : 1),
  );
  const actions = new Map<string, RecordedAction>();
  let unreadable = 0;
  for (const { id, status, changedAt } of listed.slice(0, most)) {
    const read = files.read(status, id);
    if (read === undefined) continue; // it was moved meanwhile
    const { content } = read.ok ? read : {};
    const action = content && recordedAction(id, { status, content, changedAt });
    if (action === undefined) unreadable += 1;
    else if (!actions.has(id)) actions.set(id, action); // old ones of the same name may lie in other folders
  }
  const leftOut = Math.max(0, listed.length - most);
  return { actions: [...actions.values()], unreadable, leftOut };
}

function listOf(files: ActionFiles, status: ActionStatus): Listed[] {
  try {
    return files
      .list(status)
      .slice(0, MAX_LISTED)
      .flatMap((id) => {
        const stats = files.stat(status, id);
        return stats === null ? [] : [{ id, status, changedAt: Math.round(stats.mtimeMs) }];
      });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []; // nobody has proposed anything there yet
    throw error;
  }
}

/** R2. Undefined: it is not there, or is none. */
function objectIn(folder: string, name: string): JsonObject | undefined {
  try {
    const bytes = readIfThere(folder, name, { maxBytes: MAX_BYTES });
    const value: unknown = bytes === undefined ? undefined : JSON.parse(bytes.toString('utf8'));
    return isJsonObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

const NODES = ['desired', 'online', 'offline', 'unknown'] as const;
const SERVICES = ['desired', 'healthy', 'unhealthy', 'missing', 'unknown', 'unmonitored'] as const;

function readCounts({ worldSummary: path }: RuntimeLayout): SummaryCounts | null {
  const summary = objectIn(dirname(path), basename(path));
  const nodes = numbersIn(summary?.['nodes'], NODES);
  const services = numbersIn(summary?.['services'], SERVICES);
  return nodes && services && { nodes, services, unmanaged: 0 };
}

function numbersIn<K extends string>(
  value: JsonValue | undefined,
  names: readonly K[],
): Record<K, number> | null {
  if (!isJsonObject(value)) return null;
  const isWhole = names.every((name) => typeof value[name] === 'number');
  return isWhole
    ? (Object.fromEntries(names.map((n) => [n, value[n]])) as Record<K, number>)
    : null;
}

const readRevoked = (layout: RuntimeLayout): string[] =>
  Object.entries(ledgerIn(layout)).flatMap(([of, { revokedBy }]) =>
    revokedBy === null ? [] : [of],
  );

/** As its file tells of it (autonomy-file.ts). */
export function ledgerIn({ autonomyFile: path }: RuntimeLayout): Ledger {
  const lines = Object.entries(objectIn(dirname(path), basename(path)) ?? {});
  return Object.fromEntries(
    lines.flatMap(([of, line]) => (isJsonObject(line) ? [[of, earnedIn(line)]] : [])),
  );
}

function earnedIn({ successes, last_success, last_failure, ...line }: JsonObject): Earned {
  const by = line['revoked_by'];
  const time = (value: JsonValue | undefined): number | null =>
    typeof value === 'string' && Number.isFinite(Date.parse(value)) ? Date.parse(value) : null;
  return {
    successes: typeof successes === 'number' ? successes : 0,
    lastSuccessAt: time(last_success),
    lastFailureAt: time(last_failure),
    revokedBy: line['revoked'] !== true ? null : typeof by === 'string' ? by : 'a person',
  };
}
