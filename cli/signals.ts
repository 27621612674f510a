/**
 * Signals, whichever way they come: from the system, or from the process that launched this one (bin/lazarus, the demo),
 * which passes on what it got over the IPC channel. A terminal's Ctrl-C reaches both, so the same signal may come by both
 * ways: what counts is the greater of the two numbers, not their sum.
 */
import { constants } from 'node:os';

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';
const STOP_SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

type Handler = (signal: StopSignal, times: number) => void;
const direct = { count: 0 };
const passedOn = { count: 0 };
let handler: Handler | undefined;

/** Exit status of a process that a signal ended. */
export const statusOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/** From now on a stop signal is the verb's to answer; it hears of the first and of each one more. */
export function onStop(callback: Handler): void {
  handler = callback;
  for (const signal of STOP_SIGNALS) process.on(signal, () => count(direct, signal));
}

/** Listens to the launcher, if there is one; called once at start. */
export function attachLauncher(): void {
  if (process.env['LAZARUS_LAUNCHED'] === undefined || process.channel === undefined) return;
  delete process.env['LAZARUS_LAUNCHED'];
  process.on('message', (message) => {
    const { signal } = message as { signal?: NodeJS.Signals };
    if (signal === undefined) return;
    if (handler && isStop(signal)) count(passedOn, signal);
    else process.kill(process.pid, signal);
  });
  // The launcher was killed without a word, and so is what it launched.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.channel.unref();
}

function count(way: { count: number }, signal: StopSignal): void {
  const before = Math.max(direct.count, passedOn.count);
  way.count += 1;
  const now = Math.max(direct.count, passedOn.count);
  if (now > before) handler?.(signal, now);
}

const isStop = (signal: string): signal is StopSignal =>
  (STOP_SIGNALS as readonly string[]).includes(signal);
