/**
 * Bytes that people wrote to JSON that the runtime can rely on, or the reasons why not, each with its place.
 * `JSON.parse` makes the value; jsonc-parser, Microsoft's parser of VS Code, finds what JSON.parse lets pass (duplicate
 * keys) and where things stand. Depth is bounded before either parser sees the text, as both recurse.
 */
import { findNodeAtLocation, parseTree, printParseErrorCode, visit } from 'jsonc-parser';
import type { Node } from 'jsonc-parser';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';

/** One thing that is wrong with a file. */
export interface Problem {
  /** JSON pointer (RFC 6901) to the offending place; '' is the whole file. */
  pointer: string;
  /** 1-based line of that place in the text. */
  line: number;
  message: string;
  /** How to mend it. */
  fix: string;
}

/** Largest file of a cell, in bytes. */
export const MAX_FILE_BYTES = 1024 * 1024;
/** Deepest nesting of objects and lists. */
export const MAX_DEPTH = 64;
/** Problems reported for one file; more would not help the reader. */
export const MAX_PROBLEMS = 20;

export type Parsed =
  { ok: true; value: JsonObject; text: string } | { ok: false; problems: Problem[] };

export function parseJsonObject(bytes: Uint8Array, maxBytes = MAX_FILE_BYTES): Parsed {
  if (bytes.byteLength > maxBytes)
    return failed(1, `the file has more than ${maxBytes} bytes`, 'Make it smaller.');
  const text = decodeUtf8(bytes);
  if (typeof text !== 'string') return { ok: false, problems: [text] };
  const nul = text.indexOf('\0');
  if (nul >= 0)
    return failed(
      lineAt(text, nul),
      `the file contains a NUL byte at offset ${Buffer.byteLength(text.slice(0, nul))}`,
      'Write the file anew; NUL bytes are usually left by a crash in the middle of a write.',
    );
  const depth = depthProblem(text);
  if (depth) return { ok: false, problems: [depth] };
  return parseText(text);
}

function parseText(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, problems: [syntaxProblem(text, error)] };
  }
  if (!isJsonObject(value))
    return failed(
      1,
      `the file holds ${describe(value)} where an object is expected`,
      'Begin with { and end with }.',
    );
  const problems = contentProblems(text);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value, text };
}

/** Where the value of a JSON pointer begins in a text, else where its nearest ancestor does. 1-based. */
export function lineOfPointer(text: string, pointer: string): number {
  const tree = parseTree(text);
  let segments: (string | number)[] = pointerSegments(pointer);
  for (;;) {
    const node = tree && nodeAt(tree, segments);
    // A property's line is that of its name: the value may stand lines below.
    if (node)
      return lineAt(text, node.parent?.type === 'property' ? node.parent.offset : node.offset);
    if (segments.length === 0) return 1;
    segments = segments.slice(0, -1);
  }
}

/** The components of a JSON pointer, unescaped. */
export function pointerSegments(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

export function toPointer(segments: readonly (string | number)[]): string {
  return segments
    .map((segment) => `/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}

/** How a value is called in a message: its kind and a short sample. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'string')
    return `the text '${value.length > 60 ? `${value.slice(0, 60)}...` : value}'`;
  if (typeof value === 'number') return `the number ${value}`;
  return typeof value === 'boolean' ? String(value) : typeof value;
}

function nodeAt(tree: Node, segments: readonly (string | number)[]): Node | undefined {
  let node: Node | undefined = tree;
  for (const segment of segments) {
    if (!node) return undefined;
    node = findNodeAtLocation(node, [node.type === 'array' ? Number(segment) : segment]);
  }
  return node;
}

/** The text, without a byte order mark, or the problem that names the first bad byte. */
export function decodeUtf8(bytes: Uint8Array): string | Problem {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const offset = firstBadByte(bytes);
    const before = new TextDecoder('utf-8').decode(bytes.subarray(0, offset));
    return {
      pointer: '',
      line: lineAt(before, before.length),
      message: `the file is not UTF-8: byte ${offset} cannot be read`,
      fix: 'Save the file as UTF-8.',
    };
  }
}

/** Offset of the last byte of the longest prefix that is still UTF-8, plus one; found by halving. */
function firstBadByte(bytes: Uint8Array): number {
  let good = 0;
  let bad = bytes.byteLength;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    // `stream` lets a sequence be cut off at the end of the prefix.
    if (isUtf8Prefix(bytes.subarray(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
}

function isUtf8Prefix(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** A scan that only tells strings from the rest, so that no parser recurses into a text that is all brackets. */
function depthProblem(text: string): Problem | null {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === 0x5c) at += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) depth += 1;
    else if (code === 0x7d || code === 0x5d) depth -= 1;
    if (depth > MAX_DEPTH)
      return {
        pointer: '',
        line: lineAt(text, at),
        message: `objects and lists are nested more than ${MAX_DEPTH} deep`,
        fix: 'Make the structure flatter.',
      };
  }
  return null;
}

function syntaxProblem(text: string, thrown: unknown): Problem {
  if (text.trim() === '')
    return {
      pointer: '',
      line: 1,
      message: 'the file is empty',
      fix: 'Write the object, or remove the file.',
    };
  let found: { offset: number; what: string } | null = null;
  visit(
    text,
    {
      onError: (code, offset) => {
        found ??= { offset, what: words(printParseErrorCode(code)) };
      },
    },
    { disallowComments: true, allowTrailingComma: false },
  );
  const { offset, what } = found ?? {
    offset: 0,
    what: thrown instanceof Error ? thrown.message : String(thrown),
  };
  const line = lineAt(text, offset);
  const column = offset - text.lastIndexOf('\n', offset - 1);
  const message = `not JSON at line ${line}, column ${column}: ${what}`;
  return { pointer: '', line, message, fix: 'Mend the JSON there.' };
}

/** "PropertyNameExpected" -> "property name expected" */
function words(code: string): string {
  return code.replaceAll(/(?!^)([A-Z])/g, ' $1').toLowerCase();
}

/** What JSON.parse lets pass: duplicate names, the name `__proto__`, NUL in a text, numbers beyond the range. */
function contentProblems(text: string): Problem[] {
  const problems: Problem[] = [];
  const names: Set<string>[] = [];
  const add = (segments: (string | number)[], line: number, message: string, fix: string): void => {
    if (problems.length < MAX_PROBLEMS)
      problems.push({ pointer: toPointer(segments), line: line + 1, message, fix });
  };
  visit(text, {
    onObjectBegin: () => {
      names.push(new Set());
    },
    onObjectEnd: () => {
      names.pop();
    },
    onObjectProperty: (name, _offset, _length, line, _column, pathOf) => {
      const path = [...pathOf(), name];
      const seen = names.at(-1);
      if (seen?.has(name)) add(path, line, `'${name}' stands twice in this object`, 'Remove one.');
      seen?.add(name);
      if (name === '__proto__' || name.includes('\0'))
        add(path, line, `${JSON.stringify(name)} cannot be a name here`, 'Use another name.');
    },
    onLiteralValue: (value: unknown, _offset, _length, line, _column, pathOf) => {
      if (typeof value === 'string' && value.includes('\0'))
        add(pathOf(), line, 'the text contains NUL (\\u0000)', 'Remove it.');
      if (typeof value === 'number' && !Number.isFinite(value))
        add(pathOf(), line, 'the number is beyond what can be stored', 'Use a smaller one.');
    },
  });
  return problems;
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1))
    line += 1;
  return line;
}

function failed(line: number, message: string, fix: string): Parsed {
  return { ok: false, problems: [{ pointer: '', line, message, fix }] };
}
