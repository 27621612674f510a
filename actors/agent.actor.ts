/**
 * What an agent causes: a worker, steps, its context on disk, a look at the declared artifacts.
 *
 * E1 A step runs in the agent's live worker (level_1) or in a process of the host (none); never in two places at once.
 * E2 A step that ended while nobody listened is adopted from the outcome file beside its logs, never run again.
 * E3 A step cut off without an outcome goes by its `retry`: `safe` waits for the next worker and runs again under the same
 *    key, `probe` asks its probe, `never` is in doubt.
 * E4 What a full disk or a host without processes to spare keeps from beginning waits; the task's timeout bounds it.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { agentAddress } from '../machines/addresses.ts';
import type {
  EndWorkerInput,
  FinishTaskInput,
  RunStepInput,
  RunWorkerInput,
  StepOutput,
  VerifyRevivalInput,
  WriteContextInput,
  WrittenContext,
} from '../machines/agent-effects.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import { asJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { faultPoint } from '../cells/durable.ts';
import { mkdirInside, statInside, writeWholeInside } from '../cells/inside.ts';
import { cellPath, checkpointPaths } from '../cells/layout.ts';
import type { CellPlaces } from './cell-places.ts';
import type { EffectContext, EffectRunner, EffectSemantics, Recovery } from './effects.ts';
import { appendAgentLog } from './agent-log.ts';
import type { LiveWorkers } from './live-workers.ts';
import { runModelStep } from './model-step.ts';
import type { AskModel } from './model-step.ts';
import { outputDigests } from './output-digests.ts';
import type { HostWaits } from './host-waits.ts';
import { readOutcome, runStep } from './step-runner.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';
import { StepsInFlight } from './steps-in-flight.ts';
import { verifyRevival } from './verify-revival.ts';
import type { WorkerHandle, WorkerPool } from './worker-pool.ts';

export interface AgentHost {
  nodeId: string;
  places: CellPlaces;
  pool: WorkerPool;
  workers: LiveWorkers;
  waits: HostWaits;
  /** Undefined: this node asks no models. */
  askModel: () => AskModel | undefined;
  /** Durable checkpoint of an actor. */
  checkpoint: (address: string) => Promise<void>;
  /** False when an actor's checkpoint on disk is damaged. */
  isCheckpointSound: (address: string) => boolean;
  /** A step is about to run: if it was in doubt, that is settled. */
  begins: (input: RunStepInput) => void;
  log: { warn(fields: Record<string, unknown>, message: string): void };
}

/** What the effects of one node's agents share. */
interface Bound extends AgentHost {
  /** By agent: calls off the start of a worker that has not answered yet, or waits its turn. */
  starts: Map<string, AbortController>;
  steps: StepsInFlight;
  /** Whoever writes about an agent waits for whoever does so already. */
  inTurn: <T>(address: string, write: () => Promise<T>) => Promise<T>;
}

export function bindAgentEffects(effects: EffectRunner, agentHost: AgentHost): void {
  const steps = new StepsInFlight();
  const host: Bound = { ...agentHost, steps, starts: new Map(), inTurn: oneAfterTheOther() };
  effects.register<RunWorkerInput>('agent', 'runWorker', {
    semantics: 'idempotent',
    run: (context) => runWorker(host, context),
  });
  effects.register<RunStepInput>('agent', 'runStep', {
    semantics: stepSemantics,
    run: (context) => performStep(host, context),
    recover: (context) => recoverStep(host, context),
    settledOutput: () => ({ exitCode: 0, signal: null, timedOut: false, adopted: true }),
  });
  effects.register<WriteContextInput>('agent', 'writeContext', {
    semantics: 'idempotent',
    run: async (context) => asJsonObject(await saveContext(host, context)),
  });
  effects.register<VerifyRevivalInput>('agent', 'verifyRevival', {
    semantics: 'idempotent',
    run: async (context) => {
      const { signal } = context;
      const verifier = {
        ...host,
        writeContext: (address: string, input: WriteContextInput) =>
          saveContext(host, { address, input, signal }),
      };
      return asJsonObject(await verifyRevival(verifier, context));
    },
  });
  effects.register<EndWorkerInput>('agent', 'endWorker', {
    semantics: 'idempotent',
    run({ input: { cellId, agentId } }) {
      const live = host.workers.get(cellId, agentId);
      if (live) live.kill();
      else host.starts.get(`${cellId}/${agentId}`)?.abort(calledOff(agentId));
      return Promise.resolve(null);
    },
  });
  effects.register<FinishTaskInput>('agent', 'finishTask', {
    semantics: 'pure',
    run: ({ input }) => Promise.resolve(lookAtArtifacts(host, input)),
  });
}

