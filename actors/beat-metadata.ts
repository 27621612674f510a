/** What an agent says of itself with a beat: merged field by field, and bounded, for whoever reaches the port may send it. */
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';

/** Of one agent, as JSON. */
const MAX_BYTES = 64 << 10;
/** Of all agents together. */
const MAX_TOTAL_BYTES = 32 << 20;
const MAX_DEPTH = 32;

/** What one agent has said so far. */
interface Kept {
  metadata: JsonObject;
  metadataBytes: number;
}

/** The metadata of all agents together. */
export class MetadataBudget {
  #totalBytes = 0;

  /** Throws RuntimeError INVALID_ARGUMENT, TOO_LARGE, BUSY; then nothing changed. */
  merge(kept: Kept, given: JsonObject): void {
    const othersBytes = this.#totalBytes - kept.metadataBytes;
    const { merged, sizeBytes } = checked(kept.metadata, given, othersBytes);
    this.#totalBytes = othersBytes + sizeBytes;
    kept.metadata = merged;
    kept.metadataBytes = sizeBytes;
  }

  /** For what comes from a file of ours that somebody may have edited. */
  fits(kept: Kept, given: JsonObject): boolean {
    try {
      checked(kept.metadata, given, this.#totalBytes - kept.metadataBytes);
      return true;
    } catch (error) {
      if (error instanceof RuntimeError) return false;
      throw error;
    }
  }

  /** The agent is forgotten. */
  release(kept: Kept | undefined): void {
    this.#totalBytes -= kept?.metadataBytes ?? 0;
  }
}

function checked(
  before: JsonObject,
  given: JsonObject,
  othersBytes: number,
): { merged: JsonObject; sizeBytes: number } {
  if (isDeeper(given, MAX_DEPTH))
    throw new RuntimeError(`metadata is nested deeper than ${MAX_DEPTH} levels`, {
      code: 'INVALID_ARGUMENT',
    });
  const merged = { ...before, ...given };
  const sizeBytes = Buffer.byteLength(JSON.stringify(merged));
  if (sizeBytes > MAX_BYTES)
    throw new RuntimeError(`the agent's metadata would have ${sizeBytes} bytes`, {
      code: 'TOO_LARGE',
      hint: `At most ${MAX_BYTES} bytes are kept of one agent; fields of earlier beats count.`,
    });
  if (othersBytes + sizeBytes > MAX_TOTAL_BYTES)
    throw new RuntimeError('the metadata of all agents has reached its bound', {
      code: 'BUSY',
      retryable: true,
      hint: 'Send less metadata, or unregister agents that are gone.',
    });
  return { merged, sizeBytes };
}

function isDeeper(value: JsonValue, levels: number): boolean {
  if (!isJsonObject(value) && !Array.isArray(value)) return false;
  return levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1));
}
