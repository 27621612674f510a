/**
 * Whether a value has the shape of a checkpoint, by hand: a start reads tens of thousands of them, and each is known by
 * its hash to be what this runtime wrote, so a validator's import and its list of all problems would be paid for nothing.
 *
 * G1 It accepts exactly what schemas/checkpoint.json accepts (a property test compares them), but for `sha256`, which the
 *    reader has compared before it parses the rest.
 */
import { isJsonObject } from '../machines/json.ts';
import type { Checkpoint } from '../machines/persisted.ts';

type Rule = (value: unknown) => string | undefined;

/** By field: what is wrong with its value, or undefined. */
const REQUIRED: readonly (readonly [keyof Checkpoint, Rule])[] = [
  ['format', (value) => (value === 1 ? undefined : 'is not 1')],
  ['address', text(1, 300)],
  ['machine', text(1, 200)],
  ['version', integerFrom(1)],
  ['definitionHash', text(0, 200)],
  ['seq', integerFrom(0)],
  ['epoch', integerFrom(0)],
  ['at', number],
  ['invokes', invokesProblem],
  ['dedupe', dedupeProblem],
  ['snapshot', (value) => (value === null || isJsonObject(value) ? undefined : 'is no object')],
];

/** What is wrong, with the place as a JSON pointer; undefined when it is a checkpoint. */
export function checkpointProblem(value: unknown): string | undefined {
  if (!isJsonObject(value)) return 'it is no object';
  for (const [name, rule] of REQUIRED) {
    const problem = rule(value[name]);
    if (problem !== undefined) return `/${name} ${problem}`;
  }
  const { stopped } = value;
  return stopped === undefined || stopped === true ? undefined : '/stopped is not true';
}

function invokesProblem(value: unknown): string | undefined {
  if (!isJsonObject(value)) return 'is no object';
  for (const id of Object.keys(value)) {
    const invoke = value[id];
    const problem = isJsonObject(invoke) ? invokeProblem(invoke) : 'is no object';
    if (problem !== undefined) return `of ${JSON.stringify(id.slice(0, 80))}: ${problem}`;
  }
  return undefined;
}

const seqProblem = integerFrom(1);

function invokeProblem({ src, input, seq, started }: Record<string, unknown>): string | undefined {
  if (typeof src !== 'string') return 'src is no text';
  if (input === undefined) return 'input is missing';
  const problem = seqProblem(seq);
  if (problem !== undefined) return `seq ${problem}`;
  return started === undefined || started === true ? undefined : 'started is not true';
}

function dedupeProblem(value: unknown): string | undefined {
  if (!isJsonObject(value)) return 'is no object';
  const { senders, streams, ids, forgottenUpTo } = value;
  if (!isJsonObject(senders)) return 'has no senders';
  if (!isJsonObject(streams)) return 'has no streams';
  if (!Array.isArray(ids)) return 'has no list of ids';
  const problem = number(forgottenUpTo);
  return problem === undefined ? undefined : `forgottenUpTo ${problem}`;
}

function number(value: unknown): string | undefined {
  return Number.isFinite(value) ? undefined : 'is no number';
}

function integerFrom(least: number): Rule {
  return (value) =>
    Number.isInteger(value) && (value as number) >= least
      ? undefined
      : `is no whole number from ${least}`;
}

/** Lengths in characters as JSON Schema counts them, which is not as JavaScript does. */
function text(least: number, most: number): Rule {
  return (value) => {
    if (typeof value !== 'string') return 'is no text';
    const length = value.length <= most ? value.length : Array.from(value).length;
    return length >= least && length <= most
      ? undefined
      : `has ${length} characters, not ${least} to ${most}`;
  };
}
