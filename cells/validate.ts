/**
 * The JSON Schemas of a cell's files, applied: what is wrong, where (pointer and line) and how to mend it. What a
 * schema cannot say in words that editors know (step names differ, a task does not wait for itself) is checked here.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Ajv, ErrorObject, ValidateFunction } from 'ajv';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { FileKind } from '../machines/mission.ts';
import { explainErrors } from './explain.ts';
import type { Finding } from './explain.ts';
import { MAX_PROBLEMS, lineOfPointer, toPointer } from './parse-json.ts';
import type { Problem } from './parse-json.ts';
import { parseCpu, parseSize } from './units.ts';

export type SchemaKind =
  FileKind | 'cell-drop' | 'owner' | 'checkpoint' | 'daemon-config' | 'executor' | 'policy';

export type Validated =
  { ok: true; value: JsonObject } | { ok: false; path: string; problems: Problem[] };

const FILES: readonly (SchemaKind | 'common')[] = [
  'common',
  'cell',
  'agent',
  'task',
  'isolation',
  'policies',
  'permissions',
  'cell-drop',
  'owner',
  'checkpoint',
  'daemon-config',
  'executor',
  'policy',
];

/** Where the schemas' ids begin; editors may use the ids or the files in cells/schemas/. */
export const SCHEMA_BASE = 'https://lazarus.dev/schemas/';

/**
 * `text`: the source, for line numbers (without it every line is 1). `path`: the file, as it is named in the result.
 * The value is not changed: unknown fields stay, and defaults are for those who use the values to fill in.
 */
export function validate(
  kind: SchemaKind,
  value: unknown,
  { text, path }: { text?: string; path: string },
): Validated {
  const errors =
    kind === 'daemon-config' && isJsonObject(value)
      ? settingErrors(value)
      : errorsOf(validator(kind), value);
  const fits = errors.length === 0;
  const findings = fits ? beyondSchema(kind, value) : explainErrors(errors);
  if (fits && findings.length === 0 && isJsonObject(value)) return { ok: true, value };
  const unique = new Map(findings.map((item) => [`${item.pointer} ${item.message}`, item]));
  const problems = [...unique.values()].slice(0, MAX_PROBLEMS).map(({ pointer, message, fix }) => ({
    pointer,
    line: text === undefined ? 1 : lineOfPointer(text, pointer),
    message,
    fix,
  }));
  return { ok: false, path, problems: problems.sort((a, b) => a.line - b.line) };
}

/** The schema as it is on disk, for doors, `--json` output and editors. */
export function schemaOf(kind: SchemaKind | 'common'): JsonObject {
  const schema: unknown = JSON.parse(
    readFileSync(new URL(`./schemas/${kind}.json`, import.meta.url), 'utf8'),
  );
  if (isJsonObject(schema)) return schema;
  throw new Error(`cells/schemas/${kind}.json is no object`);
}

const require = createRequire(import.meta.url);
const validators = new Map<SchemaKind, ValidateFunction>();
let ajv: Ajv | undefined;

/** Each setting by its own part of the schema: a start with an option or two does not wait for the whole (40 ms). */
function settingErrors(content: JsonObject): ErrorObject[] {
  const { properties, ...schema } = (configSchema ??= schemaOf('daemon-config'));
  const settings = Object.entries(properties as JsonObject);
  const names = Object.fromEntries(settings.map(([key]) => [key, true]));
  const unknown = errorsOf(partValidator('_names', { ...schema, properties: names }), content);
  const given = settings.filter(([key]) => Object.hasOwn(content, key));
  const wrong = given.flatMap(([key, part]) => {
    const place = { parentData: content, parentDataProperty: key, rootData: content };
    const context = { ...place, instancePath: toPointer([key]), dynamicAnchors: {} };
    return errorsOf(partValidator(key, part as JsonObject), content[key], context);
  });
  return [...unknown, ...wrong];
}

let configSchema: JsonObject | undefined;

function partValidator(name: string, schema: JsonObject): ValidateFunction {
  const $id = `${SCHEMA_BASE}daemon-config.${name}.json`;
  ajv ??= loadAjv();
  return ajv.getSchema($id) ?? ajv.compile({ ...schema, $id });
}

function errorsOf(
  check: ValidateFunction,
  value: unknown,
  place?: Parameters<ValidateFunction>[1],
): ErrorObject[] {
  return check(value, place) ? [] : (check.errors ?? []);
}

/** Loaded and compiled at first use: a start that has no file to check does not wait for it (30 ms). */
function validator(kind: SchemaKind): ValidateFunction {
  const known = validators.get(kind) ?? compile(kind);
  validators.set(kind, known);
  return known;
}

