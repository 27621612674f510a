/**
 * A model's text, read: the JSON in it, whether it is a refusal, and what a model is told whose answer does not fit. Models
 * wrap their JSON in fences, tags and prose, and a valid proposal may well say "I cannot reach the host" in its reason: a
 * refusal is looked for only in what is no answer.
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** As the router this one replaces has them. */
const REFUSALS = [
  'nie wiem',
  'i cannot',
  "i can't",
  'as an ai',
  "i don't know",
  "i'm not able",
  'i am not able',
  "i'm unable",
  'i am unable',
  'beyond my capabilities',
];

export function soundsLikeRefusal(text: string): boolean {
  const plain = text.toLowerCase().replaceAll('\u2019', "'");
  return REFUSALS.some((phrase) => plain.includes(phrase));
}

/** JSON that holds nothing of what was asked for, and sounds like a refusal. */
export function isRefusalInJson(value: JsonValue, text: string, schema: JsonObject): boolean {
  const { required } = schema;
  const isAnswer =
    isJsonObject(value) &&
    Array.isArray(required) &&
    required.some((name) => typeof name === 'string' && Object.hasOwn(value, name));
  return !isAnswer && soundsLikeRefusal(text);
}

/** The JSON of an answer: all of it, what stands in a fence or a tag, or the first object in prose. Undefined: there is none. */
export function jsonIn(text: string): JsonValue | undefined {
  const trimmed = text.trim();
  const candidates = [
    trimmed,
    /```(?:json)?\s*\n?([\s\S]*?)```/i.exec(trimmed)?.[1],
    /<tool_call>([\s\S]*?)(?:<\/tool_call>|$)/i.exec(trimmed)?.[1],
    firstObject(trimmed),
  ];
  for (const candidate of candidates) {
    const value = candidate === undefined ? undefined : parsed(candidate.trim());
    if (value !== undefined) return value;
  }
  return undefined;
}

function parsed(text: string): JsonValue | undefined {
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return undefined; // no JSON: the caller says what that means
  }
}

/** From the first brace to the one that closes it. */
function firstObject(text: string): string | undefined {
  const start = text.indexOf('{');
  if (start < 0) return undefined;
  let [depth, isInString] = [0, false];
  for (let at = start; at < text.length; at += 1) {
    const char = text[at];
    if (isInString) {
      if (char === '\\') at += 1;
      else if (char === '"') isInString = false;
    } else if (char === '"') isInString = true;
    else if (char === '{') depth += 1;
    else if (char === '}' && (depth -= 1) === 0) return text.slice(start, at + 1);
  }
  return undefined;
}

const MAX_PROBLEMS = 10;
const MAX_PROBLEM = 300;
/** Of an answer that is shown to its model again. */
const MAX_SHOWN = 8000;

/** The turn that asks for a better answer. */
export function repairTurn(answer: string, problems: readonly string[]): ChatMessage[] {
  const list = problems.slice(0, MAX_PROBLEMS).map((text) => `- ${text.slice(0, MAX_PROBLEM)}`);
  const shown = answer.trim() === '' ? '(an empty answer)' : answer.slice(0, MAX_SHOWN);
  return [
    { role: 'assistant', content: shown },
    {
      role: 'user',
      content: [
        'That answer does not fit:',
        ...list,
        'Answer the first question again with one JSON object that fits the schema, and nothing else.',
      ].join('\n'),
    },
  ];
}

/** For models that are not shown the schema by their server. */
export function withSchema(messages: readonly ChatMessage[], schema: JsonObject): ChatMessage[] {
  const told = `Answer with one JSON object that fits this JSON Schema, and nothing else:\n${JSON.stringify(schema)}`;
  const [first, ...rest] = messages;
  if (first?.role === 'system')
    return [{ role: 'system', content: `${first.content}\n\n${told}` }, ...rest];
  return [{ role: 'system', content: told }, ...messages];
}

/** The system's words by themselves, and turns that alternate and begin with the user, as the Messages API wants them. */
export function alternating(messages: readonly ChatMessage[]): {
  system: string | undefined;
  turns: { role: 'user' | 'assistant'; content: string }[];
} {
  const system = messages.filter(({ role }) => role === 'system').map(({ content }) => content);
  const turns: { role: 'user' | 'assistant'; content: string }[] = [];
  for (const { role, content } of messages) {
    const last = turns.at(-1);
    if (role === 'system') continue;
    if (last?.role === role) last.content += `\n\n${content}`;
    else if (last === undefined && role === 'assistant')
      turns.push({ role: 'user', content: '(the conversation goes on)' }, { role, content });
    else turns.push({ role, content });
  }
  return { system: system.length > 0 ? system.join('\n\n') : undefined, turns };
}

/** A text for people and journals that must not quote what was asked: one that does is withheld. */
export function withoutQuotes(text: string, secrets: readonly string[]): string {
  const span = 24;
  for (let at = 0; at + span <= text.length; at += 1) {
    const part = text.slice(at, at + span);
    if (secrets.some((secret) => secret.includes(part)))
      return '[withheld: it quotes the question]';
  }
  return text;
}
