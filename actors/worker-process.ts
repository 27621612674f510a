/** One worker as its host sees it. The promises H1 to H4 are those of worker-pool.ts. */
import assert from 'node:assert';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { signalGroup, sweepByMark } from './processes.ts';
import type { StepOutcome, StepRequest } from './step-runner.ts';
import { MAX_QUEUED, fromWireError, isFromWorker } from './worker-messages.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';
import { forwardOutput } from './worker-output.ts';
import type { WorkerHandle, WorkerPoolOptions } from './worker-pool.ts';
import { signalOf, spawnWorker } from './worker-spawn.ts';

/** The part of a pino logger that is used here. */
export interface WorkerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface WorkerPlace {
  cellId: string;
  agentId: string;
  /** Absolute path, for the log; each request brings the cell's present path. */
  cellDir: string;
}

export interface WorkerExit {
  code: number | null;
  signal: string | null;
  /** Pids of its steps that could not be ended: nobody may call it gone while there are any. Normally empty. */
  leftovers: number[];
}

interface Run {
  request: StepRequest;
  signal: AbortSignal;
  /** The step's process group, once the worker has told it. */
  group: number | null;
  onStarted: ((pid: number) => void) | undefined;
  resolve(outcome: StepOutcome): void;
  reject(reason: unknown): void;
}

const START_TIMEOUT_MS = 30_000;
/** An abort takes 2 s of grace and some for the sweep; a worker that needs longer is hung. */
const ABORT_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 5_000;
/** For the rest of what a dead process had said. */
const DRAIN_TIMEOUT_MS = 5_000;

export class WorkerProcess implements WorkerHandle {
  readonly pid: number;
  readonly ready: Promise<void>;
  readonly exited: Promise<WorkerExit>;
  readonly #child: ChildProcess;
  readonly #nodeId: string;
  readonly #log: WorkerLog;
  readonly #place: WorkerPlace;
  readonly #siblings: () => WorkerProcess[];
  readonly #runs = new Map<number, Run>();
  #nextRun = 1;
  #lastBeatAt = 0;
  #dying = false;
  #gone = false;
  #saidReady: () => void = () => {};

