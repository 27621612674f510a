/** A real node in this process, and waiting for what it commits. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MissionNode } from '../../actors/node.ts';
import type { CommittedRecord } from '../../actors/system.ts';
import { mergeConfig } from '../../machines/daemon-config.ts';
import { dropText } from './cells.ts';
import type { MissionPlan } from './cells.ts';
import { silent } from './kernel.ts';

/** A row that waits longer for one event cannot be measured. */
const PATIENCE_MS = 30_000;

export function startNode(
  missionsDir: string,
  { standby }: { standby?: number } = {},
): Promise<MissionNode> {
  mkdirSync(missionsDir, { recursive: true });
  const base = { missionsDir, log: silent, version: 'bench', drainMs: 0 };
  if (standby === undefined) return MissionNode.start(base);
  const standby_workers = { value: standby, origin: { from: 'option', name: 'bench' } } as const;
  return MissionNode.start({ ...base, config: mergeConfig([{ standby_workers }], null) });
}

/** Resolves when so many workers stand by and nothing else starts. */
export async function standingBy(node: MissionNode, count: number): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const { starting, standby } = node.workerCounts();
    if (standby === count && starting === 0) return;
    if (performance.now() > deadline) throw new Error(`${standby} workers stand by, not ${count}`);
    await sleep(10);
  }
}

/** Resolves with the time, as of `performance.now()`, at which an observer hears of the first committed record that fits. */
export function committed(
  { kernel: { system } }: MissionNode,
  what: string,
  fits: (record: CommittedRecord) => boolean,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      system.off('committed', look);
      reject(new Error(`never committed: ${what}`));
    }, PATIENCE_MS);
    const look = (record: CommittedRecord): void => {
      if (!fits(record)) return;
      clearTimeout(timer);
      system.off('committed', look);
      resolve(performance.now());
    };
    system.on('committed', look);
  });
}

/** Puts a whole mission file into the missions folder by one rename; returns the time just before it. */
export function dropMission(missionsDir: string, plan: MissionPlan): number {
  const staging = join(missionsDir, `.${plan.cellId}.staged`);
  writeFileSync(staging, dropText(plan));
  const droppedAt = performance.now();
  renameSync(staging, join(missionsDir, `${plan.cellId}.json`));
  return droppedAt;
}
