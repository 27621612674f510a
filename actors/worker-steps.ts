/** The steps of a worker, one at a time, in the order in which they came. W1 and W2 are those of worker.ts. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { signalGroup, underSetpriv, useSetpriv } from './processes.ts';
import { StepMeter } from './step-meter.ts';
import { runStep } from './step-runner.ts';
import type { StepRequest } from './step-request.ts';
import type { Progress } from './worker-health.ts';
import { MAX_QUEUED, toWireError } from './worker-messages.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

type Owner = Extract<ToWorker, { t: 'adopt' }>;

interface Job {
  id: number;
  request: StepRequest;
  abort: AbortController;
  /** Once there is a process. */
  running: { group: number; meter: StepMeter } | null;
}

/** Longest wait, after the host's death, for a killed step to be gone. */
const FAREWELL_MS = 10_000;

export class StepQueue {
  readonly #tell: (message: FromWorker) => Promise<void>;
  readonly #jobs: Job[] = []; // the first is the one that runs
  readonly #entered: Promise<void>;
  #owner: Owner | null = null;
  #working: Promise<void> = Promise.resolve();
  #warming: Promise<void> = Promise.resolve();
  #leaving = false;

  /** `entered`: it is in its control group, if it has one; nothing is run before. */
  constructor(
    tell: (message: FromWorker) => Promise<void>,
    setpriv: string | null,
    entered: Promise<void>,
  ) {
    this.#tell = tell;
    this.#entered = entered;
    useSetpriv(setpriv);
  }

  /** A worker that stands by has time: its first step is to meet code that has run before. */
  warmUp(): void {
    const [command = '', ...args] = underSetpriv(['true'], ['--pdeathsig', 'KILL']);
    const child = spawn(command, args, { detached: true, stdio: 'ignore' });
    this.#warming = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve()); // a host without `true` or room for it: a real step will say so
    });
  }

  adopt(owner: Owner): void {
    this.#owner ??= owner;
  }

  accept(id: number, request: StepRequest): void {
    const job: Job = { id, request, abort: new AbortController(), running: null };
    const { cellId, agentId } = request;
    if (this.#leaving) return this.#refuse(job, 'it is about to exit');
    if (cellId !== this.#owner?.cellId || agentId !== this.#owner.agentId)
      return this.#refuse(job, 'it serves another agent', 'CONFLICT');
    if (this.#jobs.length >= MAX_QUEUED)
      return this.#refuse(job, `${MAX_QUEUED} steps wait already`);
    this.#jobs.push(job);
    if (this.#jobs.length === 1) this.#working = this.#work();
  }

  abort(id: number): void {
    this.#jobs.find((job) => job.id === id)?.abort.abort();
  }

  progress(): Progress | null {
    return this.#jobs[0]?.running?.meter.sample() ?? null;
  }

  /** Takes no step any more; resolves when the one in flight is gone. */
  async end(): Promise<void> {
    this.#leaving = true;
    for (const job of this.#jobs) job.abort.abort();
    await Promise.all([this.#working, this.#warming]);
  }

  /** W1. `runStep` itself sweeps and then settles; here it is only told not to be patient. */
  async endAtOnce(): Promise<void> {
    const ended = this.end(); // W2: before the kill
    const group = this.#jobs[0]?.running?.group;
    if (group !== undefined) signalGroup(group, 'SIGKILL');
    await Promise.race([ended, sleep(FAREWELL_MS)]);
  }

  #refuse(job: Job, why: string, code: 'BUSY' | 'CONFLICT' = 'BUSY'): void {
    const retryable = code === 'BUSY';
    const error = new RuntimeError(`the worker takes no step: ${why}`, { code, retryable });
    void this.#tell({ t: 'failed', id: job.id, error: toWireError(error, false) });
  }

  async #work(): Promise<void> {
    for (let job = this.#jobs[0]; job; job = this.#jobs[0]) {
      const answer = await this.#perform(job);
      this.#jobs.shift();
      await this.#tell(answer);
    }
  }

  async #perform(job: Job): Promise<FromWorker> {
    const { id, request, abort } = job;
    const lookEveryMs = this.#owner?.lookEveryMs ?? 0;
    const onStarted = (pid: number, outputBytes: () => number): void => {
      const mark = { LAZARUS_NODE: request.nodeId, LAZARUS_KEY: request.key };
      job.running = {
        group: pid,
        meter: new StepMeter({ id, pid, mark, outputBytes, lookEveryMs }),
      };
      void this.#tell({ t: 'started', id, pid });
    };
    try {
      await this.#entered;
      const outcome = await runStep(request, { signal: abort.signal, onStarted });
      return { t: 'outcome', id, outcome };
    } catch (error) {
      return { t: 'failed', id, error: toWireError(error, error === abort.signal.reason) };
    } finally {
      job.running = null;
    }
  }
}
