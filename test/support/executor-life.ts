/** Lives of a node that runs one action: each in a process of its own, which ends by itself or by SIGKILL. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { OpenExecutor } from '../../actors/executor/executor.ts';
import type { Recovery } from '../../actors/effects.ts';
import type { Runnable } from '../../machines/action-context.ts';
import type { FakeHost } from './fake-docker.ts';

export interface ChildOrder {
  file: string;
  nodeId: string;
  run: Runnable;
  key: string;
  outputFolder: string;
  /** At the n-th time (1-based) that it comes to this fault point. */
  dieAt?: { point: string; time: number };
}

export const KEY = 'system/action/x#1#run';
const PROGRAM = join(import.meta.dirname, 'executor-child.ts');

export interface Life {
  /** Killed when this resolves: whatever it waited for has happened. */
  killWhen?: () => Promise<unknown>;
  dieAt?: ChildOrder['dieAt'];
}

/** One life; the signal that ended it, or null. */
export async function live(
  host: FakeHost,
  run: Runnable,
  { killWhen, dieAt }: Life,
): Promise<string | null> {
  const { file, nodeId } = host;
  const order: ChildOrder = {
    file,
    nodeId,
    run,
    key: KEY,
    outputFolder: outputOf(host, run),
    ...(dieAt && { dieAt }),
  };
  const argv = ['--disable-warning=ExperimentalWarning', PROGRAM, JSON.stringify(order)];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = once(child, 'exit');
  if (killWhen) {
    await killWhen();
    child.kill('SIGKILL');
  }
  const [, signal] = (await exited) as [number | null, string | null];
  return signal;
}

export const outputOf = (host: FakeHost, run: Runnable): string =>
  join(host.folder, 'output', run.actionId);

export function recover(host: FakeHost, executor: OpenExecutor, run: Runnable): Promise<Recovery> {
  const { signal } = new AbortController();
  return executor.recover(run, { key: KEY, outputFolder: outputOf(host, run), signal });
}
