/**
 * A node in a process of its own, for as long as this process wants it: `demo` runs against one exactly as an operator's
 * `up` would be.
 *
 * B1 It stands apart from the terminal's process group, so Ctrl-C reaches it once, from here, and it drains.
 * B2 It does not outlive us: it is launched with an IPC channel, whose end is its own (cli/signals.ts).
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusView } from '../actors/status.ts';
import { callVerb } from '../bus/control-client.ts';
import { RuntimeError } from '../machines/errors.ts';
import { readNodeFile } from './access.ts';
import type { Missions } from './missions.ts';

/** The checkout that this file is part of. */
export const ROOT = join(import.meta.dirname, '..');

/** A start folds the journal first, which takes its time when there is much of it. */
const START_MS = 60_000;
/** Longer than a node waits for its steps in hand. */
const STOP_MS = 30_000;
/** How long the end of a process may come after the end of its words. */
const END_MS = 500;
const POLL_MS = 25;
const MAX_TAIL = 40;

export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #missions: Missions;
  /** The last lines it wrote. */
  readonly #tail: string[] = [];
  /** Its exit status, or the signal that ended it, or why there was no process. */
  readonly #gone: Promise<number | string>;

  private constructor(child: ChildProcess, missions: Missions) {
    this.#child = child;
    this.#missions = missions;
    this.#gone = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal ?? 'no status'));
      child.once('error', (error) => resolve(error.message));
    });
    for (const stream of [child.stdout, child.stderr])
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#heard(line));
  }

  /**
   * Resolves when it accepts work. `more`: options of `up`. Throws RuntimeError NOT_RUNNING with what it said when it does
   * not come up.
   */
  static async start(
    missions: Missions,
    signal: AbortSignal,
    more: readonly string[] = [],
  ): Promise<NodeProcess> {
    const launcher = join(ROOT, 'bin/lazarus');
    const up = [launcher, 'up', '--missions', missions.dir, '--log-level', 'WARNING', ...more];
    const child = spawn(process.execPath, [...process.execArgv, ...up], {
      detached: true, // B1
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'], // B2
      env: { ...process.env, LAZARUS_LAUNCHED: '1' },
    });
    const node = new NodeProcess(child, missions);
    try {
      await node.#isUp(signal);
    } catch (error) {
      await node.stop();
      throw error;
    }
    return node;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Throws RuntimeError NOT_RUNNING, with its last words, when it does not answer. */
  async status(): Promise<StatusView> {
    const control = readNodeFile(this.#missions)?.control;
    if (control === undefined) throw await this.#failure('its node.json is gone');
    try {
      return (await callVerb(control, 'status', {})) as unknown as StatusView;
    } catch (cause) {
      throw await this.#failure('it does not answer', cause);
    }
  }

  /** SIGTERM, and SIGKILL when it does not drain: a node is made to survive that. */
  async stop(): Promise<void> {
    if (this.#isGone) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), STOP_MS);
    await this.#gone;
    clearTimeout(timer);
  }

  /** At once, without draining. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  get #isGone(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }

  /** Until node.json is there, and this node's own: a dead one's may lie there still. */
  async #isUp(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + START_MS;
    while (this.pid === undefined || readNodeFile(this.#missions)?.pid !== this.pid) {
      signal.throwIfAborted();
      if (this.#isGone) throw await this.#failure('it ended');
      if (performance.now() > deadline)
        throw await this.#failure(`it accepts no work after ${START_MS / 1000} s`);
      await sleep(POLL_MS);
    }
  }

  async #failure(what: string, cause?: unknown): Promise<RuntimeError> {
    const end = await Promise.race([this.#gone, sleep(END_MS, null)]);
    const why = end === null ? what : `it ended with ${end}`;
    return new RuntimeError([`the node failed: ${why}`, ...this.#tail].join('\n'), {
      code: 'NOT_RUNNING',
      hint: `bin/lazarus up --missions ${this.#missions.dir} --log-level DEBUG`,
      cause,
    });
  }

  #heard(line: string): void {
    this.#tail.push(line);
    if (this.#tail.length > MAX_TAIL) this.#tail.shift();
  }
}
