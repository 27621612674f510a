/**
 * Who may do what with a task. Source: config/permissions.json of the Mission Cell specification.
 *
 * R1 A listed agent has exactly what is listed, whatever its role.
 * R2 An unlisted agent has the defaults of its role: lead everything; write reads everything, writes and executes its own
 *    tasks; read and audit read.
 * R3 "Its own" is a task assigned to it. A task assigned to nobody is anybody's to take, for by taking it it becomes its own.
 */
import type { Grant, PermissionsFile, Role } from './mission.ts';

export type Right = 'read' | 'write' | 'execute';
export type Verdict = { allowed: true } | { allowed: false; reason: string };

export interface Asker {
  agentId: string;
  role: Role;
}

export function mayDo(
  asker: Asker,
  right: Right,
  task: { taskId: string; assignedTo: string | null },
  permissions: PermissionsFile,
): Verdict {
  const grant = grantOf(asker.agentId, permissions);
  if (grant) {
    if (grant[right]?.includes(task.taskId)) return { allowed: true };
    return denied(asker, right, task.taskId, 'config/permissions.json does not list it');
  }
  if (asker.role === 'lead' || right === 'read') return { allowed: true };
  if (asker.role !== 'write')
    return denied(asker, right, task.taskId, `role ${asker.role} only reads`);
  if (task.assignedTo === null || task.assignedTo === asker.agentId) return { allowed: true };
  return denied(asker, right, task.taskId, `it is assigned to ${task.assignedTo}`);
}

/** Both sides must allow a handoff; a side that is not listed allows it. */
export function mayHandOff(from: string, to: string, permissions: PermissionsFile): Verdict {
  const giver = grantOf(from, permissions);
  if (giver && !giver.handoff_to?.includes(to))
    return { allowed: false, reason: `${from} may not hand off to ${to}` };
  const taker = grantOf(to, permissions);
  if (taker && !taker.handoff_from?.includes(from))
    return { allowed: false, reason: `${to} may not take over from ${from}` };
  return { allowed: true };
}

function grantOf(agentId: string, permissions: PermissionsFile): Partial<Grant> | undefined {
  return Object.hasOwn(permissions, agentId) ? permissions[agentId] : undefined;
}

function denied(asker: Asker, right: Right, taskId: string, why: string): Verdict {
  return {
    allowed: false,
    reason: `agent ${asker.agentId} has no right to ${right} ${taskId}: ${why}`,
  };
}
