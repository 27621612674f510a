/** Input from outside against a JSON Schema of ours. */
import { createRequire } from 'node:module';
import type { Ajv, ValidateFunction } from 'ajv';
import type { JsonObject, JsonValue } from '../machines/json.ts';

const require = createRequire(import.meta.url);
let ajv: Ajv | undefined;
const compiled = new WeakMap<JsonObject, ValidateFunction>();
/** Named in one answer. */
const MAX_PROBLEMS = 10;

/** What does not fit, one text each; empty when all does. `placeOf`: how a JSON pointer, '' for the whole, is called. */
export function schemaProblems(
  schema: JsonObject,
  value: JsonValue,
  placeOf: (pointer: string) => string,
): string[] {
  let check = compiled.get(schema);
  if (check === undefined) compiled.set(schema, (check = validators().compile(schema)));
  if (check(value)) return [];
  return (check.errors ?? []).slice(0, MAX_PROBLEMS).map(({ instancePath, message, params }) => {
    const name = (params as { additionalProperty?: string }).additionalProperty?.slice(0, 100);
    return `${placeOf(instancePath)} ${message}${name === undefined ? '' : `: ${name}`}`;
  });
}

/** What a schema knows, for a hint. */
export const namesIn = ({ properties }: JsonObject): string =>
  Object.keys(properties ?? {}).join(', ');

/** Loaded with the first input: a start does not wait for it (30 ms). */
function validators(): Ajv {
  if (ajv) return ajv;
  const { Ajv: Validator } = require('ajv') as typeof import('ajv');
  return (ajv = new Validator({
    allErrors: true,
    strict: true,
    allowUnionTypes: true,
    meta: false,
    validateSchema: false, // a test does; here whoever asks first would wait 35 ms for it
    code: { optimize: false },
  }));
}