/** Gets a worker and stays until it is surely gone. Aborting it ends the worker. */
async function runWorker(
  { places, pool, workers, starts }: Bound,
  { input, signal, emit }: EffectContext<RunWorkerInput>,
): Promise<JsonValue> {
  const { cellId, agentId, progressTimeout } = input;
  const place = { cellId, agentId, cellDir: folderOf(places, cellId) };
  const key = `${cellId}/${agentId}`;
  const start = new AbortController();
  starts.set(key, start);
  const isOver = AbortSignal.any([signal, start.signal]);
  let handle: WorkerHandle | undefined;
  let isReady = false;
  const stop = (): void => {
    if (isReady) void handle?.stop();
    else handle?.kill(); // it has begun nothing
  };
  isOver.addEventListener('abort', stop, { once: true });
  try {
    handle = await pool.start(place, {
      signal: isOver,
      progressTimeoutMs: progressTimeout ? progressTimeout * 1000 : null,
      onQueued: () => emit({ type: 'worker.queued' }),
      onTurn: () => emit({ type: 'worker.starting' }),
    });
    if (isOver.aborted) stop();
    await handle.ready;
    isReady = true;
    faultPoint('worker.after-ready');
    workers.add(cellId, agentId, handle);
    emit({ type: 'worker.started', pid: handle.pid });
    const { code, signal: by, cause, detail } = await handle.exited;
    return { code, signal: by, cause, ...(detail === null ? {} : { detail }) };
  } finally {
    if (handle) workers.remove(cellId, agentId, handle);
    if (starts.get(key) === start) starts.delete(key);
    isOver.removeEventListener('abort', stop);
  }
}

const calledOff = (agentId: string): RuntimeError =>
  new RuntimeError(`the start of a worker for agent ${agentId} was called off`, {
    code: 'WORKER_LOST',
    retryable: true,
    hint: 'Nobody waits for it any more: see `lazarus revivals list`.',
  });

function stepSemantics({ step }: RunStepInput): EffectSemantics {
  switch (step.retry) {
    case 'safe':
      return 'idempotent';
    case 'probe':
      return 'verify';
    case 'never':
      return 'at_most_once';
    default:
      return step.retry satisfies never;
  }
}

async function performStep(host: Bound, context: EffectContext<RunStepInput>): Promise<JsonValue> {
  const { address, key } = context;
  if (context.restarted) host.steps.cutOff(address, key);
  let isKnown = true;
  try {
    return await stepUntilKnown(host, context);
  } catch (error) {
    isKnown = !(error instanceof RuntimeError && error.code === 'OUTCOME_UNKNOWN');
    throw error;
  } finally {
    if (isKnown || context.signal.aborted) host.steps.settled(address, key);
  }
}

async function stepUntilKnown(
  host: Bound,
  context: EffectContext<RunStepInput>,
): Promise<JsonValue> {
  const { address, key } = context;
  const request = requestOf(host, context, 'step');
  host.begins(context.input);
  if (context.input.step.asks) return putToModel(host, context, request);
  const onStarted = (): void => host.steps.settled(address, key);
  for (;;) {
    try {
      const outcome = await execute(host, context, request, onStarted);
      const { cellDir } = requestOf(host, context, 'step'); // it may have been renamed meanwhile
      await noteInLog(host, { ...request, cellDir }, outcome);
      return outputOf(outcome, false);
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'WORKER_LOST') throw error;
      host.steps.cutOff(address, key);
      if (error.details['mayHaveRun'] === false) continue;
      const known = await readOutcome(request); // E2
      if (known) return outputOf(known, true);
      if (context.input.step.retry === 'safe') continue; // E3
      throw new RuntimeError(`step ${request.name} was cut off and left no outcome`, {
        code: 'OUTCOME_UNKNOWN',
        cause: error,
      });
    }
  }
}

