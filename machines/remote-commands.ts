/**
 * What another machine may not bring in unless the configuration allows it: commands that would run here. Every door from
 * outside (HTTP, bus, MCP) looks with this one function, whatever verb or event the input belongs to.
 */
import { RuntimeError } from './errors.ts';
import { MAX_INPUT_DEPTH, refuseDeep } from './input-depth.ts';
import { isJsonObject } from './json.ts';
import type { JsonValue } from './json.ts';

/** Members of the files of a cell that hold, or contain, an argv; an MCP server is a command too. */
const COMMANDS = new Set(['run', 'steps', 'probe', 'mcp_servers']);

/** JSON pointer of the first command in the input; null when there is none. What is nested too deeply counts as one. */
export function findCommand(input: JsonValue, pointer = '', depth = 0): string | null {
  if (depth > MAX_INPUT_DEPTH) return pointer;
  const members = Array.isArray(input)
    ? input.map((value, index): [string, JsonValue] => [String(index), value])
    : isJsonObject(input)
      ? Object.entries(input)
      : [];
  for (const [name, value] of members) {
    const place = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (COMMANDS.has(name) && typeof value === 'object' && value !== null) return place;
    const found = findCommand(value, place, depth + 1);
    if (found !== null) return found;
  }
  return null;
}

/**
 * Throws FORBIDDEN when there is a command in the input, INVALID_ARGUMENT when it is nested too deeply to tell. `way`: by
 * which it came, "from the network".
 */
export function refuseCommands(input: JsonValue, way: string): void {
  refuseDeep(input, 'the input is');
  const pointer = findCommand(input);
  if (pointer !== null) throw forbiddenCommand(pointer, way);
}

export function forbiddenCommand(pointer: string, way: string): RuntimeError {
  return new RuntimeError(`${pointer} is a command, and commands are not taken ${way}`, {
    code: 'FORBIDDEN',
    hint: 'Allow it with "remote_commands": true in the daemon\'s configuration, or add it on the host itself.',
  });
}
