/**
 * Every event of the runtime's own machines. The `type` is also the name on the wire and in the journal.
 * Past tense: a fact. Imperative: a request, which a machine may refuse.
 */
import type { PlainError } from './errors.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type {
  AgentFile,
  AgentStatus,
  FileChange,
  HostCapabilities,
  IsolationLevel,
  Policies,
  RestartIntensity,
  Step,
} from './mission.ts';

/**
 * What the kernel adds to an event when it delivers it, live and in replay alike, so that machines need no clock.
 * `at`: epoch ms, never going back on one node. `up`: ms this mission folder's nodes have been running in all; stands
 * still while no node runs, so a timeout kept in `up` does not count the time the runtime was down.
 */
export interface Stamp {
  at: number;
  up: number;
  /** The receiver's seq of this event: unique and rising for each actor. */
  seq: number;
}

/** How an effect ended, as the kernel delivers it to the machine that invoked it. */
export type EffectDone<Id extends string, Output = JsonValue> = {
  type: `xstate.done.actor.${Id}`;
  output: Output;
};
export type EffectFailed<Id extends string> = {
  type: `xstate.error.actor.${Id}`;
  error: PlainError;
};

/** What a cell hands to an agent: everything it needs to do the task, so that the agent reads no files. */
export interface Assignment {
  taskId: string;
  title: string;
  description: string;
  /** 1-based; raised by each retry of the task. */
  attempt: number;
  steps: Step[];
  /** For `runner: command` on a task without steps: the task as JSON, fed to the command's stdin. */
  stdin?: string;
  /** Seconds of active time for the whole task. */
  timeout: number;
  /** Declared outputs, relative to the cell's `artifacts/`; they must exist when the task completes. */
  artifacts: string[];
  /** Steps done by an earlier attempt or agent that need not run again. */
  stepsDone: number;
}

export interface TaskResult {
  stepsDone: number;
  /** Of the last step that ran. */
  exitCode: number | null;
  artifacts: string[];
}

/** Why an agent stopped working, told to Lazarus. Equal signatures mean the same fault (futility). */
export interface Failure {
  reason: 'worker_exit' | 'worker_start' | 'effect_error' | 'event_rejected';
  /** Stable text without pids, times or attempt numbers: `worker_exit:SIGKILL@build/compile`. */
  signature: string;
  message: string;
  taskId: string | null;
  step: string | null;
  /** Counter that rises with each finished step; the same value twice means no progress between two failures. */
  progress: number;
}

/**
 * The actor goes on at another node than before. Its `up` is that node's from now on; `leftUp` is what the clock it was
 * used to showed at the end.
 */
type NodeChanged = { type: 'node.changed'; leftUp: number };

export type CellEvent =
  | NodeChanged
  | { type: 'files.changed'; changes: FileChange[] }
  | { type: 'host.probed'; capabilities: HostCapabilities }
  | { type: 'cell.pause' }
  | { type: 'cell.resume' }
  | { type: 'cell.cancel'; reason: string }
  | { type: 'cell.release'; reason: string }
  | { type: 'cell.hold'; reason: string }
  | { type: 'agent.pause'; agentId: string }
  | { type: 'agent.resume'; agentId: string }
  | { type: 'task.retry'; taskId: string }
  | { type: 'task.cancel'; taskId: string; reason: string }
  | { type: 'criterion.confirm'; name: string; by: string }
  | {
      type: 'agent.reported';
      agentId: string;
      status: AgentStatus;
      currentTask: string | null;
      reason: string | null;
    }
  | {
      type: 'agent.checkpointed';
      agentId: string;
      checkpoint: { last_checkpoint: string; context_hash: string; artifacts: string[] };
    }
  | {
      type: 'task.progressed';
      agentId: string;
      taskId: string;
      attempt: number;
      stepsDone: number;
      step: string | null;
    }
  /** The runtime cannot know how the step under way ended; null: it is settled. */
  | {
      type: 'task.doubted';
      agentId: string;
      taskId: string;
      attempt: number;
      reason: string | null;
    }
  | {
      type: 'task.finished';
      agentId: string;
      taskId: string;
      attempt: number;
      outcome: 'completed' | 'failed' | 'cancelled';
      result: TaskResult;
      error: PlainError | null;
      /** False when a person must decide first: not every step is `safe`, so the task is not tried again by itself. */
      retryable: boolean;
    };

export type AgentEvent =
  | NodeChanged
  | {
      type: 'agent.configured';
      agent: AgentFile;
      policies: Policies;
      restart: RestartIntensity;
      level: IsolationLevel;
    }
  | { type: 'task.assigned'; assignment: Assignment }
  | { type: 'task.withdrawn'; taskId: string; reason: string }
  | { type: 'agent.pause' }
  | { type: 'agent.resume' }
  | { type: 'worker.started'; pid: number }
  | { type: 'agent.revive'; revivalId: string }
  | { type: 'agent.abandoned'; reason: string }
  | { type: 'agent.removed' };

export type LazarusEvent =
  | {
      type: 'agent.failed';
      failure: Failure;
      policies: Policies;
      restart: RestartIntensity;
    }
  | { type: 'agent.revived'; revivalId: string; pid: number | null }
  | { type: 'agent.progressed'; progress: number }
  /** A person asks for the revival now, whatever the policy says. */
  | { type: 'revival.approve'; by: string }
  | { type: 'revival.reject'; by: string }
  | { type: 'agent.removed' };

/** Parameters of the three named actions by which a machine reaches beyond itself; the kernel carries them out. */
export interface SendParams {
  /** Logical address, e.g. `cell/<cell_id>/agent/<agent_id>`. */
  to: string;
  event: { type: string } & JsonObject;
}
export interface SpawnParams {
  address: string;
  /** Name of the machine without its version: `agent`. An actor that already lives there is left as it is. */
  machine: string;
  input: JsonObject;
}
export interface StopParams {
  address: string;
  reason: string;
}
