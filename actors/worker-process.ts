/** One worker as its host sees it. The promises H1 to H6 are those of worker-pool.ts. */
import assert from 'node:assert';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import type { AwakeClock } from './awake-clock.ts';
import type { Cgroups } from './cgroup.ts';
import { killGroups, sweepByMark } from './processes.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';
import type { WorkerExit, WorkerHandle, WorkerLog, WorkerPlace } from './worker-handle.ts';
import type { WorkerHealth } from './worker-health.ts';
import { isFromWorker } from './worker-messages.ts';
import type { ToWorker } from './worker-messages.ts';
import { forwardOutput } from './worker-output.ts';
import { WorkerRuns } from './worker-runs.ts';
import { signalOf, spawnWorker } from './worker-spawn.ts';
import { WorkerWatch } from './worker-watch.ts';
import type { Verdict } from './worker-watch.ts';

export interface WorkerProcessOptions {
  nodeId: string;
  log: WorkerLog;
  compileCacheDir: string | undefined;
  beatIntervalMs: number;
  clock: AwakeClock;
  /** Null: trees are ended by process groups and marks. */
  cgroups: Cgroups | null;
  /** The other workers of the same agent that are not gone. */
  siblingsOf: (worker: WorkerProcess) => WorkerProcess[];
}

export interface Adoption extends WorkerPlace {
  /** H6; null: never. */
  progressTimeoutMs: number | null;
}

const START_TIMEOUT_MS = 30_000;
/** An abort takes 2 s of grace and some for the sweep; a worker that needs longer is hung. */
const ABORT_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 5_000;
/** For the rest of what a dead process had said. */
const DRAIN_TIMEOUT_MS = 5_000;

export class WorkerProcess implements WorkerHandle {
  readonly pid: number;
  /** It has answered, and serves an agent. */
  readonly ready: Promise<void>;
  /** It can be handed an agent. Rejects as `ready` does. */
  readonly started: Promise<void>;
  /** The process is no more. What it ran is not ended yet. */
  readonly reaped: Promise<void>;
  readonly exited: Promise<WorkerExit>;
  readonly #options: WorkerProcessOptions;
  readonly #workerId = randomUUID();
  readonly #child: ChildProcess;
  readonly #runs = new WorkerRuns();
  readonly #watch: WorkerWatch;
  #owner: Adoption | null = null;
  #isStarted = false;
  #dying = false;
  #wasToldToEnd = false;
  #gone = false;
  #condemnedFor: Pick<WorkerExit, 'cause' | 'detail'> = { cause: 'exit', detail: null };
  #saidReady: () => void = () => {};
  #saidAdopted: () => void = () => {};

