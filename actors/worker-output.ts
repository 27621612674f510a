/**
 * What a worker writes to its own stdout and stderr: warnings of Node, the stack of a crash. It belongs in the host's
 * log, bounded (P8). Output of steps never passes here; it goes straight to files.
 */
import type { ChildProcess } from 'node:child_process';

/** Characters of one worker that are passed on; the rest is read and dropped, so that the worker never blocks on it. */
const MAX_TOTAL = 64 * 1024;

export function forwardOutput(
  child: ChildProcess,
  onText: (stream: 'stdout' | 'stderr', text: string) => void,
): void {
  let room = MAX_TOTAL;
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      if (room < 0) return;
      onText(stream, room > 0 ? text.slice(0, room).trimEnd() : 'further output is dropped');
      room = room > 0 ? Math.max(0, room - text.length) : -1;
    });
  }
}
