/**
 * Preloaded into workers (`--import 'worker-fault.ts?die'`, by inheritance of Node's options): `die` ends the process at
 * once, `loop=<ms>` blocks its event loop for ever after so many ms.
 */
const { searchParams } = new URL(import.meta.url);
if (process.argv[1]?.endsWith('worker.ts')) {
  if (searchParams.has('die')) process.exit(3);
  const loopAfterMs = searchParams.get('loop');
  if (loopAfterMs !== null) setTimeout(loopForEver, Number(loopAfterMs));
}

export function loopForEver(): void {
  for (;;);
}
