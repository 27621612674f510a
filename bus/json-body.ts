/** A request's body as JSON, whatever its Content-Type says: `curl -d` sends a form type. */
import { parseTree } from 'jsonc-parser';
import type { ParseError } from 'jsonc-parser';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';

/** An empty body means {}. Throws RuntimeError INVALID_ARGUMENT with the place of what is wrong. */
export function parseBody(text: string): JsonValue {
  const body = text.startsWith('\uFEFF') ? text.slice(1) : text;
  if (body.trim() === '') return {};
  try {
    return JSON.parse(body) as JsonValue;
  } catch (cause) {
    const { line, column } = placeIn(body, firstError(body));
    throw new RuntimeError(`the body is not JSON: line ${line}, column ${column}`, {
      code: 'INVALID_ARGUMENT',
      cause,
      details: { line, column },
      hint: 'Send one JSON object, for example {"metadata": {"role": "write"}}, or nothing.',
    });
  }
}

/** As `parseBody`, from bytes. Throws INVALID_ARGUMENT also when they are no UTF-8. */
export function parseBytes(data: Uint8Array): JsonValue {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch (cause) {
    throw new RuntimeError('the message is no UTF-8 text', { code: 'INVALID_ARGUMENT', cause });
  }
  return parseBody(text);
}

/** Offset of the first thing that is no JSON; the end, when what is missing is the rest. */
function firstError(body: string): number {
  const errors: ParseError[] = [];
  try {
    parseTree(body, errors, { disallowComments: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // nested too deeply for a parser that recurses
  }
  return Math.min(errors[0]?.offset ?? body.length, body.length);
}

function placeIn(body: string, offset: number): { line: number; column: number } {
  const before = body.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
