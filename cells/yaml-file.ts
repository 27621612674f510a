/**
 * Bytes of YAML that people wrote to plain JSON that the runtime can rely on, or the reasons why not, each with its place.
 * The package `yaml` makes the tree; the walk from there to JSON is ours, for only so can its cost be bounded and each thing
 * that is wrong be told with its line, several at once.
 *
 * Y1 Aliases and merge keys are written out, and what is written out is counted: a file of a few lines does not fill the
 *    memory (P8).
 * Y2 A key is the text that stands there: `1.10` and `on` are names. A name stands once in a map.
 * Y3 A file without content says nothing; it is never an empty one (P6).
 */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Alias, Document, Node, YAMLError, YAMLMap, YAMLSeq } from 'yaml';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { plainText, visibleText } from '../machines/plain-text.ts';
import {
  MAX_DEPTH,
  MAX_PROBLEMS,
  decodeUtf8,
  describe,
  pointerSegments,
  toPointer,
} from './parse-json.ts';
import type { Problem } from './parse-json.ts';

export type ParsedYaml =
  | { ok: true; value: JsonValue; lineOf: (pointer: string) => number }
  | { ok: false; problems: Problem[] };

/** Values in one file, what aliases repeat among them (Y1). */
const MAX_VALUES = 100_000;
const MAX_MESSAGE = 300;
const MAX_NAME = 100;

export function parseYaml(bytes: Uint8Array, maxBytes: number): ParsedYaml {
  if (bytes.byteLength > maxBytes)
    return failed(`the file has more than ${maxBytes} bytes`, 'Make it smaller.');
  const text = decodeUtf8(bytes);
  if (typeof text !== 'string') return { ok: false, problems: [text] };
  if (text.trim() === '')
    return failed('the file is empty', 'Write its content, or remove the file.'); // Y3
  const lines = new LineCounter();
  // `uniqueKeys` compares each key with each other one, so that large maps take minutes; the walk looks for itself.
  const document = parseDocument(text, {
    schema: 'core',
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'error',
    lineCounter: lines,
  });
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line);
  if (document.errors.length > 0)
    return { ok: false, problems: syntaxProblems(document.errors, lineAt) };
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null))
    return failed('the file says nothing', 'Write its content, or remove the file.'); // Y3
  const walk = new Walk(lineAt);
  const value = walk.value(root, []);
  if (value === undefined || walk.problems.length > 0)
    return { ok: false, problems: walk.problems };
  return { ok: true, value, lineOf: (pointer) => lineOfPointer(document, pointer, lineAt) };
}

/** From nodes to JSON. What cannot be taken is a problem, and undefined. */
class Walk {
  readonly problems: Problem[] = [];
  readonly #lineAt: (offset: number) => number;
  readonly #anchors = new Map<string, Node>();
  readonly #anchored = new Set<Node>();
  readonly #targets = new Map<Alias, Node | undefined>();
  /** Those whose content is being written out: one that meets itself would not end. */
  readonly #open = new Set<Node>();
  #values = 0;
  #isExhausted = false;

  constructor(lineAt: (offset: number) => number) {
    this.#lineAt = lineAt;
  }