function compile(kind: SchemaKind): ValidateFunction {
  ajv ??= loadAjv();
  const compiled = ajv.getSchema(`${SCHEMA_BASE}${kind}.json`);
  if (compiled) return compiled;
  throw new Error(`there is no schema for ${kind}`);
}

/** By `require`, for whoever validates cannot wait. */
function loadAjv(): Ajv {
  const { Ajv: Validator } = require('ajv') as typeof import('ajv');
  const formats = require('ajv-formats') as typeof import('ajv-formats');
  const loaded = new Validator({
    allErrors: true, // the size of every file and list is bounded
    strict: true,
    strictRequired: false, // `required` stands beside an allOf that has the properties
    allowUnionTypes: true, // "an id or null"
    discriminator: true,
    verbose: true, // explain.ts reads the description of the schema that failed
    validateSchema: false, // a test does; here it would cost every start 30 ms
    code: { optimize: false }, // as fast to run, and a third of the time to compile is saved
  });
  formats.default(loaded, ['date-time']);
  for (const file of FILES) loaded.addSchema(schemaOf(file));
  return loaded;
}

/** Rules between places of one file; the value fits its schema. */
function beyondSchema(kind: SchemaKind, value: unknown): Finding[] {
  if (!isJsonObject(value)) return [];
  const criteria = repeated(value['success_criteria'], 'name', '/success_criteria');
  switch (kind) {
    case 'cell':
      return criteria;
    case 'task':
      return taskRules(value, '');
    case 'isolation':
      return limitRules(value, '');
    case 'cell-drop':
      return [...criteria, ...dropRules(value)];
    default:
      return [];
  }
}

function dropRules(drop: JsonObject): Finding[] {
  const { agents, tasks, config } = drop;
  const isolation = isJsonObject(config) ? config['isolation'] : undefined;
  return [
    ...repeated(agents, 'agent_id', '/agents'),
    ...repeated(tasks, 'task_id', '/tasks'),
    ...misnamed(agents, 'agent_id', '/agents'),
    ...misnamed(tasks, 'task_id', '/tasks'),
    ...Object.entries(tasks ?? {}).flatMap(([key, task]) =>
      isJsonObject(task) ? taskRules(task, `/tasks${toPointer([key])}`, key) : [],
    ),
    ...(isJsonObject(isolation) ? limitRules(isolation, '/config/isolation') : []),
  ];
}

/** `key`: the task's id where the file has it outside the task. */
function taskRules(task: JsonObject, base: string, key = ''): Finding[] {
  const id = task['task_id'] ?? key;
  const own = Array.isArray(task['dependencies']) ? task['dependencies'].indexOf(id) : -1;
  const waitsForItself: Finding = {
    pointer: `${base}/dependencies/${own}`,
    message: `task ${JSON.stringify(id)} depends on itself`,
    fix: 'Remove it from its own dependencies.',
  };
  return [
    ...repeated(task['steps'], 'name', `${base}/steps`),
    ...(own >= 0 ? [waitsForItself] : []),
  ];
}

/** The schema's patterns bound the form of a limit, not its size. */
function limitRules(isolation: JsonObject, base: string): Finding[] {
  const limits = isolation['resource_limits'];
  if (!isJsonObject(limits)) return [];
  return Object.entries(limits).flatMap(([name, value]) => {
    try {
      if (name === 'cpu' && (typeof value === 'string' || typeof value === 'number'))
        parseCpu(value);
      if ((name === 'memory' || name === 'disk') && typeof value === 'string') parseSize(value);
      return [];
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      const pointer = `${base}/resource_limits/${name}`;
      return [{ pointer, message: `${name}: ${error.message}`, fix: error.hint ?? '' }];
    }
  });
}

/** Items of a list that carry the same name as an earlier one. */
function repeated(list: JsonValue | undefined, field: string, base: string): Finding[] {
  if (!Array.isArray(list)) return [];
  const names = list.map((item) => (isJsonObject(item) ? item[field] : undefined));
  return names.flatMap((name, index) => {
    const first = names.indexOf(name);
    if (name === undefined || first === index) return [];
    const pointer = `${base}/${index}/${field}`;
    const message = `${field} ${JSON.stringify(name)} stands twice: at ${first} and ${index}`;
    return [{ pointer, message, fix: 'Give each its own.' }];
  });
}

/** In an object by id, an id inside must be the one outside. */
function misnamed(map: JsonValue | undefined, field: string, base: string): Finding[] {
  if (!isJsonObject(map)) return [];
  return Object.entries(map).flatMap(([key, item]) => {
    const id = isJsonObject(item) ? item[field] : undefined;
    if (id === undefined || id === key) return [];
    const pointer = `${base}${toPointer([key, field])}`;
    const message = `${field} is ${JSON.stringify(id)} under the name "${key}"`;
    return [{ pointer, message, fix: `Write "${key}".` }];
  });
}
