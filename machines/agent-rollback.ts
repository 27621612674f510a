/**
 * An agent's state put back to an earlier checkpoint. What is true outside of it does not go back with it: finished steps,
 * the task in hand, its failures, what its cell told it. It stands there as lost, and begins again where the task is.
 */
import type { AgentContext } from './agent-context.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

interface PersistedAgent {
  context: JsonObject;
  value: { alive?: { work: JsonValue } };
  children: JsonObject;
}

/** Both are persisted snapshots of the agent machine; `up` is the node's clock now. */
export function rolledBackAgent(earlier: JsonValue, present: JsonValue, up: number): JsonValue {
  const now = (present as unknown as PersistedAgent).context as unknown as AgentContext;
  const then = (earlier as unknown as PersistedAgent).context;
  const facts: Partial<AgentContext> = {
    level: now.level,
    agent: now.agent,
    policies: now.policies,
    restart: now.restart,
    assignment: now.assignment,
    stepsDone: now.stepsDone,
    progress: now.progress,
    failures: now.failures,
    revivals: now.revivals,
    told: now.told,
    paused: now.paused,
    lost: now.lost ?? putBack(now),
    usedMs: now.usedMs + (now.activeSince === null ? 0 : up - now.activeSince),
    activeSince: null,
    begun: now.begun && isStepping(present as unknown as PersistedAgent),
    resting: false,
    inDoubt: now.inDoubt,
    contextHash: null,
    revivalId: null,
    condemned: null,
    queued: false,
    pid: null,
    savedAt: up,
  };
  const { work, children } = workOf(present as unknown as PersistedAgent, now);
  return {
    ...(present as JsonObject),
    value: { alive: { worker: 'lost', revival: 'none', work, clock: 'stopped' } },
    children,
    context: { ...then, ...(facts as unknown as JsonObject) },
  };
}

/** A step that was cut off is part of the present: what became of it is still to be found out, under the same key. */
function workOf(present: PersistedAgent, { assignment }: AgentContext): Work {
  if (assignment === null) return { work: 'idle', children: {} };
  if (!isStepping(present)) return { work: { working: 'choosing' }, children: {} };
  const own = ['step', 'interval', 'periodicContext'];
  const kept = Object.entries(present.children).filter(([id]) => own.includes(id));
  return { work: present.value.alive?.work ?? 'idle', children: Object.fromEntries(kept) };
}

interface Work {
  work: JsonValue;
  children: JsonObject;
}

function isStepping({ value }: PersistedAgent): boolean {
  const work = value.alive?.work;
  return isJsonObject(work) && isJsonObject(work['working']) && 'stepping' in work['working'];
}

const putBack = ({ progress, assignment }: AgentContext): NonNullable<AgentContext['lost']> => ({
  failure: {
    reason: 'event_rejected',
    signature: 'rolled_back',
    message: 'its state was put back',
    taskId: assignment?.taskId ?? null,
    step: null,
    progress,
  },
  reason: 'its state was put back',
});
