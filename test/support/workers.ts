/** A worker pool on a cell in a temporary folder, with a log that can be read and workers that can be made faulty. */
import { WorkerPool } from '../../actors/worker-pool.ts';
import type { StartOptions, WorkerHandle, WorkerPoolOptions } from '../../actors/worker-pool.ts';
import { endLeftovers } from '../../actors/processes.ts';
import { makeCell, refuseLeftovers } from './steps.ts';
import type { TestCell } from './steps.ts';

export interface TestPool {
  cell: TestCell;
  pool: WorkerPool;
  logged: { message: string; fields: Record<string, unknown> }[];
  start(agentId?: string, options?: StartOptions): Promise<WorkerHandle>;
  /** Ends the pool; throws when it left processes behind. */
  close(): Promise<void>;
}

export function openPool(options: Partial<WorkerPoolOptions> = {}): TestPool {
  const cell = makeCell();
  const logged: TestPool['logged'] = [];
  const note = (fields: object, message: string): void =>
    void logged.push({ message, fields: { ...fields } });
  const log = { info: note, warn: note, error: note };
  const pool = new WorkerPool({ nodeId: cell.nodeId, log, ...options });
  return {
    cell,
    pool,
    logged,
    start: (agentId = 'builder', more = {}) =>
      pool.start({ cellId: 'c1', agentId, cellDir: cell.dir }, more),
    async close() {
      await pool.close();
      try {
        refuseLeftovers(cell);
      } finally {
        await endLeftovers(cell.nodeId);
        cell.remove();
      }
    },
  };
}

/** While `work` runs, workers are started with this fault (test/support/worker-fault.ts). */
export async function withFault<T>(fault: string, work: () => Promise<T>): Promise<T> {
  const before = process.execArgv;
  const module = new URL(`./worker-fault.ts?${fault}`, import.meta.url).href;
  process.execArgv = [...before, '--import', module];
  try {
    return await work();
  } finally {
    process.execArgv = before;
  }
}
