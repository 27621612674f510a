/**
 * The way by NATS: a request to the agent on a service's host, which does there what its own configuration allows. The
 * protocol `lazarus.exec@1` stands in docs/executor.md.
 *
 * N1 It is asked what is to be done, not told how: type, host, service, and the names from our file. Of commands it gets the
 *    name and the words.
 * N2 The key goes along: an agent does nothing twice for one key, and `status` tells what became of it.
 * N3 Nobody listens: nothing happened. No answer in time, or one that makes no sense: nobody knows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { withSignal } from '../with-signal.ts';
import { told as shortened } from './output.ts';
import type { Redact } from './output.ts';
import type { AgentAnswer, Health, Plan, ProbeAnswer, StepEnd, Tools } from './plan.ts';
import { subjectOf } from './reach.ts';
import type { Host } from './reach.ts';

export const FORMAT = 'lazarus.exec@1';
/** Between two questions what became of it. */
const AGAIN_MS = 1000;

export interface AgentTask {
  /** Beyond what every request has. */
  task: JsonObject;
  timeoutMs: number;
  /** Between the agent's own deadline and ours. */
  travelMs: number;
  probeMs: number;
  verifies: boolean;
}

export function byHostAgent(
  driver: string,
  host: Host,
  { task, timeoutMs, travelMs, probeMs, verifies }: AgentTask,
): Plan {
  const subject = host.config.via === 'nats' ? subjectOf(host.name, host.config) : '';
  const body = (op: string, { run, key }: Tools): JsonObject => ({
    format: FORMAT,
    op,
    key,
    action_id: run.actionId,
    sha256: run.sha256,
    type: driver,
    host: run.host,
    service: run.service,
    timeout_s: timeoutMs / 1000,
    ...task,
  });
  return {
    driver,
    semantics: 'verify',
    via: host.via,
    verifies,
    steps: [
      {
        shown: `request to ${subject}: ${driver} ${JSON.stringify(task)}`,
        identity: { subject, driver, task },
        timeoutMs,
        perform: async (tools) => {
          const answer = await asked(tools, subject, body('run', tools), timeoutMs + travelMs);
          if (typeof answer === 'string') return failed(answer);
          const end = endIn(answer);
          if (end === undefined) throw senseless(subject);
          tools.output.note('stdout', end.stdout);
          tools.output.note('stderr', end.stderr);
          return end;
        },
      },
    ],
    probe: async (tools) => {
      const deadline = performance.now() + timeoutMs + travelMs; // what still runs there ends by then
      for (;;) {
        const answer = await asked(tools, subject, body('status', tools), probeMs);
        if (typeof answer === 'string') return { kind: 'unknown', because: answer };
        if (!isRunning(answer) || performance.now() >= deadline) return stateIn(answer);
        await sleep(AGAIN_MS, null, { signal: tools.signal });
      }
    },
    health: async (tools) => {
      const answer = await asked(tools, subject, body('health', tools), probeMs);
      return typeof answer === 'string' ? 'unknown' : healthIn(answer);
    },
  };
}

/** The answer, or why nothing was done. Throws OUTCOME_UNKNOWN (N3). */
async function asked(
  tools: Tools,
  subject: string,
  input: JsonObject,
  timeoutMs: number,
): Promise<JsonValue> {
  let answer: AgentAnswer | undefined;
  try {
    answer = await withSignal(tools.signal, tools.ask(subject, input, timeoutMs));
  } catch (error) {
    tools.signal.throwIfAborted();
    const code = error instanceof RuntimeError ? error.code : undefined;
    if (code === 'BUSY') return `nothing was sent: ${toPlainError(error).message}`;
    if (code === 'OUTCOME_UNKNOWN') throw error;
    throw new RuntimeError(`asking ${subject} failed: ${toPlainError(error).message}`, {
      code: 'OUTCOME_UNKNOWN',
      cause: error,
      hint: 'See on that host what was done, then settle it: `lazarus doubt list`.',
    });
  }
  if (answer === undefined) return `nobody listens on ${subject}: is that host's agent running?`;
  const { error, body } = answer;
  if (!isJsonObject(error)) return isJsonObject(body) ? body : null;
  const { message } = error;
  return `the host's agent refused: ${typeof message === 'string' ? message.slice(0, 500) : 'it gave no reason'}`;
}

type AgentEnd = StepEnd & { stdout: string; stderr: string };

/** Undefined: it says nothing that could be relied on. */
function endIn(answer: JsonValue): AgentEnd | undefined {
  if (!isJsonObject(answer) || typeof answer['ok'] !== 'boolean') return undefined;
  const { ok, exit_code: code = null, signal = null, reason = null } = answer;
  const { stdout = '', stderr = '' } = answer;
  if (code !== null && !(Number.isSafeInteger(code) && Math.abs(code as number) < 1e6))
    return undefined;
  if (signal !== null && !(typeof signal === 'string' && /^SIG[A-Z0-9]{1,10}$/.test(signal)))
    return undefined;
  if (reason !== null && typeof reason !== 'string') return undefined;
  if (typeof stdout !== 'string' || typeof stderr !== 'string') return undefined;
  if (ok && typeof code === 'number' && code !== 0) return undefined; // it contradicts itself
  const why = reason ?? (ok ? null : `the host's agent says that it failed`);
  return {
    ok,
    exit_code: code as number | null,
    signal,
    reason: why && plain(why),
    stdout,
    stderr,
  };
}

const plain = (text: string): string => shortened(text.slice(0, 500), asIs);
const asIs: Redact = (text) => text;

const isRunning = (answer: JsonValue): boolean =>
  isJsonObject(answer) && answer['state'] === 'running';

function stateIn(answer: JsonValue): ProbeAnswer {
  const state = isJsonObject(answer) ? answer['state'] : undefined;
  if (state === 'not_started') return { kind: 'not_started' };
  if (state === 'running') return { kind: 'unknown', because: 'it is still running there' };
  const end = state === 'done' ? endIn(answer) : undefined;
  if (end === undefined)
    return { kind: 'unknown', because: `the host's agent does not know what became of it` };
  const { ok, exit_code, signal, reason } = end;
  return { kind: 'ended', end: { ok, exit_code, signal, reason } };
}

function healthIn(answer: JsonValue): Health {
  const health = isJsonObject(answer) ? answer['health'] : undefined;
  return health === 'healthy' || health === 'unhealthy' ? health : 'unknown';
}

const failed = (reason: string): StepEnd => ({ ok: false, exit_code: null, signal: null, reason });

function senseless(subject: string): RuntimeError {
  return new RuntimeError(`what ${subject} answered makes no sense, so it may have been done`, {
    code: 'OUTCOME_UNKNOWN',
    hint: 'docs/executor.md says what an agent answers; see what it did, then settle it: `lazarus doubt list`.',
  });
}
