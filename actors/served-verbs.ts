/** The verbs of one node as its doors serve them. */
import type { ServedVerb } from '../bus/control-socket.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { runVerb, VERBS } from './control.ts';
import type { MissionNode } from './node.ts';
import { rightsOf } from './verbs/verb.ts';
import type { Verb } from './verbs/verb.ts';

/** All but what it does. */
export function described(verb: Verb): Omit<ServedVerb, 'run'> {
  const { name, summary, input, output } = verb;
  const isWriting = verb.kind === 'writes';
  return {
    name,
    summary,
    input,
    ...(output && { output }),
    rights: rightsOf(verb),
    destructive: isWriting && verb.destructive === true,
    idempotent: !isWriting || verb.idempotent === true,
  };
}

/** For whoever may do what the user may who runs the node. */
export function localVerbs(node: MissionNode): ServedVerb[] {
  return VERBS.map((verb) => ({
    ...described(verb),
    run: (given) => runVerb(node, verb.name, given),
  }));
}

/**
 * Those that make sense from another machine. What is recorded of who asked names the door; `nobody` stands for who does
 * not say.
 */
export function remoteVerbs(node: MissionNode, by: { door: string; nobody: string }): ServedVerb[] {
  return VERBS.filter(({ remote }) => remote).map((verb) => ({
    ...described(verb),
    run: (given) => runVerb(node, verb.name, signed(given, verb.input, by)),
  }));
}

const MAX_NAME = 900;

function signed(
  given: JsonValue,
  { properties }: JsonObject,
  { door, nobody }: { door: string; nobody: string },
): JsonValue {
  if (!isJsonObject(given) || !isJsonObject(properties) || !('by' in properties)) return given;
  const { by = nobody } = given;
  return typeof by === 'string' ? { ...given, by: `${by.slice(0, MAX_NAME)} (${door})` } : given;
}
