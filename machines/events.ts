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
  /** For a task without steps: the task as JSON, fed to the command's stdin or put to the model. */
  stdin?: string;
  /** Seconds of active time for the whole task. */
  timeout: number;
  /** Declared outputs, relative to the cell's `artifacts/`; they must exist when the task completes. */
  artifacts: string[];
  /** Steps done by an earlier attempt or agent that need not run again. */
  stepsDone: number;
  /** Set when the task was taken over: whose it was, and the last checkpoint of that agent. */
  handover?: Handover;
}

export interface Handover {
  from: string;
  /** As in the agent's file: `{last_checkpoint, context_hash, artifacts}`; null when it never wrote one. */
  checkpoint: JsonObject | null;
}

export interface TaskResult {
  stepsDone: number;
  /** Of the last step that ran. */
  exitCode: number | null;
  artifacts: string[];
}

/**
 * `worker_hung`: no heartbeat; `no_progress`: alive but stuck; `effect_error`: what it knows cannot be written;
 * `silent`: a remote agent without a sign of life; `unverified`: it came back, but not whole; `actor_held`: its records
 * cannot be folded or are kept back; `event_rejected`: its machine threw an event, again and again.
 */
export type FailureKind =
  | 'worker_exit'
  | 'worker_start'
  | 'worker_hung'
  | 'no_progress'
  | 'effect_error'
  | 'silent'
  | 'unverified'
  | 'actor_held'
  | 'event_rejected';

/** Why an agent stopped working, told to Lazarus. Equal signatures mean the same fault (futility). */
export interface Failure {
  reason: FailureKind;
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
  /** What the daemon's configuration says where a cell's files say nothing. */
  | {
      type: 'daemon.configured';
      policies: Partial<Policies>;
      restart: RestartIntensity | null;
      /** A model is there to be asked. */
      models?: boolean;
    }
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
  /** Lazarus wants the task of a failed agent done by the first of these that can and may. */
  | {
      type: 'agent.substitute';
      agentId: string;
      substitutes: string[];
      revivalId: string;
      reason: string;
    }
  /** The agent's state was put back, or came from elsewhere: it is told what it has in hand. */
  | { type: 'agent.strayed'; agentId: string }
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
  /** The runtime cannot know how its step under way ended, or can again: a task's time stands still meanwhile. */
  | { type: 'step.doubted'; taskId: string; attempt: number; inDoubt: boolean }
  /** What the cell holds to be its task in hand; the agent's own memory gives way. */
  | { type: 'agent.synced'; assignment: Assignment | null }
  | { type: 'agent.pause' }
  | { type: 'agent.resume' }
  /** So many workers start at a time: this agent's waits its turn; `starting`: it is its turn. Neither comes without a wait. */
  | { type: 'worker.queued' }
  | { type: 'worker.starting' }
  | { type: 'worker.started'; pid: number }
  /** `attempt`: 1-based, of this revival. */
  | { type: 'agent.revive'; revivalId: string; attempt: number }
  /** That revival took too long and the task goes to another agent: it ends its worker and stands failed as before. */
  | { type: 'agent.recall'; revivalId: string; failure: Failure }
  | { type: 'agent.abandoned'; reason: string }
  /** A remote agent gave no sign of life for the daemon's `timeout`; `heard`: it does again. */
  | { type: 'agent.silent'; message: string }
  | { type: 'agent.heard' }
  | { type: 'agent.removed' };

export type LazarusEvent =
  | {
      type: 'agent.failed';
      failure: Failure;
      policies: Policies;
      restart: RestartIntensity;
    }
  /** Verified. `repaired`: what of its checkpoint had to be written anew. */
  | { type: 'agent.revived'; revivalId: string; pid: number | null; repaired?: string[] }
  /** The worker it needs for this revival waits its turn to start, and then it is its turn: that time is nobody's fault. */
  | { type: 'agent.queued'; revivalId: string }
  | { type: 'agent.starting'; revivalId: string }
  /** It came back by itself: a remote agent is heard again. */
  | { type: 'agent.recovered' }
  /** Its machine threw an event; the agent itself goes on. */
  | {
      type: 'agent.faulted';
      failure: Failure;
      policies: Policies;
      restart: RestartIntensity;
    }
  | { type: 'agent.progressed'; progress: number }
  /**
   * A person asks for the revival now, whatever the policy says. `revivalId`: the request that is answered; left out, it is
   * the one at hand. `rollBack`: first put the agent's state back to its previous checkpoint.
   */
  | { type: 'revival.approve'; by: string; revivalId?: string; rollBack?: boolean }
  | { type: 'revival.substitute'; by: string; revivalId?: string; agentId: string | null }
  | { type: 'revival.reject'; by: string; revivalId?: string }
  | { type: 'substitution.done'; revivalId: string; substitute: string; taskId: string }
  | { type: 'substitution.refused'; revivalId: string; reason: string }
  | { type: 'agent.removed' };

/** Parameters of the three named actions by which a machine reaches beyond itself; the kernel carries them out. */
export interface SendParams {
  /** Logical address, e.g. `cell/<cell_id>/agent/<agent_id>`. */
  to: string;
  event: { type: string } & JsonObject;
  /** The sender cannot know whether anybody lives there: when nobody does, that is no mistake. */
  ifThere?: true;
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
