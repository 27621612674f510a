/**
 * A node for tests of a killed export: `node export-child.ts <missions> <to> <n>` exports the cell `c` once its step stands
 * at the gate, and kills itself at the n-th durable moment from then on. Exits 0 when there were fewer.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const [missionsDir = '', to = '', n = '1'] = process.argv.slice(2);
let left = Infinity;
const hooked = globalThis as { __lazarusFaultPoint?: (point: string) => void };
hooked.__lazarusFaultPoint = (point) => {
  left -= 1;
  if (left > 0) return;
  process.stdout.write(`${point}\n`);
  process.kill(process.pid, 'SIGKILL');
};
const { MissionNode } = await import('../../actors/node.ts');
const { runVerb } = await import('../../actors/control.ts');
const quiet = (): void => undefined;
const log = { info: quiet, warn: quiet, error: quiet };
const node = await MissionNode.start({ missionsDir, version: 'test', drainMs: 50, log });
await node.scanned;
while (!existsSync(join(missionsDir, 'c/artifacts/g.waiting'))) await sleep(10);
await sleep(120); // the projections of what led here are written
left = Number(n);
await runVerb(node, 'cell.export', { cell: 'c', to });
left = Infinity;
process.stdout.write('done\n');
process.exit(0);
