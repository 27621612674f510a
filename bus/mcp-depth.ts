/** How deep a message of MCP may be nested: the SDK checks messages with functions that call themselves. */
import { MAX_INPUT_DEPTH } from '../machines/input-depth.ts';
import { isDeeperThan, isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';

export const TOO_DEEP = `the message is nested more than ${MAX_INPUT_DEPTH} deep`;

/** The arguments of a tool do not count: the tool refuses them in words that a model reads (mcp.ts M3). */
export function isTooDeep(message: JsonValue): boolean {
  if (!isJsonObject(message) || !isJsonObject(message['params']))
    return isDeeperThan(message, MAX_INPUT_DEPTH);
  const { arguments: _, ...params } = message['params'];
  return isDeeperThan({ ...message, params }, MAX_INPUT_DEPTH);
}
