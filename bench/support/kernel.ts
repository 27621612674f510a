/** A kernel on a folder, with the bench's machine, set up as a node sets up its own. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Kernel } from '../../actors/kernel.ts';
import type { KernelOptions } from '../../actors/kernel.ts';
import { MachineRegistry } from '../../actors/logic.ts';
import { CellStore } from '../../cells/checkpoint.ts';
import { tickMachine } from './machine.ts';

export const silent = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export const benchRegistry = (): MachineRegistry =>
  new MachineRegistry().register({ machine: tickMachine });

/** Actors live in a few cells, so that checkpoints and copies are spread as in a real folder. */
const CELLS = 16;
export const tickAddress = (n: number): string => `cell/bench-${n % CELLS}/agent/a${n}`;

export function openKernel(folder: string, change: Partial<KernelOptions> = {}): Promise<Kernel> {
  const folderOf = (cellId: string): string => {
    const path = join(folder, cellId);
    mkdirSync(path, { recursive: true });
    return path;
  };
  return Kernel.open({
    registry: benchRegistry(),
    store: new CellStore({ folderOf }, silent),
    journalFolder: join(folder, '.lazarus', 'journal'),
    indexFile: join(folder, '.lazarus', 'index.json'),
    uptimeFile: join(folder, '.lazarus', 'uptime.json'),
    nodeId: 'bench',
    raiseEpoch: (atLeast) => Promise.resolve(atLeast + 1),
    log: silent,
    ...change,
  });
}

/** Spawns actors 0 to `count` - 1, some at a time. */
export async function spawnTicks({ system }: Kernel, count: number): Promise<string[]> {
  const addresses = Array.from({ length: count }, (_, n) => tickAddress(n));
  for (let at = 0; at < count; at += 5000)
    await Promise.all(addresses.slice(at, at + 5000).map((a) => system.spawn(a, 'tick', {})));
  return addresses;
}
