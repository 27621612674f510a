/**
 * What actions cause: their files written and moved, what would run looked up, the run itself, its verification.
 *
 * E1 A run is under way at most as often as its driver declares (P4): what may have begun and has no outcome is asked of
 *    the driver, and in doubt when that does not know.
 * E2 With the executor switched off nothing is claimed and nothing begins, also when it was let run in an earlier life. And
 *    nothing is claimed under a grant that would not be given any more (G3), or an approval that has lapsed meanwhile.
 * E3 A node that was told of no runtime folder does nothing about actions of an earlier life: they wait.
 */
import { readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { outputFolder } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { ActionContext, Moved, MoveInput } from '../../machines/action-context.ts';
import type { PlannedRun, Runnable, RunOutcome } from '../../machines/action-context.ts';
import { GATE } from '../../machines/addresses.ts';
import { whyNotAnyMore } from '../../machines/gate-rules.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject, isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { completed, eventFile } from '../../machines/remediation-event.ts';
import type { ExecutorMode } from '../../machines/remediation.ts';
import { SERVICE_STATUS, statusIn, toldAt } from '../../machines/world-words.ts';
import type { EffectRunner } from '../effects.ts';
import { writeEventFile } from '../event-files.ts';
import type { Executor } from '../executor/types.ts';
import type { ActorSystem, SystemLog } from '../system.ts';
import type { ActionFiles } from './action-files.ts';
import { moveFile, writePending } from './action-moves.ts';
import type { WhyNot } from './action-moves.ts';

export interface ActionHost {
  files: ActionFiles;
  /** Of the actions and the gate. */
  system: ActorSystem;
  layout: RuntimeLayout;
  mode: ExecutorMode;
  /** Undefined: none is configured. */
  executor?: Executor | undefined;
  /** How long a service has to report that it is well, ms. */
  verifyMs: number;
  /** Tells people that an action failed; called again after a crash, with the same key. */
  escalate?: ((about: JsonObject, key: string, signal: AbortSignal) => Promise<void>) | undefined;
  /** What this machine is called in event files; left out: none are written. */
  nodeName?: string | undefined;
  log: SystemLog;
}

const PLAN_MS = 30_000;
const LOOK_AGAIN_MS = 2000;
const MAX_OUTPUT = 4000;

/** E3: those that are parked while no runtime folder is known. */
export const ACTION_EFFECTS = [
  'writePending',
  'moveFile',
  'planRun',
  'runAction',
  'awaitHealthy',
  'escalate',
] as const;

export function bindActionEffects(effects: EffectRunner, host: ActionHost): void {
  const { files, log } = host;
  effects.register<{ actionId: string; content: JsonObject }>('action', 'writePending', {
    semantics: 'idempotent',
    run: async ({ input }) => asJson(await writePending(files, input)),
  });
  effects.register<MoveInput>('action', 'moveFile', {
    semantics: 'idempotent',
    async run({ input, key, address, restarted }) {
      const moved = await moveFile(files, input, key, whyNot(host, input, address));
      await tellEnd(host, input, restarted);
      return asJson(moved);
    },
  });
  effects.register<{ run: Runnable }>('action', 'planRun', {
    semantics: 'pure',
    run: async ({ input: { run } }) =>
      asJsonObject({ ...(await plan(host, run).catch(withHint)), verifyMs: host.verifyMs }),
  });
  bindRun(effects, host);
  effects.register<{ run: Runnable; since: number; until: number }>('action', 'awaitHealthy', {
    semantics: 'pure',
    run: ({ input, signal }) => awaitHealthy(host, input, signal),
  });
  effects.register<{ about: JsonObject }>('action', 'escalate', {
    semantics: 'idempotent',
    async run({ input: { about }, key, signal }) {
      log.warn(about, 'action_failed');
      await host.escalate?.(about, key, signal);
      return null;
    },
  });
}

/** What comes of an action is read by people, in its file and elsewhere: what they can do about it belongs to it. */
function withHint(error: unknown): never {
  if (!(error instanceof RuntimeError) || error.hint === undefined) throw error;
  const { message, code, hint } = error;
  throw new RuntimeError(`${message}. ${hint}`, { code, cause: error });
}

/**
 * How an action ended, for other programs; a file that cannot be written keeps nothing from ending. Of those that an incident
 * proposed the incident tells.
 */
async function tellEnd(
  { layout, nodeName, log }: ActionHost,
  { actionId, move, content = {} }: MoveInput,
  restarted: boolean,
): Promise<void> {
  const isEnd = move.kind === 'complete' || move.kind === 'fail';
  if (!isEnd || nodeName === undefined || isJsonObject(content['incident'])) return;
  const { service = '' } = content;
  const { timestamp, reason = null } = move.entry;
  const about = {
    service: typeof service === 'string' ? service : '',
    actionId,
    at: Math.round(timestamp * 1000),
  };
  const why = typeof reason === 'string' ? reason : null;
  const file = eventFile(completed(about, { status: move.to, reason: why }), nodeName);
  try {
    await writeEventFile(file, { events: layout.events, restarted });
  } catch (error) {
    log.warn({ actionId, error: String(error) }, 'event file of its end not written');
  }
}

const asJson = (moved: Moved): JsonObject => asJsonObject(moved);

/** E2. Of a claim alone: whatever else is moved, a person asked for it, or it tells what came about. */
function whyNot({ mode, system }: ActionHost, { move }: MoveInput, address: string): WhyNot {
  if (move.kind !== 'claim') return () => undefined;
  return () => {
    if (mode !== 'on') return 'the executor was switched off';
    const { at: now } = system.clock.now();
    const { actionId, facts, approval } = contextOf(system, address) as ActionContext;
    if (approval === null || approval.expiresAt <= now) return 'its approval has lapsed';
    const { host = '', service = '' } = facts ?? {};
    const gate = contextOf(system, GATE) as GateContext;
    return whyNotAnyMore(gate, { actionId, host, service }, now);
  };
}

/** What is committed. Throws RuntimeError ACTOR_HELD: nothing is claimed then. */
const contextOf = (system: ActorSystem, address: string): unknown =>
  system.read(address).snapshot.context;

/** Throws RuntimeError UNSUPPORTED, NOT_CONFIGURED, INVALID_ARGUMENT when nothing can run it. */
export async function plan(
  { executor }: Pick<ActionHost, 'executor'>,
  run: Runnable,
): ReturnType<Executor['plan']> {
  if (executor === undefined)
    throw new RuntimeError('no executor is configured', {
      code: 'NOT_CONFIGURED',
      hint: 'Start the node with `lazarus up --runtime DIR --executor dry-run`, or on.',
    });
  const waiting = new AbortController();
  const timeout = sleep(PLAN_MS, undefined, { signal: waiting.signal, ref: false }).then(() => {
    throw new RuntimeError(`the driver did not say within ${PLAN_MS / 1000} s how it would run`, {
      code: 'BUSY',
      retryable: true,
    });
  });
  try {
    return await Promise.race([executor.plan(run), timeout]);
  } finally {
    timeout.catch(() => undefined); // it is ended here
    waiting.abort();
  }
}

/** E1. */
function bindRun(effects: EffectRunner, host: ActionHost): void {
  const { layout, executor, mode } = host;
  const folderOf = ({ actionId }: Runnable): string => outputFolder(layout, actionId);
  effects.register<{ run: Runnable; plan: PlannedRun }>('action', 'runAction', {
    semantics: ({ plan: { semantics } }) => semantics,
    async run({ input: { run }, key, signal }) {
      if (mode !== 'on' || executor === undefined)
        throw new RuntimeError('the executor was switched off before it began', {
          code: 'CONFLICT',
        }); // E2
      const folder = folderOf(run);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return shortened(await executor.run(run, { key, signal, outputFolder: folder }));
    },
    async recover({ input: { run }, key, signal }) {
      if (executor === undefined) return { kind: 'unknown' };
      const found = await executor.recover(run, { key, outputFolder: folderOf(run), signal });
      if (found.kind !== 'done' || !isJsonObject(found.output)) return found;
      return { kind: 'done', output: shortened(found.output as unknown as RunOutcome) };
    },
    settledOutput: settledRun,
  });
}

/** A person says of a run in doubt that it did its work, also while no runtime folder is known. */
export function settledRun(): JsonObject {
  const outcome: RunOutcome = {
    ok: true,
    reason: null,
    exit_code: null,
    signal: null,
    stdout: '',
    stderr: '',
    started_at: '',
    finished_at: '',
  };
  return asJsonObject(outcome);
}

/** The whole is in the output folder; this is journaled. */
function shortened(outcome: RunOutcome): JsonObject {
  const { stdout, stderr } = outcome;
  return asJsonObject({
    ...outcome,
    stdout: stdout.slice(-MAX_OUTPUT),
    stderr: stderr.slice(-MAX_OUTPUT),
  });
}

/** Resolves when somebody says that the service is well; throws when nobody did until then. */
async function awaitHealthy(
  { executor, layout, log }: ActionHost,
  { run, since, until }: { run: Runnable; since: number; until: number },
  signal: AbortSignal,
): Promise<JsonObject> {
  while (Date.now() < until) {
    signal.throwIfAborted();
    try {
      if ((await executor?.isHealthy(run, signal)) === 'healthy') return { by: 'its driver' };
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn({ actionId: run.actionId, error: String(error) }, 'health not learnt; asked again');
    }
    if (isHealthyInWorld(layout.world, run, since)) return { by: 'world/services.json' };
    await sleep(Math.max(1, Math.min(LOOK_AGAIN_MS, until - Date.now())), undefined, { signal });
  }
  throw new RuntimeError(`${run.host}/${run.service} was not seen healthy in time`, {
    code: 'NOT_FOUND',
  });
}

const MAX_WORLD_BYTES = 16 << 20;

/**
 * What the homelab's observer saw after the run: an entry that says when goes by that, for a file may be touched, or written anew
 * for another's sake. One that cannot be read says nothing (P6).
 */
function isHealthyInWorld(world: string, { host, service }: Runnable, since: number): boolean {
  const path = join(world, 'services.json');
  try {
    const { mtimeMs, size } = statSync(path);
    if (mtimeMs <= since || size > MAX_WORLD_BYTES) return false;
    const services = JSON.parse(readFileSync(path, 'utf8')) as unknown;
    const entry = isJsonObject(services) ? services[`${host}/${service}`] : undefined;
    if (statusIn(entry ?? null, SERVICE_STATUS).condition !== 'well') return false;
    return (toldAt(entry ?? null, false, mtimeMs) ?? mtimeMs) > since;
  } catch {
    return false; // not there, or half a file of somebody who does not write whole ones
  }
}
