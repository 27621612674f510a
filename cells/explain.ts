/**
 * ajv's errors in words a person can act on: what the value is, what it may be, and what to write instead. The advice is
 * the `description` of the schema that failed, so it is written once, where editors show it too.
 */
import type { ErrorObject } from 'ajv';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { idProblem } from './layout.ts';
import { describe, pointerSegments, toPointer } from './parse-json.ts';
import type { Problem } from './parse-json.ts';

/** A problem whose line is not looked up yet. */
export type Finding = Omit<Problem, 'line'>;

/** ajv must run with `verbose`. */
export function explainErrors(errors: readonly ErrorObject[]): Finding[] {
  return errors.filter((error) => !repeatsAnother(error)).map(explain);
}

function repeatsAnother(error: ErrorObject): boolean {
  if (error.keyword === 'if' || error.keyword === 'propertyNames') return true;
  return error.keyword === 'discriminator' && paramsOf(error)['tagValue'] === undefined;
}

function explain(error: ErrorObject): Finding {
  const pointer = error.instancePath;
  const name = placeName(pointer);
  const said = describe(error.data);
  const params = paramsOf(error);
  const advice = textOf(error.parentSchema?.['description']) ?? 'See the JSON Schema of this file.';
  switch (error.keyword) {
    case 'required': {
      const where = pointer === '' ? '' : `in ${name}, `;
      const missing = textOf(params['missingProperty']) ?? '';
      return { pointer, message: `${where}'${missing}' is missing`, fix: `Add "${missing}".` };
    }
    case 'enum':
      return { pointer, ...notOneOf(name, error.data, listOf(params['allowedValues'])) };
    case 'discriminator':
      return wrongKind(error);
    case 'const': {
      const message = `${name} is ${said}; it must be ${JSON.stringify(params['allowedValue'])}`;
      return { pointer, message, fix: advice };
    }
    case 'type':
      return {
        pointer,
        message: `${name} is ${said}; it must be ${kinds(params['type'])}`,
        fix: advice,
      };
    case 'pattern':
      return patternProblem(error, name, advice);
    case 'format': {
      const message = `${name} is ${said}; not a time with date, hour and zone`;
      return { pointer, message, fix: advice };
    }
    case 'additionalProperties':
      return unknownKey(error, name);
    case 'uniqueItems': {
      const message = `${name} holds the same twice, at ${String(params['j'])} and ${String(params['i'])}`;
      return { pointer, message, fix: 'Remove one.' };
    }
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum': {
      const bound = { minimum: 'at least', maximum: 'at most', exclusiveMinimum: 'more than' };
      const limit = `${bound[error.keyword]} ${String(params['limit'])}`;
      return { pointer, message: `${name} is ${said}; it must be ${limit}`, fix: advice };
    }
    default: // minLength, maxLength, minItems, maxItems, maxProperties: ajv's own words are plain
      return {
        pointer,
        message: `${name} ${error.message ?? `fails '${error.keyword}'`}`,
        fix: advice,
      };
  }
}

function patternProblem(error: ErrorObject, name: string, advice: string): Finding {
  const key = error.propertyName;
  const text = key ?? textOf(error.data) ?? '';
  const isId = error.parentSchema?.['title'] === 'id';
  const reason = isId ? idProblem(text) : null;
  if (key !== undefined) {
    const pointer = `${error.instancePath}${toPointer([key])}`;
    return { pointer, message: reason ?? `'${key}' cannot be a name here`, fix: advice };
  }
  const message = reason ?? `${describe(error.data)} is not of the expected form`;
  return { pointer: error.instancePath, message: `${name}: ${message}`, fix: advice };
}

/** Only where a schema closes an object: the files of a cell keep what they do not know. */
function unknownKey(error: ErrorObject, name: string): Finding {
  const key = textOf(paramsOf(error)['additionalProperty']) ?? '';
  const properties = error.parentSchema?.['properties'];
  const known = isJsonObject(properties) ? Object.keys(properties) : [];
  const near = nearest(key, known);
  return {
    pointer: `${error.instancePath}${toPointer([key])}`,
    message: `'${key.slice(0, 60)}' is no key of ${name}; it has ${known.join(', ')}`,
    fix: near === null ? 'Remove it.' : `Did you mean "${near}"?`,
  };
}

function wrongKind(error: ErrorObject): Finding {
  const params = paramsOf(error);
  const tag = textOf(params['tag']) ?? '';
  const pointer = `${error.instancePath}${toPointer([tag])}`;
  const options = listOf(error.parentSchema?.['oneOf']).map((option) => {
    const properties = isJsonObject(option) ? option['properties'] : null;
    const property = isJsonObject(properties) ? properties[tag] : null;
    return isJsonObject(property) ? (property['const'] ?? '') : '';
  });
  return { pointer, ...notOneOf(placeName(pointer), params['tagValue'], options) };
}

function notOneOf(
  name: string,
  data: unknown,
  allowed: JsonValue[],
): { message: string; fix: string } {
  const names = allowed.map(String);
  const near = typeof data === 'string' ? nearest(data, names) : null;
  const said = typeof data === 'string' ? `'${data.slice(0, 60)}'` : describe(data);
  return {
    message: `${name} is ${said}; use one of ${names.join(', ')}`,
    fix: near === null ? `Write one of ${names.join(', ')}.` : `Write "${near}".`,
  };
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
};

function kinds(type: unknown): string {
  const types = Array.isArray(type) ? type.map(String) : [textOf(type) ?? ''];
  return types.map((item) => KINDS[item] ?? item).join(' or ');
}

/** "/steps/0/retry" -> "steps[0].retry" */
function placeName(pointer: string): string {
  const text = pointerSegments(pointer)
    .map((segment) => (/^\d+$/.test(segment) ? `[${segment}]` : `.${segment}`))
    .join('');
  return text === '' ? 'the file' : text.replace(/^\./, '');
}

/** The value a slip of the hand most likely meant: at most a third of its letters away (Levenshtein). */
function nearest(typed: string, allowed: string[]): string | null {
  const text = typed.toLowerCase().slice(0, 40);
  const scored = allowed.map((value) => ({ value, distance: editDistance(text, value) }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.ceil(best.value.length / 3) ? best.value : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function paramsOf(error: ErrorObject): Record<string, unknown> {
  return error.params;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function listOf(value: unknown): JsonValue[] {
  return Array.isArray(value) ? value : [];
}
