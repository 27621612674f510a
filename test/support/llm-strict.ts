/** What the real servers refuse, and what they accept and read otherwise than it is meant: both are faults of a caller. */
import type { IncomingHttpHeaders } from 'node:http';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';

const rule = (isKept: boolean, problem: string): string[] => (isKept ? [] : [problem]);
const isText = (value: JsonValue | undefined): value is string =>
  typeof value === 'string' && value !== '';
const objectIn = (value: JsonValue | undefined): JsonObject => (isJsonObject(value) ? value : {});
const messagesIn = ({ messages }: JsonObject): JsonObject[] =>
  Array.isArray(messages) ? messages.map(objectIn) : [];

const OLLAMA_FIELDS = new Set([
  'model',
  'messages',
  'stream',
  'format',
  'keep_alive',
  'options',
  'truncate',
  'shift',
]);

export function ollamaViolations(body: JsonObject): string[] {
  const options = objectIn(body['options']);
  const messages = messagesIn(body);
  return [
    ...Object.keys(body).flatMap((key) => rule(OLLAMA_FIELDS.has(key), `unknown field ${key}`)),
    ...rule(isText(body['model']), 'model is required'),
    ...rule(body['stream'] === true, 'not a stream: a cold model outlives the headers timeout'),
    ...rule(isJsonObject(body['format']), 'no format: nothing holds the model to the schema'),
    ...rule(body['truncate'] === false && body['shift'] === false, 'it may be cut in silence'),
    ...rule(Number.isInteger(options['num_ctx']), 'num_ctx is left to the size of the GPU'),
    ...rule(Number(options['num_predict']) > 0, 'no num_predict: whitespace without end'),
    ...rule(messages.length > 0, 'no messages'),
    ...messages.flatMap(({ role, content }) => [
      ...rule(['system', 'user', 'assistant'].includes(String(role)), `role ${String(role)}`),
      ...rule(typeof content === 'string', 'content must be a string'),
    ]),
    ...rule(messages.at(-1)?.['role'] === 'user', 'the last message is not the user’s'),
    ...rule(
      messages.some(({ content }) => String(content).includes(JSON.stringify(body['format']))),
      'the model is not shown the schema',
    ),
  ];
}

const CLAUDE_FIELDS = new Set([
  'model',
  'max_tokens',
  'messages',
  'system',
  'stream',
  'output_config',
  'thinking',
  'metadata',
]);
const EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'];

export function anthropicViolations(
  body: JsonObject,
  headers: IncomingHttpHeaders,
  key: string,
): string[] {
  const { max_tokens: max, output_config: config, thinking } = body;
  const { format, effort, ...rest } = objectIn(config);
  return [
    ...rule(headers['anthropic-version'] === '2026-10-21', 'anthropic-version'),
    ...rule(headers.authorization === `Bearer ${key}`, 'authorization'),
    ...rule(headers['x-api-key'] === undefined, 'x-api-key is of an older version'),
    ...rule(headers['x-stainless-retry-count'] === '0', 'the client repeats by itself'),
    ...Object.keys(body).flatMap((name) =>
      rule(CLAUDE_FIELDS.has(name), `${name}: Extra inputs are not permitted`),
    ),
    ...rule(isText(body['model']), 'model: Field required'),
    ...rule(Number.isInteger(max) && Number(max) > 0, 'max_tokens: Field required'),
    ...rule(body['stream'] === true, 'not a stream'),
    ...rule(body['system'] === undefined || isText(body['system']), 'system must not be empty'),
    ...turnViolations(messagesIn(body)),
    ...rule(Object.keys(rest).length === 0, 'output_config: Extra inputs are not permitted'),
    ...rule(effort === undefined || EFFORTS.includes(String(effort)), 'output_config.effort'),
    ...formatViolations(objectIn(format)),
    ...rule(
      thinking === undefined ||
        ['disabled', 'adaptive'].includes(String(objectIn(thinking)['type'])),
      'thinking',
    ),
  ];
}

function turnViolations(messages: JsonObject[]): string[] {
  return [
    ...rule(messages[0]?.['role'] === 'user', 'messages: first message must use the user role'),
    ...rule(messages.at(-1)?.['role'] === 'user', 'messages: this model takes no prefill'),
    ...messages.flatMap(({ role, content }, i) => [
      ...rule(role === (i % 2 === 0 ? 'user' : 'assistant'), 'messages: roles must alternate'),
      ...rule(isText(content), `messages.${i}: text content blocks must be non-empty`),
    ]),
  ];
}

function formatViolations({ type, schema, ...rest }: JsonObject): string[] {
  return [
    ...rule(type === 'json_schema', 'output_config.format.type'),
    ...rule(Object.keys(rest).length === 0, 'output_config.format: Extra inputs'),
    ...schemaViolations(schema, 'schema'),
  ];
}

const SCHEMA_FIELDS = new Set([
  'type',
  'properties',
  'required',
  'additionalProperties',
  'enum',
  'const',
  'anyOf',
  'allOf',
  '$defs',
  '$ref',
  'items',
  'minItems',
  'format',
  'description',
  'title',
]);

/** The API's grammar knows only a part of JSON Schema, and says 400 to the rest. */
function schemaViolations(schema: JsonValue | undefined, place: string): string[] {
  if (!isJsonObject(schema)) return [`${place} is no schema`];
  const below = Object.entries(objectIn(schema['properties']));
  return [
    ...Object.keys(schema).flatMap((name) =>
      rule(SCHEMA_FIELDS.has(name), `${place}: ${name} is not supported`),
    ),
    ...rule(
      schema['type'] !== 'object' || schema['additionalProperties'] === false,
      `${place}: additionalProperties must be false`,
    ),
    ...below.flatMap(([name, inner]) => schemaViolations(inner, `${place}.${name}`)),
    ...(schema['items'] === undefined ? [] : schemaViolations(schema['items'], `${place}[]`)),
  ];
}