/** E1: one at a time, in the runtime itself. */
async function putToModel(
  host: Bound,
  { input: { level, cellId, agentId }, signal }: EffectContext<RunStepInput>,
  request: StepRequest,
): Promise<JsonValue> {
  const ask = host.askModel();
  if (ask === undefined)
    throw new RuntimeError('no model is configured on this node', {
      code: 'LLM_UNAVAILABLE',
      hint: '`lazarus doctor` says what is missing.',
    });
  const worker = async (): Promise<unknown> =>
    level === 'none' ? null : host.workers.next(cellId, agentId, signal);
  const onWait = (error: RuntimeError): (() => void) => {
    host.log.warn({ cellId, agentId, error: error.message }, 'no model answers; the task waits');
    return host.waits.begin(request, `work waits for a model: ${error.message}`);
  };
  const { outcome, isAdopted } = await host.waits.during(
    request,
    () => runModelStep(request, { ask, worker, onWait }, signal),
    { signal, onWait: (error) => noteWait(host, request, error) },
  );
  await noteInLog(host, request, outcome);
  return outputOf(outcome, isAdopted);
}

/** E1, E4. */
function execute(
  host: AgentHost,
  { input: { level, cellId, agentId }, signal }: EffectContext<RunStepInput>,
  request: StepRequest,
  onStarted: () => void = () => {},
): Promise<StepOutcome> {
  const once = async (): Promise<StepOutcome> => {
    if (level === 'none') return runStep(request, { signal, onStarted });
    const worker = await host.workers.next(cellId, agentId, signal);
    return worker.run(request, signal, onStarted);
  };
  return host.waits.during(request, once, {
    signal,
    onWait: (error) => noteWait(host, request, error),
  });
}

function noteWait(
  { log }: AgentHost,
  { cellId, agentId, taskId }: Pick<StepRequest, 'cellId' | 'agentId' | 'taskId'>,
  error: unknown,
): void {
  log.warn(
    { cellId, agentId, taskId, error: toPlainError(error) },
    'the host has no room; work waits',
  );
}

/** Whoever ran the step before is gone by now: its worker's end, or this node's start, has seen to that. */
async function recoverStep(host: Bound, context: EffectContext<RunStepInput>): Promise<Recovery> {
  const { address, key } = context;
  host.steps.cutOff(address, key);
  let found: Recovery | undefined;
  try {
    found = await findOut(host, context);
    return found;
  } finally {
    if (found?.kind !== 'not_started') host.steps.settled(address, key);
  }
}

async function findOut(host: Bound, context: EffectContext<RunStepInput>): Promise<Recovery> {
  const request = requestOf(host, context, 'step');
  const known = await readOutcome(request);
  if (known) {
    await noteInLog(host, request, known);
    return { kind: 'done', output: outputOf(known, true) };
  }
  if (context.input.step.probe === undefined || context.input.step.retry !== 'probe')
    return { kind: 'unknown' };
  const probe = requestOf(host, context, 'probe');
  const answer = await execute(host, context, probe).catch((error: unknown) => {
    if (error instanceof RuntimeError && error.code === 'WORKER_LOST') return undefined;
    throw error;
  });
  if (answer === undefined) return { kind: 'unknown' };
  await noteInLog(host, probe, answer);
  if (answer.exit_code === 0)
    return {
      kind: 'done',
      output: { exitCode: 0, signal: null, timedOut: false, adopted: true },
    };
  return answer.exit_code === 1 ? { kind: 'not_started' } : { kind: 'unknown' };
}

export function requestOf(
  { places, nodeId }: Pick<AgentHost, 'places' | 'nodeId'>,
  { key, input }: Pick<EffectContext<RunStepInput>, 'key' | 'input'>,
  kind: 'step' | 'probe',
): StepRequest {
  const { cellId, agentId, taskId, stepIndex, step, stdin } = input;
  return {
    key: kind === 'step' ? key : `${key}#probe`,
    cellId,
    agentId,
    taskId,
    stepIndex,
    nodeId,
    kind,
    name: step.name,
    run: kind === 'step' ? step.run : (step.probe ?? []),
    timeoutMs: step.timeout === undefined ? null : step.timeout * 1000,
    cellDir: folderOf(places, cellId),
    ...(stdin === undefined || kind === 'probe' ? {} : { stdin }),
  };
}