  /** Throws WORKER_LOST when the host cannot make a process. */
  constructor(options: WorkerProcessOptions) {
    this.#options = options;
    this.#child = spawnWorker({
      ...options,
      workerId: this.#workerId,
      cgroup: options.cgroups?.make(this.#workerId) ?? null,
    });
    const { log } = options;
    this.#child.on('error', (err) => log.warn({ ...this.#names(), err }, 'worker process error'));
    if (this.#child.pid === undefined)
      throw new RuntimeError('no worker process could be made', {
        code: 'WORKER_LOST',
        retryable: true,
        details: { mayHaveRun: false },
      });
    this.pid = this.#child.pid;
    this.#watch = new WorkerWatch(this.pid, options.beatIntervalMs, options.clock);
    this.#child.on('message', (message) => this.#hear(message));
    forwardOutput(this.#child, (stream, text) =>
      log.warn({ ...this.#names(), stream, text }, 'worker said'),
    );
    const ended = new Promise<Pick<WorkerExit, 'code' | 'signal'>>((resolve) =>
      this.#child.once('exit', (code, signal) => resolve(signalOf(code, signal))),
    );
    this.reaped = ended.then(() => undefined);
    this.exited = this.#bury(ended);
    const said = new Promise<void>((resolve) => (this.#saidReady = resolve));
    const adopted = new Promise<void>((resolve) => (this.#saidAdopted = resolve));
    this.started = this.#unlessGone(said);
    this.ready = this.#unlessGone(adopted);
    this.#expectStart();
    // Whoever waits for these hears it; `exited` tells everybody else.
    for (const promise of [this.started, this.ready]) promise.catch(() => {});
  }

  /** Once: from now on it is this agent's. */
  adopt(owner: Adoption): void {
    assert.equal(this.#owner, null, 'a worker serves one agent in its life');
    this.#owner = owner;
    const { cellId, agentId, progressTimeoutMs } = owner;
    this.#tell({ t: 'adopt', cellId, agentId, ...this.#watch.expectProgress(progressTimeoutMs) });
  }

  serves(other: WorkerProcess): boolean {
    const [mine, theirs] = [this.#owner, other.#owner];
    if (mine === null || theirs === null) return false;
    return mine.cellId === theirs.cellId && mine.agentId === theirs.agentId;
  }

  get isStarted(): boolean {
    return this.#isStarted;
  }

  get isReaped(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  get isEnding(): boolean {
    return this.#dying;
  }

  /** By who owns it; not by a verdict. */
  get wasToldToEnd(): boolean {
    return this.#wasToldToEnd;
  }

  lastBeatAt(): number {
    return this.#watch.lastBeatAt;
  }

  health(): WorkerHealth {
    return this.#watch.health();
  }

  /** H5, H6. Once an interval. */
  judge(): void {
    if (this.#dying || !this.#isStarted) return; // a start has its own limit
    const verdict = this.#watch.verdict();
    if (verdict) this.#condemn(verdict.cause, this.#describe(verdict));
  }

  async run(
    request: StepRequest,
    signal: AbortSignal,
    onStarted?: (pid: number) => void,
  ): Promise<StepOutcome> {
    const { cellId, agentId } = request;
    assert.deepEqual([cellId, agentId], [this.#owner?.cellId, this.#owner?.agentId]);
    assert.equal(request.nodeId, this.#options.nodeId, 'a step of another node');
    signal.throwIfAborted();
    await this.#predecessorsGone(); // H3
    signal.throwIfAborted();
    this.#refuseRival();
    if (this.#dying) throw this.#lost(false);
    return this.#send(request, signal, onStarted);
  }

  async stop(): Promise<void> {
    this.#wasToldToEnd = true;
    this.#tell({ t: 'stop' });
    this.#dieWithin(STOP_TIMEOUT_MS);
    await this.exited;
  }

  kill(): void {
    this.#wasToldToEnd = true;
    this.#dieWithin(0);
  }

  #describe({ cause, forMs, runId }: Verdict): string {
    const seconds = `${(forMs / 1000).toFixed(forMs < 10_000 ? 1 : 0)} s`;
    if (cause === 'hung') return `no heartbeat for ${seconds}`;
    const step = this.#runs.get(runId ?? 0)?.request;
    const name = step ? `${step.taskId}/${step.name}` : '?';
    return `step ${name}: no output and no CPU time for ${seconds}`;
  }

  #condemn(cause: 'hung' | 'stuck', detail: string): void {
    this.#condemnedFor = { cause, detail };
    this.#options.log.warn({ ...this.#names(), cause, detail }, 'worker is killed');
    this.#dieWithin(0);
  }

  /** From now on it takes no step, and others of its agent wait for its end (H3). */
  #dieWithin(graceMs: number): void {
    this.#dying = true;
    const kill = (): void => void (this.isReaped || this.#child.kill('SIGKILL'));
    if (graceMs === 0) return kill();
    const timer = setTimeout(kill, graceMs);
    void this.exited.then(() => clearTimeout(timer));
  }

  async #predecessorsGone(): Promise<void> {
    const dying = this.#options.siblingsOf(this).filter((other) => other.#dying);
    if (dying.length > 0) await Promise.all(dying.map((other) => other.exited));
  }

  /** Two healthy workers of one agent that both run steps would be two agents. */
  #refuseRival(): void {
    const rival = this.#options.siblingsOf(this).find((other) => other.#runs.size > 0);
    if (!rival) return;
    throw new RuntimeError(`agent ${this.#owner?.agentId} already runs a step in another worker`, {
      code: 'CONFLICT',
      details: { ...this.#owner, pid: this.pid, otherPid: rival.pid },
    });
  }

  #send(
    request: StepRequest,
    signal: AbortSignal,
    onStarted: ((pid: number) => void) | undefined,
  ): Promise<StepOutcome> {
    const { id, answered } = this.#runs.add(request, signal, onStarted);
    let overdue: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      this.#tell({ t: 'abort', id });
      overdue = setTimeout(() => this.#dieWithin(0), ABORT_TIMEOUT_MS);
    };
    this.#tell({ t: 'run', id, request });
    signal.addEventListener('abort', onAbort);
    return answered.finally(() => {
      clearTimeout(overdue);
      signal.removeEventListener('abort', onAbort);
    });
  }

  /** A message that cannot be sent has no answer; that the channel is closed is seen in `#bury`. */
  #tell(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #hear(message: unknown): void {
    if (this.#gone) return; // H2
    const { log } = this.#options;
    if (!isFromWorker(message))
      return log.warn({ ...this.#names(), pid: this.pid }, 'worker sent an unknown message');
    this.#watch.heard();
    switch (message.t) {
      case 'ready':
        this.#isStarted = true;
        return this.#saidReady();
      case 'adopted':
        return this.#saidAdopted();
      case 'beat':
        return this.#watch.reported(message.progress);
      default:
        if (!this.#runs.answer(message))
          log.warn({ ...this.#names(), pid: this.pid }, 'worker answered for another step');
    }
  }

  #expectStart(): void {
    const timer = setTimeout(
      () => this.#condemn('hung', `no answer within ${START_TIMEOUT_MS / 1000} s of its start`),
      START_TIMEOUT_MS,
    );
    void Promise.race([this.started, this.exited])
      .catch(() => undefined) // it died: that is what `exited` is for
      .then(() => clearTimeout(timer));
  }

  async #unlessGone(said: Promise<void>): Promise<void> {
    const isSaid = await Promise.race([said.then(() => true), this.exited.then(() => false)]);
    if (!isSaid) throw this.#lost(false, await this.exited);
  }

  /** H1. From the first sign of death to the last trace. */
  async #bury(ended: Promise<Pick<WorkerExit, 'code' | 'signal'>>): Promise<WorkerExit> {
    const child = this.#child;
    const closed = new Promise<void>((resolve) => child.once('disconnect', resolve));
    void closed.then(() => this.#dieWithin(ABORT_TIMEOUT_MS));
    const end = await ended;
    this.#dying = true;
    // What it said before it died is still in the channel, an outcome perhaps.
    const drained = Promise.race([closed, sleep(DRAIN_TIMEOUT_MS, null, { ref: false })]);
    const [leftovers] = await Promise.all([this.#sweep(), drained]);
    this.#gone = true;
    if (child.connected) child.disconnect();
    const exit: WorkerExit = { ...end, ...this.#condemnedFor, leftovers };
    this.#runs.rejectAll(() => this.#lost(true, exit));
    this.#options.log.info({ ...this.#names(), pid: this.pid, ...exit }, 'worker gone');
    return exit;
  }

  /**
   * Ends what its steps left: what carries the key of one that is not settled, and what it had just forked, which shows
   * the worker's own mark until it becomes the step. Both are its alone: nobody else's step or worker is met.
   */
  async #sweep(): Promise<number[]> {
    const { nodeId, log, cgroups } = this.#options;
    const keys = this.#runs.unsettledKeys();
    const hidden = (): Promise<number[]> => this.#endGroup(cgroups);
    if (keys.length === 0) return hidden();
    const forked = { LAZARUS_NODE: nodeId, LAZARUS_WORKER: this.#workerId };
    const steps = keys.map((key) => ({ LAZARUS_NODE: nodeId, LAZARUS_KEY: key }));
    try {
      await killGroups(this.#runs.groups());
      const result = await sweepByMark([forked, ...steps]);
      const remaining = result.supported ? result.remaining : [];
      if (remaining.length > 0)
        log.error({ ...this.#names(), remaining }, 'processes of a worker cannot be ended');
      return [...new Set([...remaining, ...(await hidden())])];
    } catch (err) {
      log.error({ ...this.#names(), err }, 'processes of a worker cannot be looked at');
      return [this.pid];
    }
  }

  /** Its whole tree, whatever that did to get away; those that could not be ended are told. */
  async #endGroup(cgroups: Cgroups | null): Promise<number[]> {
    if (cgroups === null) return [];
    try {
      const remaining = await cgroups.end(this.#workerId);
      if (remaining.length > 0)
        this.#options.log.error(
          { ...this.#names(), remaining },
          'processes of a worker cannot be ended',
        );
      return remaining;
    } catch (err) {
      this.#options.log.error({ ...this.#names(), err }, 'the group of a worker cannot be ended');
      return [this.pid];
    }
  }

  /** For the log. */
  #names(): Record<string, unknown> {
    if (this.#owner === null) return { standby: true };
    return { cellId: this.#owner.cellId, agentId: this.#owner.agentId };
  }

  #lost(mayHaveRun: boolean, exit?: WorkerExit): RuntimeError {
    const how = exit ? ` (${exit.detail ?? exit.signal ?? `exit ${exit.code}`})` : '';
    return new RuntimeError(`the worker of agent ${this.#owner?.agentId ?? '?'} is gone${how}`, {
      code: 'WORKER_LOST',
      retryable: true,
      details: { ...this.#owner, pid: this.pid, mayHaveRun, ...exit },
      hint: 'Lazarus brings the agent back as its policy says: `lazarus revivals list`.',
    });
  }
}
