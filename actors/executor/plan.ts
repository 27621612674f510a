/**
 * What a driver makes of an action: parts that are run in order, and how to find out afterwards what became of them. Drivers
 * decide; run-plan.ts does.
 */
import type { JsonValue } from '../../machines/json.ts';
import type { EffectSemantics } from '../effects.ts';
import type { Host } from './reach.ts';
import type { RunOutput } from './output.ts';
import type { RunRecord } from './run-record.ts';
import type { Runnable } from '../../machines/action-context.ts';

export type Health = 'healthy' | 'unhealthy' | 'unknown';

export interface Plan {
  driver: string;
  semantics: EffectSemantics;
  via: string;
  verifies: boolean;
  steps: Step[];
  /** One that fails does not keep the others from being tried, and it is enough that one did not. */
  triesAll?: boolean;
  /** What to remember for `probe`; asked before anything is begun. Null: it could not be found out. */
  before?(tools: Tools): Promise<JsonValue>;
  /** Asked when a run was cut off and nothing of it is left on this host. */
  probe?(tools: Tools, record: RunRecord): Promise<ProbeAnswer>;
  health?(tools: Tools): Promise<Health>;
}

export type ProbeAnswer =
  | { kind: 'done'; because: string }
  /** It is as it was before. */
  | { kind: 'not_started' }
  | { kind: 'ended'; end: StepEnd }
  | { kind: 'unknown'; because: string };

export interface Step {
  /** For people, on one line, without secrets. */
  shown: string;
  /** Everything that makes it what it is, for its hash. No secrets. */
  identity: JsonValue;
  timeoutMs: number;
  perform(tools: RunTools, timeoutMs: number): Promise<StepEnd>;
}

export interface StepEnd {
  ok: boolean;
  exit_code: number | null;
  signal: string | null;
  reason: string | null;
}

/** What an answer that came by itself holds. */
export interface Asked {
  exitCode: number | null;
  stdout: string;
  stderr: string;
  /** When it did not end by itself. */
  reason: string | null;
}

export interface Tools {
  run: Runnable;
  key: string;
  signal: AbortSignal;
  /** A short command that changes nothing. */
  look(host: Host, argv: readonly string[]): Promise<Asked>;
  /** To that host's agent; undefined: nobody listens. */
  ask(subject: string, input: JsonValue, timeoutMs: number): Promise<AgentAnswer | undefined>;
}

export interface RunTools extends Tools {
  output: RunOutput;
  /** Runs it to its end, with its output in the action's folder. */
  execute(host: Host | null, argv: readonly string[], options: ExecuteOptions): Promise<StepEnd>;
}

export interface ExecuteOptions {
  timeoutMs: number;
  stdin?: string;
}

/** As the bus gives it (bus/bus.ts). */
export interface AgentAnswer {
  body: JsonValue;
  error: JsonValue;
}