  /** `siblings`: the other workers of the same agent that are not gone. */
  constructor(options: WorkerPoolOptions, place: WorkerPlace, siblings: () => WorkerProcess[]) {
    this.#nodeId = options.nodeId;
    this.#log = options.log;
    this.#place = place;
    this.#siblings = siblings;
    this.#child = spawnWorker(options, place);
    this.#child.on('error', (err) => this.#log.warn({ ...place, err }, 'worker process error'));
    if (this.#child.pid === undefined)
      throw new RuntimeError(`no worker process could be made for agent ${place.agentId}`, {
        code: 'WORKER_LOST',
        retryable: true,
        details: { ...place, mayHaveRun: false },
      });
    this.pid = this.#child.pid;
    this.#child.on('message', (message) => this.#hear(message));
    forwardOutput(this.#child, (stream, text) =>
      this.#log.warn({ cellId: place.cellId, agentId: place.agentId, stream, text }, 'worker said'),
    );
    this.exited = this.#bury();
    this.ready = this.#becomeReady();
    this.ready.catch(() => {}); // whoever waits for it hears it; `exited` tells everybody else
  }

  serves(cellId: string, agentId: string): boolean {
    return this.#place.cellId === cellId && this.#place.agentId === agentId;
  }

  get isReaped(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  get isEnding(): boolean {
    return this.#dying;
  }

  lastBeatAt(): number {
    return this.#lastBeatAt;
  }

  async run(
    request: StepRequest,
    signal: AbortSignal,
    onStarted?: (pid: number) => void,
  ): Promise<StepOutcome> {
    assert(this.serves(request.cellId, request.agentId), 'a step of another agent');
    assert.equal(request.nodeId, this.#nodeId, 'a step of another node');
    signal.throwIfAborted();
    await this.#predecessorsGone(); // H3
    signal.throwIfAborted();
    this.#refuseRival();
    if (this.#dying) throw this.#lost(false);
    if (this.#runs.size >= MAX_QUEUED)
      throw new RuntimeError(`agent ${request.agentId} has ${MAX_QUEUED} steps waiting`, {
        code: 'BUSY',
        retryable: true,
      });
    return this.#send(request, signal, onStarted);
  }

  async stop(): Promise<void> {
    this.#tell({ t: 'stop' });
    this.#dieWithin(STOP_TIMEOUT_MS);
    await this.exited;
  }

  kill(): void {
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
    const dying = this.#siblings().filter((other) => other.#dying);
    if (dying.length > 0) await Promise.all(dying.map((other) => other.exited));
  }

  /** Two healthy workers of one agent that both run steps would be two agents. */
  #refuseRival(): void {
    const rival = this.#siblings().find((other) => other.#runs.size > 0);
    if (!rival) return;
    throw new RuntimeError(`agent ${this.#place.agentId} already runs a step in another worker`, {
      code: 'CONFLICT',
      details: { ...this.#place, pid: this.pid, otherPid: rival.pid },
    });
  }

  #send(
    request: StepRequest,
    signal: AbortSignal,
    onStarted: ((pid: number) => void) | undefined,
  ): Promise<StepOutcome> {
    const id = this.#nextRun++;
    let overdue: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      this.#tell({ t: 'abort', id });
      overdue = setTimeout(() => this.kill(), ABORT_TIMEOUT_MS);
    };
    const answered = new Promise<StepOutcome>((resolve, reject) => {
      this.#runs.set(id, { request, signal, group: null, onStarted, resolve, reject });
    });
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
    if (!isFromWorker(message))
      return this.#log.warn({ ...this.#place, pid: this.pid }, 'worker sent an unknown message');
    this.#lastBeatAt = Date.now();
    if (message.t === 'ready') return this.#saidReady();
    if (message.t !== 'beat') this.#answer(message);
  }

  #answer(message: Extract<FromWorker, { id: number }>): void {
    const run = this.#runs.get(message.id);
    if (!run) return; // answered already
    if (message.t === 'started') {
      run.group = message.pid;
      return run.onStarted?.(message.pid);
    }
    if (message.t === 'outcome' && message.outcome.key !== run.request.key)
      return this.#log.warn({ ...this.#place, pid: this.pid }, 'worker answered for another step');
    this.#runs.delete(message.id);
    if (message.t === 'outcome') return run.resolve(message.outcome);
    const { key, name, taskId } = run.request;
    if (message.error.aborted && run.signal.aborted) run.reject(run.signal.reason);
    else run.reject(fromWireError(message.error, { ...this.#place, key, taskId, step: name }));
  }

  async #becomeReady(): Promise<void> {
    const said = new Promise<true>((resolve) => (this.#saidReady = () => resolve(true)));
    const timer = setTimeout(() => this.kill(), START_TIMEOUT_MS);
    const isReady = await Promise.race([said, this.exited]);
    clearTimeout(timer);
    if (isReady !== true) throw this.#lost(false);
  }

  /** H1. From the first sign of death to the last trace. */
  async #bury(): Promise<WorkerExit> {
    const child = this.#child;
    const closed = new Promise<void>((resolve) => child.once('disconnect', resolve));
    const reaped = new Promise<Pick<WorkerExit, 'code' | 'signal'>>((resolve) =>
      child.once('exit', (code, signal) => resolve(signalOf(code, signal))),
    );
    void closed.then(() => this.#dieWithin(ABORT_TIMEOUT_MS));
    const end = await reaped;
    this.#dying = true;
    for (const { group } of this.#runs.values()) if (group) signalGroup(group, 'SIGKILL');
    // What it said before it died is still in the channel, an outcome perhaps.
    await Promise.race([closed, sleep(DRAIN_TIMEOUT_MS, null, { ref: false })]);
    const leftovers = await this.#sweep();
    this.#gone = true;
    if (child.connected) child.disconnect();
    const exit = { ...end, leftovers };
    for (const run of this.#runs.values())
      run.reject(run.signal.aborted ? run.signal.reason : this.#lost(true, exit));
    this.#runs.clear();
    const { cellId, agentId } = this.#place;
    this.#log.info({ cellId, agentId, pid: this.pid, ...exit }, 'worker gone');
    return exit;
  }

  /**
   * Ends what the steps in flight left. A standby bears the same marks and is spared; when it already runs a step, we
   * ran none (H3) and there is nothing to sweep.
   */
  async #sweep(): Promise<number[]> {
    const siblings = this.#siblings();
    if (siblings.some((other) => other.#runs.size > 0)) return [];
    const spare = new Set(siblings.map((other) => other.pid));
    const { cellId, agentId } = this.#place;
    const mark = { LAZARUS_NODE: this.#nodeId, LAZARUS_CELL: cellId, LAZARUS_AGENT: agentId };
    try {
      const result = await sweepByMark(mark, { spare });
      const remaining = result.supported ? result.remaining : [];
      if (remaining.length > 0)
        this.#log.error({ cellId, agentId, remaining }, 'processes of a worker cannot be ended');
      return remaining;
    } catch (err) {
      this.#log.error({ cellId, agentId, err }, 'processes of a worker cannot be looked at');
      return [this.pid];
    }
  }

  #lost(mayHaveRun: boolean, exit?: WorkerExit): RuntimeError {
    const how = exit ? ` (${exit.signal ?? `exit ${exit.code}`})` : '';
    return new RuntimeError(`the worker of agent ${this.#place.agentId} is gone${how}`, {
      code: 'WORKER_LOST',
      retryable: true,
      details: { ...this.#place, pid: this.pid, mayHaveRun, ...exit },
      hint: 'Lazarus brings the agent back as its policy says: `lazarus revivals list`.',
    });
  }
}
