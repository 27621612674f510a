/**
 * Entry of a worker: the process in which the steps of one agent happen. It starts as fast as a bare Node, because it
 * answers first and loads what runs steps right after. Whose it is it learns by `adopt`, perhaps long after its start:
 * until then it stands by for any agent of the node. What it may do is said in worker-messages.ts.
 *
 * W1 It does not outlive its host. When the channel closes it kills its step, group and marks, and exits.
 * W2 A step that was killed because the host is gone leaves no outcome: it is aborted first (R3 of step-runner.ts).
 * W3 Signals meant for the host pass it by. A terminal's Ctrl-C or a service manager's SIGTERM reaches the whole
 *    family, but the host drains and still needs its workers. Only a SIGTERM that comes when the parent has changed
 *    is the kernel's word that the host died.
 */
import { flushCompileCache } from 'node:module';
import { enterGroup } from './enter-group.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';
import type { StepQueue } from './worker-steps.ts';

/** Between two beats; the host's setpriv, and the control group that is ours, or nothing. */
const [beatIntervalMs, setpriv] = [Number(process.argv[2]), process.argv[3] || null];
const entered = process.argv[4] ? enterGroup(process.argv[4]) : Promise.resolve();
const hostPid = process.ppid;
/** Steps, once they can be run. */
let loaded: StepQueue | undefined;
/** It was handed an agent, or told to stop: no time to lose. */
let isWanted = false;
let beatSeq = 0;
let isBeatSent = true;

process.on('message', hear);
process.on('disconnect', () => void hostGone());
process.on('SIGTERM', () => {
  if (process.ppid !== hostPid) void hostGone(); // W3
});
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});

void tell({ t: 'ready', pid: process.pid });
setInterval(beat, beatIntervalMs);
const steps = load();

function hear(message: ToWorker): void {
  switch (message.t) {
    case 'adopt':
      isWanted = true;
      nameProcess(`lazarus worker ${message.cellId}/${message.agentId}`);
      void tell({ t: 'adopted' });
      void steps.then((queue) => queue.adopt(message));
      return;
    case 'run':
      void steps.then((queue) => queue.accept(message.id, message.request));
      return;
    case 'abort':
      void steps.then((queue) => queue.abort(message.id));
      return;
    case 'stop':
      isWanted = true;
      void stop();
      return;
    default:
      return message satisfies never;
  }
}

/** For `ps`. macOS takes tens of ms for it. */
function nameProcess(title: string): void {
  if (process.platform === 'linux') process.title = title;
}

/** After what the host has already said was heard: loading takes some ms in which nothing else happens. */
async function load(): Promise<StepQueue> {
  await new Promise((resolve) => setImmediate(resolve));
  const module = await import('./worker-steps.ts');
  setTimeout(flushCompileCache, 500).unref(); // does nothing unless the host keeps a cache
  loaded = new module.StepQueue(tell, setpriv, entered);
  if (!isWanted) loaded.warmUp();
  return loaded;
}

async function stop(): Promise<void> {
  await (await steps).end();
  process.exit(0);
}

/** W1. What is not loaded has run nothing. */
async function hostGone(): Promise<void> {
  await loaded?.endAtOnce();
  process.exit(0);
}

/** One beat under way at most: a stopped host must not make us hoard them. */
function beat(): void {
  if (!isBeatSent) return;
  isBeatSent = false;
  const progress = loaded?.progress() ?? null;
  void tell({ t: 'beat', seq: (beatSeq += 1), progress }).then(() => (isBeatSent = true));
}

/** Resolves when the message is with the kernel, or cannot be: then the host is gone, and 'disconnect' says so. */
function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || !process.send) return resolve();
    process.send(message, undefined, {}, () => resolve());
  });
}
