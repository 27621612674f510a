/**
 * Whether an answer counts: it must fit the whole JSON Schema, whatever the provider promised to enforce, and then what the
 * caller knows beyond the schema. Problems come in two forms: for the model, with the values that do not fit; for the
 * journal, as places in the schema, without a word of the answer.
 */
import { createRequire } from 'node:module';
import type { Ajv, ErrorObject, ValidateFunction } from 'ajv';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { isRefusalInJson, jsonIn, soundsLikeRefusal } from '../../machines/llm-answer.ts';
import type { ErrorKind } from '../../machines/llm-policy.ts';
import type { ProviderAnswer } from './provider.ts';

const require = createRequire(import.meta.url);
let ajv: Ajv | undefined;
const compiled = new WeakMap<JsonObject, ValidateFunction>();
/** The same schema in another object: a caller may build it anew for each question. */
const compiledTexts = new Map<string, ValidateFunction>();
const MAX_COMPILED = 64;
const MAX_PLACES = 5;
const MAX_VALUE = 80;

export interface Rules {
  schema: JsonObject;
  /** What does not fit though the schema is kept, one text each. */
  check?: ((content: JsonValue) => string[]) | undefined;
}

export interface Fault {
  kind: ErrorKind;
  detail: string;
  problems: string[];
  places: string[];
}
export type Verdict = { kind: 'valid'; value: JsonValue } | Fault;

/** Throws what `check` throws. */
export function judge(answer: ProviderAnswer, { schema, check }: Rules): Verdict {
  const { text, ended, stopReason } = answer;
  if (ended === 'overflow')
    return failed('context_overflow', 'the question is longer than what the model reads');
  if (ended === 'refusal') return failed('refusal', `it refused (${stopReason ?? 'no reason'})`);
  const value = jsonIn(text);
  if (value === undefined) {
    if (ended === 'length') return failed('truncated', 'the answer was cut off');
    if (soundsLikeRefusal(text)) return failed('refusal', 'it refused in words');
    return failed('invalid_json', 'no JSON in the answer', ['It is no JSON object.']);
  }
  const validate = validatorOf(schema);
  if (!validate(value)) {
    if (ended === 'length') return failed('truncated', 'the answer was cut off');
    if (isRefusalInJson(value, text, schema)) return failed('refusal', 'it refused in words');
    const errors = validate.errors ?? [];
    const places = errors.slice(0, MAX_PLACES).map(({ schemaPath }) => schemaPath.slice(0, 200));
    return {
      ...failed('schema_invalid', 'it does not fit the schema', errors.map(problemOf)),
      places,
    };
  }
  const problems = check?.(value) ?? [];
  if (problems.length === 0) return { kind: 'valid', value };
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  return failed('semantic_invalid', `it fits the schema and has ${count}`, problems);
}

const failed = (kind: ErrorKind, detail: string, problems: string[] = []): Fault => ({
  kind,
  detail,
  problems,
  places: [],
});

function problemOf({ instancePath, message = '', params, data }: ErrorObject): string {
  const { additionalProperty, allowedValues } = params as {
    additionalProperty?: string;
    allowedValues?: JsonValue[];
  };
  const more =
    additionalProperty === undefined
      ? allowedValues === undefined
        ? ''
        : `: ${JSON.stringify(allowedValues).slice(0, MAX_VALUE)}`
      : `: ${additionalProperty.slice(0, MAX_VALUE)}`;
  const value = data === undefined ? '' : ` (it is ${JSON.stringify(data).slice(0, MAX_VALUE)})`;
  return `${instancePath === '' ? 'the object' : instancePath} ${message}${more}${value}`;
}

/** Throws RuntimeError INVALID_ARGUMENT when the schema is none. */
export function validatorOf(schema: JsonObject): ValidateFunction {
  const known = compiled.get(schema);
  if (known) return known;
  const text = JSON.stringify(schema);
  const validate = compiledTexts.get(text) ?? compile(schema);
  compiled.set(schema, validate);
  compiledTexts.set(text, validate);
  const [oldest] = compiledTexts.keys();
  if (compiledTexts.size > MAX_COMPILED && oldest !== undefined) compiledTexts.delete(oldest);
  return validate;
}

function compile(schema: JsonObject): ValidateFunction {
  try {
    return validators().compile(schema);
  } catch (cause) {
    throw new RuntimeError(`not a JSON Schema: ${toPlainError(cause).message}`, {
      code: 'INVALID_ARGUMENT',
      cause,
    });
  } finally {
    ajv?.removeSchema(schema); // it would keep every one that it ever saw
  }
}

/** Loaded with the first question: a start does not wait for it. `verbose`: errors hold the value that does not fit. */
function validators(): Ajv {
  if (ajv) return ajv;
  const { Ajv: Validator } = require('ajv') as typeof import('ajv');
  const formats = require('ajv-formats') as { default: (to: Ajv) => void };
  ajv = new Validator({ allErrors: true, strict: false, verbose: true });
  formats.default(ajv);
  return ajv;
}
