/** What became of an event that is known to have been taken: whether the mission refused it, as the journal tells. */
import { RuntimeError } from '../machines/errors.ts';
import type { ErrorCode, PlainError } from '../machines/errors.ts';
import { decodeRecord } from './records.ts';
import { newestFirst } from './why/newest-first.ts';
import type { HistorySource } from './why/newest-first.ts';

export interface Taken {
  address: string;
  position: { stream: string; created: string; seq: number };
}

/** The error with which its machine refused it; undefined when it did not, or the record is no longer on disk. */
export function refusalOf(
  source: HistorySource,
  { address, position }: Taken,
): RuntimeError | undefined {
  const mark = JSON.stringify([position.stream, position.created, position.seq]);
  const refusals = new Map<number, PlainError & { code?: string }>();
  for (const { address: at, line } of newestFirst(source)) {
    if (at !== address) continue;
    const isIt = line.includes(mark);
    if (!isIt && !line.includes('"k":"rejected"')) continue;
    const record = decodeRecord(line);
    if (record.k === 'rejected') refusals.set(record.of, record.e);
    else if (isIt && record.k === undefined && JSON.stringify(record.x) === mark) {
      const error = refusals.get(record.n);
      return error && new RuntimeError(error.message, { code: codeOf(error) });
    }
  }
  return undefined;
}

/** Codes are written by us, and never change. */
const codeOf = ({ code }: { code?: string }): ErrorCode =>
  (code as ErrorCode | undefined) ?? 'EVENT_REJECTED';
