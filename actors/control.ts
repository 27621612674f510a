/**
 * The control verbs: one list, served by the command line, the control socket and whatever door comes later. A verb is
 * written once, its input is checked here, and its errors are RuntimeErrors that every door can show.
 */
import { cellAddress } from '../machines/addresses.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { RuntimeError } from '../machines/errors.ts';
import { refuseDeep } from '../machines/input-depth.ts';
import { doubtView } from './status.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { MissionNode } from './node.ts';
import { supervisorDoorIfAny } from './supervisor/supervisor-door.ts';
import { actionReadingVerbs, actionVerbs } from './verbs/actions.ts';
import { addingVerbs } from './verbs/additions.ts';
import { namesIn, schemaProblems } from './schema-check.ts';
import { configVerbs } from './verbs/configuring.ts';
import { doubtVerbs } from './verbs/doubts.ts';
import { explainingVerbs } from './verbs/explaining.ts';
import { injectableVerb, injectVerb } from './verbs/injecting.ts';
import { healthVerbs } from './verbs/health.ts';
import { nearNames } from './verbs/ids.ts';
import { logVerbs } from './verbs/logs.ts';
import { modelReadingVerbs, modelVerbs } from './verbs/models.ts';
import { moveVerbs } from './verbs/moves.ts';
import { planningReadingVerbs, planningVerbs } from './verbs/planning.ts';
import { policyReadingVerbs, policyVerbs } from './verbs/policy.ts';
import { readingVerbs } from './verbs/reading.ts';
import { agentVerbs } from './verbs/agents.ts';
import { requestVerbs } from './verbs/requests.ts';
import { revivalReadingVerbs, revivalVerbs } from './verbs/revivals.ts';
import { supervisingReadingVerbs, supervisingVerbs } from './verbs/supervising.ts';
import type { CheckedInput, MissionReader, Verb } from './verbs/verb.ts';

export type { MissionReader, Verb } from './verbs/verb.ts';

export const VERBS: readonly Verb[] = [
  ...readingVerbs,
  ...agentVerbs,
  ...configVerbs,
  ...explainingVerbs,
  ...logVerbs,
  ...addingVerbs,
  ...requestVerbs,
  ...moveVerbs,
  ...revivalReadingVerbs,
  ...revivalVerbs,
  ...doubtVerbs,
  ...healthVerbs,
  ...planningReadingVerbs,
  ...planningVerbs,
  ...modelReadingVerbs,
  ...modelVerbs,
  ...supervisingReadingVerbs,
  ...supervisingVerbs,
  ...policyReadingVerbs,
  ...policyVerbs,
  ...actionReadingVerbs,
  ...actionVerbs,
  injectVerb,
  injectableVerb,
];

/** Throws RuntimeError NOT_FOUND, naming what is near. */
export function findVerb(name: string): Verb {
  const verb = VERBS.find((known) => known.name === name);
  if (verb) return verb;
  const names = VERBS.map((known) => known.name);
  const near = nearNames(name, names);
  throw new RuntimeError(`there is no verb ${name}`, {
    code: 'NOT_FOUND',
    hint: near.length > 0 ? `Did you mean ${near.join(', ')}?` : `There is ${names.join(', ')}`,
  });
}

/** One verb on a node of this process. Throws INVALID_ARGUMENT when the input does not fit, and what the verb throws. */
export async function runVerb(
  node: MissionNode,
  name: string,
  input: JsonValue,
): Promise<JsonValue> {
  const verb = findVerb(name);
  const checked = checkInput(verb, input);
  return verb.kind === 'reads' ? verb.run(readerOf(node), checked) : verb.run(node, checked);
}

/** A reading verb on whatever can be read. */
export function readVerb(reader: MissionReader, name: string, input: JsonValue): JsonValue {
  const verb = findVerb(name);
  const checked = checkInput(verb, input);
  if (verb.kind === 'reads') return verb.run(reader, checked);
  throw new RuntimeError(`${name} changes something; it needs a node`, { code: 'NOT_RUNNING' });
}

/** Committed state of a running node. */
export function readerOf(node: MissionNode): MissionReader {
  return {
    status: () => node.status(),
    inDoubt: () => node.kernel.system.inDoubt().map(doubtView),
    config: () => node.configView(),
    health: () => node.health.report(),
    agentHealth(agentId, cellId) {
      const { directory, heartbeats } = node.health;
      return directory.isFilled ? heartbeats.agent(agentId, cellId) : undefined;
    },
    cell(cellId) {
      const { system } = node.kernel;
      try {
        return system.read(cellAddress(cellId)).snapshot.context as CellContext;
      } catch (error) {
        if (error instanceof RuntimeError) return undefined; // unknown, or held; the status names the reason
        throw error;
      }
    },
    addresses: (prefix) =>
      [...node.kernel.system.actors.values()]
        .filter(({ address, isShown }) => isShown && address.startsWith(prefix))
        .map(({ address }) => address),
    actor(address) {
      const { system } = node.kernel;
      try {
        const { seq, snapshot, invokes } = system.read(address);
        const machine = system.actors.get(address)?.machine ?? '';
        const state = snapshot.value as JsonValue;
        return { machine, seq, state, context: snapshot.context, invokes };
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
        return error.code === 'ACTOR_UNKNOWN' ? undefined : { held: error.message };
      }
    },
    dependantsOf: (target) => supervisorDoorIfAny(node)?.dependantsOf(target),
    unknownTargets: () => supervisorDoorIfAny(node)?.unknownTargets(),
    clock: () => node.kernel.system.clock.now(),
  };
}

const isNothing = (input: JsonValue): input is JsonObject =>
  isJsonObject(input) && Object.keys(input).length === 0;
const requiresNothing = ({ input: { required } }: Verb): boolean =>
  Array.isArray(required) && required.length === 0;

function checkInput(verb: Verb, input: JsonValue): CheckedInput {
  refuseDeep(input, `${verb.name}: the input is`);
  if (isNothing(input) && requiresNothing(verb)) return input; // most are asked so, and need no validator
  const problems = schemaProblems(verb.input, input, (pointer) => pointer || 'input');
  if (problems.length === 0 && isJsonObject(input)) return input;
  throw new RuntimeError(`${verb.name}: ${problems.join('; ')}`, {
    code: 'INVALID_ARGUMENT',
    hint: `It takes ${namesIn(verb.input) || 'no input'}.`,
  });
}
