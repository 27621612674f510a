/**
 * Preloaded into workers (`--import 'worker-fault.ts?die'`, by inheritance of Node's options): `die` ends the process at
 * once, `loop=<ms>` blocks its event loop for ever after so many ms, `until=<file>` keeps it from starting until the file
 * is there.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const { searchParams } = new URL(import.meta.url);
if (process.argv[1]?.endsWith('worker.ts')) {
  if (searchParams.has('die')) process.exit(3);
  const awaited = searchParams.get('until');
  if (awaited !== null) await appeared(awaited);
  const loopAfterMs = searchParams.get('loop');
  if (loopAfterMs !== null) setTimeout(loopForEver, Number(loopAfterMs));
}

async function appeared(file: string): Promise<void> {
  while (!existsSync(file)) await sleep(10);
}

export function loopForEver(): void {
  for (;;);
}
