/**
 * Who gets a ready task. Deterministic: of the agents that can and may do it and are free, the one that has finished the
 * fewest tasks, then the first by id. When nobody can, the reason says what a person would have to change.
 *
 * N1 A task that names its agent goes to that agent or to nobody.
 * N2 Nobody gets a task without the right to execute it (permissions.ts), nor without a way to do it.
 */
import type { AgentFile, PermissionsFile, TaskFile } from './mission.ts';
import { mayDo } from './permissions.ts';

export interface Candidate {
  id: string;
  file: AgentFile;
  /** Tasks without steps it puts to a model, and there is one. */
  asks: boolean;
  /** Idle, running and willing: it can take a task now. */
  free: boolean;
  /** Why it will not be free by itself: `is paused`, `failed`, `was not started: ...`; null otherwise. */
  unavailable: string | null;
  finished: number;
}

export interface Applicant {
  taskId: string;
  file: TaskFile;
  wishedAgent: string | null;
}

export type Ability = { agents: Candidate[] } | { agents: null; reason: string };

export type Choice =
  | { kind: 'assign'; agentId: string }
  /** Nobody is free; a reason is given when that takes a person to change. */
  | { kind: 'wait'; reason: string | null };

/** The agents that can and may do a task, whether they are free or not; or why nobody does. */
export function whoCanDo(
  task: Applicant,
  candidates: readonly Candidate[],
  permissions: PermissionsFile,
): Ability {
  const asked = candidates.filter((c) => task.wishedAgent === null || c.id === task.wishedAgent);
  if (asked.length === 0)
    return {
      agents: null,
      reason:
        task.wishedAgent === null
          ? 'there is no agent in this cell'
          : `is assigned to ${task.wishedAgent}, which does not exist`,
    };
  const refusals: string[] = [];
  const agents = asked.filter((candidate) => {
    const refusal = refusalOf(candidate, task, permissions);
    if (refusal !== null) refusals.push(refusal);
    return refusal === null;
  });
  return agents.length > 0 ? { agents } : { agents: null, reason: summarised(refusals) };
}

/** Of those that can do it, the one that shall. */
export function chooseAgent(able: readonly Candidate[]): Choice {
  const free = able.filter((candidate) => candidate.free);
  const best = free.reduce<Candidate | null>((a, b) => (a && !isBefore(b, a) ? a : b), null);
  if (best) return { kind: 'assign', agentId: best.id };
  const hindered = able.every((candidate) => candidate.unavailable !== null);
  const [first] = able;
  return {
    kind: 'wait',
    reason: hindered && first ? `waits for agent ${first.id}, which ${first.unavailable}` : null,
  };
}

/** Why this agent can never do this task as things are; null when it can. */
function refusalOf(
  candidate: Pick<Candidate, 'id' | 'file' | 'asks'>,
  task: Applicant,
  permissions: PermissionsFile,
): string | null {
  const { id, file, asks } = candidate;
  const { requires, steps } = task.file;
  if (task.wishedAgent === null) {
    if (requires.role !== undefined && file.role !== requires.role)
      return `agent ${id} has role ${file.role}, not ${requires.role}`;
    const lacking = requires.capabilities.filter((name) => !file.capabilities.includes(name));
    if (lacking.length > 0) return `agent ${id} lacks ${lacking.join(', ')}`;
  }
  const right = mayDo(
    { agentId: id, role: file.role },
    'execute',
    { taskId: task.taskId, assignedTo: task.wishedAgent },
    permissions,
  );
  if (!right.allowed) return right.reason;
  if (steps.length > 0 || file.runner?.kind === 'command' || asks) return null;
  return (
    `has no steps and no agent with a model: add \`steps\`, give agent ${id} ` +
    '`runner: {"kind": "command", "run": [...]}`, or configure a model (`lazarus doctor` says which are missing)'
  );
}

function summarised(refusals: readonly string[]): string {
  const shown = [...new Set(refusals)].slice(0, 3);
  const more = refusals.length > shown.length ? `; and ${refusals.length - shown.length} more` : '';
  return shown.length === 1 ? `${shown[0]}${more}` : `nobody can do it: ${shown.join('; ')}${more}`;
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.finished !== b.finished ? a.finished < b.finished : a.id < b.id;
}
