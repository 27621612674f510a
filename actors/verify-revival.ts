/**
 * The proof that an agent is whole again. Until it ends, the agent counts as failed.
 *
 * P1 A live worker answered and is heard of now, if the agent's level has workers at all.
 * P2 The context file is as it was last written, or newer; a damaged one is written anew from what the journal knows, and
 *    the agent's own checkpoint likewise. What cannot be mended fails the revival.
 * P3 The step that was cut off is settled: adopted, running again, or listed in doubt.
 *
 * A worker that dies meanwhile is no verdict: its end is told by itself, and this effect is withdrawn then.
 */
import { createHash } from 'node:crypto';
import { RuntimeError } from '../machines/errors.ts';
import type { VerifiedRevival, VerifyRevivalInput } from '../machines/agent-effects.ts';
import type { WriteContextInput, WrittenContext } from '../machines/agent-effects.ts';
import { isJsonObject } from '../machines/json.ts';
import { readInside } from '../cells/inside.ts';
import { checkpointPaths } from '../cells/layout.ts';
import type { CellPlaces } from './cell-places.ts';
import type { EffectContext } from './effects.ts';
import type { StepsInFlight } from './steps-in-flight.ts';
import type { LiveWorkers } from './live-workers.ts';
import { BEAT_INTERVAL_MS } from './worker-messages.ts';

export interface RevivalVerifier {
  places: CellPlaces;
  workers: LiveWorkers;
  steps: StepsInFlight;
  /** Writes the context file, and with it the agent's own checkpoint. */
  writeContext: (address: string, input: WriteContextInput) => Promise<WrittenContext>;
  /** False when the agent's own checkpoint on disk is damaged. */
  isCheckpointSound: (address: string) => boolean;
  checkpoint: (address: string) => Promise<void>;
}

/** Two beats may be late; a third that is missing makes the worker hung, which ends it. */
const FRESH_MS = 3 * BEAT_INTERVAL_MS;
const MAX_CONTEXT_BYTES = 64 << 20;

export async function verifyRevival(
  host: RevivalVerifier,
  { input, address, signal }: EffectContext<VerifyRevivalInput>,
): Promise<VerifiedRevival> {
  const { cellId, agentId, pid } = input;
  if (pid !== null) await host.workers.next(cellId, agentId, signal); // P1
  const repaired: string[] = [];
  if (!host.isCheckpointSound(address)) {
    await host.checkpoint(address);
    repaired.push(checkpointPaths(address).state);
  }
  const written = await checkContext(host, address, input); // P2
  if (written) repaired.push(checkpointPaths(address).context);
  await host.steps.whenSettled(address, signal); // P3
  if (pid !== null) {
    const worker = await host.workers.next(cellId, agentId, signal);
    const silentMs = Date.now() - worker.lastBeatAt();
    if (silentMs > FRESH_MS)
      throw new RuntimeError(`the worker gave no sign of life for ${silentMs} ms`, {
        code: 'WORKER_LOST',
      });
  }
  return written
    ? { repaired, contextHash: written.context_hash, written }
    : { repaired, contextHash: input.contextHash };
}

/** What was written anew; null when the file is as it should be, or there is none yet. */
async function checkContext(
  host: RevivalVerifier,
  address: string,
  { cellId, contextHash, context }: VerifyRevivalInput,
): Promise<WrittenContext | null> {
  if (contextHash === null || context === null) return null;
  const root = host.places.folderOf(cellId);
  if (root === undefined)
    throw new RuntimeError(`the folder of cell ${cellId} is gone`, { code: 'NOT_FOUND' });
  const path = checkpointPaths(address).context;
  const text = readIfThere(root, path);
  if (text !== null && (sha256(text) === contextHash || isNewer(text, context))) return null;
  return host.writeContext(address, context);
}

/** The agent wrote on while this looked: its word about the same attempt, and at least as far. */
function isNewer(text: string, context: WriteContextInput): boolean {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return false; // damaged, and so not newer
  }
  if (!isJsonObject(value)) return false;
  const { agent_id: agent, task_id: task, attempt, steps_done: done } = value;
  const { agentId, taskId, attempt: ours, stepsDone } = context;
  const isSame = agent === agentId && task === taskId && attempt === ours;
  return isSame && typeof done === 'number' && done > stepsDone;
}

function readIfThere(root: string, path: string): string | null {
  try {
    return readInside(root, path, { maxBytes: MAX_CONTEXT_BYTES }).toString('utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') return null;
    throw error;
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
