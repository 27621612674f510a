/**
 * Keeps the supervisor's actor from approving anything while nobody looks: between the start of a node, or its taking over of a
 * runtime folder, and the door's first look. What it knows then of policy, freeze and homelab is an earlier life's, and actions
 * of that life go on before the door is there. The door ends it.
 */
import { SUPERVISOR } from '../../machines/addresses.ts';
import type { ActorSystem } from '../system.ts';
import { contextIn } from './context-in.ts';

/** Throws RuntimeError when the journal cannot be written. */
export async function holdSupervisor(system: ActorSystem): Promise<void> {
  const context = contextIn(system);
  if (context === undefined || context.frozen) return; // one that is held approves nothing
  if (context.standing.size === 0) return; // nothing to be approved before a look
  await system.send(SUPERVISOR, { type: 'supervisor.frozen', frozen: true });
}
