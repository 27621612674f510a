/**
 * Entry of a worker: the process in which the steps of one agent happen. It imports little, so that it starts about as
 * fast as a bare Node. One step at a time; what it may do is said in worker-messages.ts.
 *
 * W1 It does not outlive its host. When the channel closes it kills its step, group and marks, and exits.
 * W2 A step that was killed because the host is gone leaves no outcome: it is aborted first (R3 of step-runner.ts).
 * W3 Signals meant for the host pass it by. A terminal's Ctrl-C or a service manager's SIGTERM reaches the whole
 *    family, but the host drains and still needs its workers. Only a SIGTERM that comes when the parent has changed
 *    is the kernel's word that the host died.
 */
import { flushCompileCache } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { signalGroup, startTimeOf } from './processes.ts';
import { runStep } from './step-runner.ts';
import type { StepRequest } from './step-runner.ts';
import { BEAT_INTERVAL_MS, MAX_QUEUED, toWireError } from './worker-messages.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

interface Job {
  id: number;
  request: StepRequest;
  abort: AbortController;
  /** Group of the process, once there is one. */
  group: number | null;
}

/** Longest wait, after the host's death, for a killed step to be gone. */
const FAREWELL_MS = 10_000;

const hostPid = process.ppid;
const jobs: Job[] = []; // the first is the one that runs
let working: Promise<void> = Promise.resolve();
let leaving = false;

process.on('message', (message: ToWorker) => {
  switch (message.t) {
    case 'run':
      return accept(message.id, message.request);
    case 'abort':
      return jobs.find((job) => job.id === message.id)?.abort.abort();
    case 'stop':
      void stop();
      return;
    default:
      return message satisfies never;
  }
});
process.on('disconnect', () => void hostGone());
process.on('SIGTERM', () => {
  if (process.ppid !== hostPid) void hostGone(); // W3
});
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});

void tell({ t: 'ready', pid: process.pid, startTime: startTimeOf(process.pid) });
let beatSeq = 0;
let beatSent = true;
beat();
setInterval(beat, BEAT_INTERVAL_MS);
setTimeout(flushCompileCache, BEAT_INTERVAL_MS / 2).unref(); // does nothing unless the host keeps a cache

function accept(id: number, request: StepRequest): void {
  const job: Job = { id, request, abort: new AbortController(), group: null };
  if (leaving) return refuse(job, 'it is about to exit');
  if (jobs.length >= MAX_QUEUED) return refuse(job, `${MAX_QUEUED} steps wait already`);
  jobs.push(job);
  if (jobs.length === 1) working = work();
}

function refuse(job: Job, why: string): void {
  const error = new RuntimeError(`the worker takes no step: ${why}`, {
    code: 'BUSY',
    retryable: true,
  });
  void tell({ t: 'failed', id: job.id, error: toWireError(error, false) });
}

async function work(): Promise<void> {
  for (let job = jobs[0]; job; job = jobs[0]) {
    const answer = await perform(job);
    jobs.shift();
    await tell(answer);
  }
}

async function perform(job: Job): Promise<FromWorker> {
  const { id, request, abort } = job;
  const onStarted = (pid: number): void => {
    job.group = pid;
    void tell({ t: 'started', id, pid });
  };
  try {
    return {
      t: 'outcome',
      id,
      outcome: await runStep(request, { signal: abort.signal, onStarted }),
    };
  } catch (error) {
    return { t: 'failed', id, error: toWireError(error, error === abort.signal.reason) };
  } finally {
    job.group = null;
  }
}

function abortAll(): void {
  leaving = true;
  for (const job of jobs) job.abort.abort();
}

async function stop(): Promise<void> {
  abortAll();
  await working;
  process.exit(0);
}

/** W1. `runStep` itself sweeps and then settles; here it is only told not to be patient. */
async function hostGone(): Promise<void> {
  abortAll(); // W2: before the kill
  const group = jobs[0]?.group ?? null;
  if (group !== null) signalGroup(group, 'SIGKILL');
  await Promise.race([working, sleep(FAREWELL_MS)]);
  process.exit(0);
}

/** One beat under way at most: a stopped host must not make us hoard them. */
function beat(): void {
  if (!beatSent) return;
  beatSent = false;
  void tell({ t: 'beat', seq: (beatSeq += 1) }).then(() => (beatSent = true));
}

/** Resolves when the message is with the kernel, or cannot be: then the host is gone, and 'disconnect' says so. */
function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || !process.send) return resolve();
    process.send(message, undefined, {}, () => resolve());
  });
}
