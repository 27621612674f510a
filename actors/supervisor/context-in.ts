/** What the supervisor's actor knows, as of the last commit. */
import { SUPERVISOR } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import type { ActorSystem } from '../system.ts';

/** Undefined: there is none, or it is held. */
export function contextIn(system: Pick<ActorSystem, 'read'>): SupervisorContext | undefined {
  try {
    return system.read(SUPERVISOR).snapshot.context as SupervisorContext;
  } catch (error) {
    if (error instanceof RuntimeError) return undefined;
    throw error;
  }
}
