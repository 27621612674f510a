/**
 * A small host for tests that kill one: runs the step it is handed as JSON, in a worker whose pid it prints, or in its
 * own process when the second argument is `none`. With `standby` it prints the pid when two more workers stand by.
 */
import assert from 'node:assert';
import { WorkerPool } from '../../actors/worker-pool.ts';
import { runStep } from '../../actors/step-runner.ts';
import type { StepRequest } from '../../actors/step-request.ts';
import { eventually } from './eventually.ts';

const request: StepRequest = JSON.parse(process.argv[2] ?? '');
const { signal } = new AbortController();

if (process.argv[3] === 'none') {
  process.stdout.write(`${process.pid}\n`);
  await runStep(request, { signal });
} else {
  const quiet = { info: () => {}, warn: () => {}, error: () => {} };
  const pool = new WorkerPool({ nodeId: request.nodeId, log: quiet });
  const worker = await pool.start(request);
  await worker.ready;
  if (process.argv[3] === 'standby') await eventually(() => assert.equal(pool.counts().standby, 2));
  process.stdout.write(`${worker.pid}\n`);
  await worker.run(request, signal);
}