function outputOf(outcome: StepOutcome, adopted: boolean): StepOutput & JsonObject {
  const { exit_code: exitCode, signal, timed_out: timedOut } = outcome;
  return { exitCode, signal, timedOut, adopted };
}

/** The log is for people: a step does not fail because its log cannot be written, but somebody should know. */
async function noteInLog(
  { log }: AgentHost,
  request: StepRequest,
  outcome: StepOutcome,
): Promise<void> {
  try {
    await appendAgentLog(request, outcome);
  } catch (error) {
    log.warn(
      { cellId: request.cellId, agentId: request.agentId, error: String(error) },
      'agent log not written',
    );
  }
}

type ContextWriting = Pick<EffectContext<WriteContextInput>, 'input' | 'address' | 'signal'>;

/** E4. */
function saveContext(host: Bound, context: ContextWriting): Promise<WrittenContext> {
  const write = (): Promise<WrittenContext> =>
    host.inTurn(context.address, () => writeContext(host, context));
  return host.waits.during(context.input, write, {
    signal: context.signal,
    onWait: (error) => noteWait(host, context.input, error),
  });
}

/** `checkpoints/<agent>/context.json`, what the agent knows, and beside it the agent's own checkpoint. */
async function writeContext(
  { places, checkpoint }: AgentHost,
  { input, address }: ContextWriting,
): Promise<WrittenContext> {
  const { cellId, agentId, taskId, attempt, stepsDone, step, handover } = input;
  const root = folderOf(places, cellId);
  const knowledge = {
    agent_id: agentId,
    task_id: taskId,
    attempt,
    steps_done: stepsDone,
    next_step: step,
    outputs: outputDigests(root, taskId),
    ...(handover && { taken_over_from: handover.from, their_checkpoint: handover.checkpoint }),
  };
  const text = `${JSON.stringify(knowledge, null, 2)}\n`;
  const paths = checkpointPaths(agentAddress(cellId, agentId));
  await naming(paths.folder, async () => {
    mkdirInside(root, paths.folder);
    await writeWholeInside(root, paths.context, text, { sync: true, what: 'context' });
    await checkpoint(address);
  });
  return {
    last_checkpoint: new Date().toISOString(),
    context_hash: createHash('sha256').update(text).digest('hex'),
    artifacts: Object.keys(knowledge.outputs),
  };
}

/** The system's own message names a temporary file by an open descriptor, which tells nobody anything. */
async function naming(folder: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (error instanceof RuntimeError || typeof code !== 'string') throw error;
    const why = (error as Error).message.replace(/, \w+( '.*)?$/, '');
    throw Object.assign(new Error(`${folder} cannot be written: ${why}`, { cause: error }), {
      code,
    });
  }
}

function oneAfterTheOther(): Bound['inTurn'] {
  const last = new Map<string, Promise<unknown>>();
  return (address, write) => {
    const before = last.get(address) ?? Promise.resolve();
    const mine = before.then(write, write);
    const done = mine.catch(() => undefined); // the caller hears of it; the next one only waits
    last.set(address, done);
    void done.then(() => last.get(address) === done && last.delete(address));
    return mine;
  };
}

function lookAtArtifacts({ places }: AgentHost, { cellId, artifacts }: FinishTaskInput): JsonValue {
  const root = folderOf(places, cellId);
  const present: string[] = [];
  const missing: string[] = [];
  for (const path of artifacts) (isThere(root, path) ? present : missing).push(path);
  return { artifacts: present, missing };
}

/** Declared outputs are named relative to `artifacts/`; with that prefix they are meant the same way. */
function isThere(root: string, path: string): boolean {
  const relative = path.startsWith(`${cellPath.artifacts}/`)
    ? path
    : join(cellPath.artifacts, path);
  return statInside(root, relative) !== null;
}

function folderOf(places: CellPlaces, cellId: string): string {
  const folder = places.folderOf(cellId);
  if (folder !== undefined) return folder;
  throw new RuntimeError(`the folder of cell ${cellId} is gone`, { code: 'NOT_FOUND' });
}