  value(node: unknown, path: readonly (string | number)[]): JsonValue | undefined {
    if (this.#isExhausted) return undefined;
    if (!this.#hasRoom(node, path)) return undefined;
    if (isAlias(node)) return this.#aliased(node, path);
    if (isMap(node)) return this.#within(node, () => this.#object(node, path));
    if (isSeq(node)) return this.#within(node, () => this.#list(node, path));
    if (!isScalar(node)) return null; // a key without a value
    this.#anchor(node);
    return this.#scalar(node.value, node, path);
  }

  #hasRoom(node: unknown, path: readonly (string | number)[]): boolean {
    this.#values += 1;
    const tooMany = this.#values > MAX_VALUES;
    if (tooMany)
      this.#add(
        node,
        path,
        `the file makes more than ${MAX_VALUES} values, aliases written out`,
        'Make it smaller, or repeat less by aliases.',
      );
    else if (path.length > MAX_DEPTH)
      this.#add(
        node,
        path.slice(0, MAX_DEPTH),
        `maps and lists are nested more than ${MAX_DEPTH} deep`,
        'Make the structure flatter.',
      );
    this.#isExhausted = tooMany || this.problems.length >= MAX_PROBLEMS;
    return !tooMany && path.length <= MAX_DEPTH;
  }

  #within<T>(node: YAMLMap | YAMLSeq, make: () => T): T {
    this.#anchor(node);
    this.#open.add(node);
    try {
      return make();
    } finally {
      this.#open.delete(node);
    }
  }

  #anchor(node: Exclude<Node, Alias>): void {
    // Not again while an alias is written out: a later anchor of the same name would be forgotten.
    if (node.anchor === undefined || this.#anchored.has(node)) return;
    this.#anchored.add(node);
    this.#anchors.set(node.anchor, node);
  }

  #aliased(alias: Alias, path: readonly (string | number)[]): JsonValue | undefined {
    const target = this.#target(alias);
    if (target !== undefined && !this.#open.has(target)) return this.value(target, path);
    const what = target === undefined ? 'names no anchor that stands before it' : 'contains itself';
    this.#add(alias, path, `the alias *${alias.source} ${what}`, 'Write the value there instead.');
    return undefined;
  }

  #target(alias: Alias): Node | undefined {
    if (!this.#targets.has(alias)) this.#targets.set(alias, this.#anchors.get(alias.source));
    return this.#targets.get(alias);
  }

  #list({ items }: YAMLSeq, path: readonly (string | number)[]): JsonValue[] {
    return items.map((item, i) => this.value(item, [...path, i]) ?? null);
  }

  #object(map: YAMLMap, path: readonly (string | number)[]): JsonObject {
    const own: [string, JsonValue][] = [];
    const merged: JsonObject[] = [];
    const names = new Set<string>();
    for (const { key, value } of map.items) {
      if (this.#isExhausted) break;
      const name = this.#name(key, path);
      if (name === undefined) continue;
      const at = [...path, name];
      if (name === '<<' && isScalar(key) && key.type === 'PLAIN')
        merged.push(...this.#merged(value, key, at));
      else {
        if (names.has(name))
          this.#add(key, at, `${quoted(name)} stands twice in this map`, 'Remove one.'); // Y2
        names.add(name);
        own.push([name, this.value(value, at) ?? null]);
      }
    }
    // What stands here beats what is merged, and what is merged first what is merged later.
    const object: JsonObject = {};
    for (const source of merged.toReversed()) Object.assign(object, source);
    return Object.assign(object, Object.fromEntries(own));
  }

  /** Y2. Undefined: no name, and a problem. */
  #name(key: unknown, path: readonly (string | number)[]): string | undefined {
    const target = isAlias(key) ? this.#target(key) : key;
    if (!isScalar(target)) {
      this.#add(
        key,
        path,
        'a map or a list stands where a name is expected',
        'Write a plain name.',
      );
      return undefined;
    }
    if (!isAlias(key)) this.#anchor(target);
    const name = target.source ?? String(target.value);
    if (name !== '__proto__' && !name.includes('\0')) return name;
    this.#add(key, path, `${quoted(name)} cannot be a name here`, 'Use another name.');
    return undefined;
  }

  #merged(value: unknown, key: Node, path: readonly (string | number)[]): JsonObject[] {
    const given = this.value(value, path);
    if (given === undefined) return [];
    const maps = Array.isArray(given) ? given : [given];
    if (!maps.every(isJsonObject)) {
      this.#add(key, path, `<< merges maps, not ${describe(given)}`, 'Name a map, or several.');
      return [];
    }
    return maps;
  }

  #scalar(value: unknown, node: Node, path: readonly (string | number)[]): JsonValue | undefined {
    if (value === null || typeof value === 'boolean') return value;
    if (typeof value === 'string' && !value.includes('\0')) return value;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    this.#add(node, path, `${describe(value)} cannot be used here`, 'Write it as a plain text.');
    return undefined;
  }

  #add(node: unknown, path: readonly (string | number)[], message: string, fix: string): void {
    if (this.problems.length < MAX_PROBLEMS)
      this.problems.push({ pointer: toPointer(path), line: this.#line(node), message, fix });
  }

  #line(node: unknown): number {
    const range = isAlias(node) || isMap(node) || isSeq(node) || isScalar(node) ? node.range : null;
    return this.#lineAt(range?.[0] ?? 0);
  }
}

/** Where a pointer's value stands, or its key, or the nearest thing around it. */
function lineOfPointer(
  document: Document,
  pointer: string,
  lineAt: (offset: number) => number,
): number {
  let node: unknown = document.contents;
  let offset = (node as Node | null)?.range?.[0] ?? 0;
  for (const segment of pointerSegments(pointer)) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(
        ({ key }) => isScalar(key) && (key.source ?? String(key.value)) === segment,
      );
      offset = (pair?.key as Node | undefined)?.range?.[0] ?? offset;
      node = pair?.value;
    } else if (isSeq(node)) {
      node = node.items[Number(segment)];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return lineAt(offset);
}

const FIXES: Partial<Record<YAMLError['code'], string>> = {
  TAB_AS_INDENT: 'Indent by spaces.',
  BAD_INDENT: 'Indent it as its neighbours are.',
  MULTIPLE_DOCS: 'Remove the line ---, or what follows it: one file is one document.',
  RESOURCE_EXHAUSTION: 'Make the structure flatter.',
  BLOCK_AS_IMPLICIT_KEY: 'Put the text in quotes, or the map on lines of its own.',
  BAD_SCALAR_START: 'Put the text in quotes.',
};

/** Where the package's own words would not help. */
const WORDS: Partial<Record<YAMLError['code'], string>> = {
  MULTIPLE_DOCS: 'the file holds several documents',
  RESOURCE_EXHAUSTION: 'maps and lists are nested too deep',
};

function syntaxProblems(errors: readonly YAMLError[], lineAt: (at: number) => number): Problem[] {
  const problems: Problem[] = [];
  for (const { code, message, pos } of errors.slice(0, MAX_PROBLEMS)) {
    const line = lineAt(pos[0]);
    const told = `not YAML: ${plainText(WORDS[code] ?? message, MAX_MESSAGE)}`;
    if (!problems.some((other) => other.line === line && other.message === told))
      problems.push({
        pointer: '',
        line,
        message: told,
        fix: FIXES[code] ?? 'Mend the YAML there.',
      });
  }
  return problems;
}

const quoted = (name: string): string => `'${visibleText(name, MAX_NAME)}'`;

const failed = (message: string, fix: string): ParsedYaml => ({
  ok: false,
  problems: [{ pointer: '', line: 1, message, fix }],
});
