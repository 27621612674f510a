/** An agent's state put back to its previous checkpoint, as a journaled event (DESIGN 4). What is finished stays so. */
import type { CellStore } from '../cells/checkpoint.ts';
import { agentAddress } from '../machines/addresses.ts';
import { rolledBackAgent } from '../machines/agent-rollback.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import type { ActorOfAgent } from '../machines/lazarus-actions.ts';
import type { ActorSystem } from './system.ts';

export async function rollBackAgent(
  system: ActorSystem,
  store: Pick<CellStore, 'previousCheckpoint'>,
  { cellId, agentId, revivalId }: ActorOfAgent,
): Promise<{ toSeq: number }> {
  const address = agentAddress(cellId, agentId);
  const actor = system.actors.get(address);
  if (actor === undefined || actor.stopped)
    throw new RuntimeError(`no actor lives at ${address}`, { code: 'ACTOR_UNKNOWN' });
  const { state } = system.wake(actor);
  const earlier = store.previousCheckpoint(address);
  if (earlier === undefined || `${earlier.machine}@${earlier.version}` !== state.logic.id)
    throw new RuntimeError(`agent ${agentId} has no earlier checkpoint to go back to`, {
      code: 'NOT_FOUND',
      hint: `Bring it back as it is: \`lazarus revivals approve ${revivalId}\`.`,
    });
  const present = JSON.parse(JSON.stringify(state.logic.persist(state.snapshot))) as JsonValue;
  const snapshot = rolledBackAgent(earlier.snapshot, present, system.clock.now().up);
  await system.rollBack(address, { seq: earlier.seq, snapshot }, `revival ${revivalId}`);
  return { toSeq: earlier.seq };
}
