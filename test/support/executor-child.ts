/**
 * Runs one action as a node would, and may be killed in the middle: `node executor-child.ts <json>`, see executor-life.ts.
 * The hook of cells/durable.ts must stand before anything is loaded.
 */
import type { ChildOrder } from './executor-life.ts';

const order = JSON.parse(process.argv[2] ?? '') as ChildOrder;
let seen = 0;
(globalThis as { __lazarusFaultPoint?: (point: string) => void }).__lazarusFaultPoint = (point) => {
  if (point === order.dieAt?.point && ++seen === order.dieAt.time)
    process.kill(process.pid, 'SIGKILL');
};
const { openExecutor } = await import('../../actors/executor/executor.ts');
const { file, nodeId, run, key, outputFolder } = order;
const log = { info: () => {}, warn: () => {}, error: () => {} };
const executor = await openExecutor({ file, nodeId, localHosts: ['here'], log });
const { signal } = new AbortController();
const outcome = await executor.run(run, { key, signal, outputFolder });
await executor.close();
process.stdout.write(JSON.stringify(outcome));
