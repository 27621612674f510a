import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { parseJsonObject } from '../../cells/parse-json.ts';
import type { Problem } from '../../cells/parse-json.ts';
import { parseCpu, parseSize } from '../../cells/units.ts';
import { validate } from '../../cells/validate.ts';
import type { SchemaKind } from '../../cells/validate.ts';
import { AGENT, CELL, TASK } from '../support/cell-files.ts';

function problemsOf(kind: SchemaKind, text: string | Uint8Array): Problem[] {
  const parsed = parseJsonObject(typeof text === 'string' ? Buffer.from(text) : text);
  if (!parsed.ok) return parsed.problems;
  const result = validate(kind, parsed.value, { text: parsed.text, path: 'x.json' });
  return result.ok ? [] : result.problems;
}

/** Pretty-printed, so that each member has a line of its own. */
function lines(value: unknown): string {
  return JSON.stringify(value, null, 1);
}

const KINDS = ['cell', 'agent', 'task', 'isolation', 'policies', 'permissions'] as const;
it.each(KINDS)('the template of %s fits its schema and names it', (kind) => {
  const text = readFileSync(new URL(`../../cells/templates/${kind}.json`, import.meta.url), 'utf8');
  expect(problemsOf(kind, text)).toEqual([]);
  expect(JSON.parse(text)).toHaveProperty('$schema', `https://lazarus.dev/schemas/${kind}.json`);
});

const step = { name: 'a', run: ['true'] };
type Row = [SchemaKind, string, unknown, string, number, RegExp];
const WRONG: Row[] = [
  [
    'cell',
    'a misspelt status',
    { ...CELL, status: 'actve' },
    '/status',
    6,
    /'actve'; use one of active, paused, completed, failed/,
  ],
  ['cell', 'a missing id', { ...CELL, cell_id: undefined }, '', 1, /'cell_id' is missing/],
  [
    'cell',
    'the reserved id',
    { ...CELL, cell_id: 'mission' },
    '/cell_id',
    2,
    /'mission' is a name of the runtime's own/,
  ],
  ['cell', 'an id that is a path', { ...CELL, cell_id: '../x' }, '/cell_id', 2, /is no id/],
  [
    'cell',
    'a date without a time',
    { ...CELL, created_at: '2026-01-31' },
    '/created_at',
    4,
    /not a time/,
  ],
  ['cell', 'a text for a number', { ...CELL, timeout: '1h' }, '/timeout', 7, /must be a number/],
  ['cell', 'no time at all', { ...CELL, timeout: 0 }, '/timeout', 7, /must be more than 0/],
  [
    'cell',
    'an unknown level',
    { ...CELL, isolation_level: 'level_4' },
    '/isolation_level',
    7,
    /use one of none, level_1/,
  ],
  [
    'cell',
    'true for yes',
    { ...CELL, policies: { auto_revive: true } },
    '/policies/auto_revive',
    8,
    /is true; use one of yes, no, ask/,
  ],
  [
    'cell',
    'two criteria of one name',
    { ...CELL, success_criteria: [{ name: 'a' }, { name: 'a' }] },
    '/success_criteria/1/name',
    12,
    /"a" stands twice/,
  ],
  [
    'agent',
    'an unknown role',
    { ...AGENT, role: 'boss' },
    '/role',
    4,
    /use one of lead, write, read, audit/,
  ],
  [
    'agent',
    'an unknown runner',
    { ...AGENT, runner: { kind: 'comand' } },
    '/runner/kind',
    6,
    /'comand'; use one of command, llm, remote/,
  ],
  [
    'agent',
    'a command without one',
    { ...AGENT, runner: { kind: 'command' } },
    '/runner',
    5,
    /'run' is missing/,
  ],
  [
    'agent',
    'a bad hash',
    { ...AGENT, checkpoint: { context_hash: 'abc' } },
    '/checkpoint/context_hash',
    6,
    /not of the expected form/,
  ],
  [
    'task',
    'a step without a command',
    { ...TASK, steps: [{ name: 'a' }] },
    '/steps/0',
    5,
    /'run' is missing/,
  ],
  [
    'task',
    'an empty command',
    { ...TASK, steps: [{ ...step, run: [] }] },
    '/steps/0/run',
    7,
    /fewer than 1/,
  ],
  [
    'task',
    'a shell line for a command',
    { ...TASK, steps: [{ ...step, run: 'make' }] },
    '/steps/0/run',
    7,
    /must be a list/,
  ],
  [
    'task',
    'a probe that is not there',
    { ...TASK, steps: [{ ...step, retry: 'probe' }] },
    '/steps/0',
    5,
    /'probe' is missing/,
  ],
  [
    'task',
    'an unknown retry',
    { ...TASK, steps: [{ ...step, retry: 'always' }] },
    '/steps/0/retry',
    10,
    /use one of safe, probe, never/,
  ],
  [
    'task',
    'two steps of one name',
    { ...TASK, steps: [step, step] },
    '/steps/1/name',
    12,
    /"a" stands twice/,
  ],
  [
    'task',
    'waiting for itself',
    { ...TASK, dependencies: ['task_001'] },
    '/dependencies/0',
    5,
    /depends on itself/,
  ],
  [
    'task',
    'an artifact outside',
    { ...TASK, artifacts: ['../x'] },
    '/artifacts/0',
    5,
    /not of the expected form/,
  ],
  [
    'task',
    'the same dependency twice',
    { ...TASK, dependencies: ['a', 'a'] },
    '/dependencies',
    4,
    /holds the same twice/,
  ],
  [
    'isolation',
    'cores in words',
    { resource_limits: { cpu: 'two' } },
    '/resource_limits/cpu',
    3,
    /not of the expected form/,
  ],
  [
    'isolation',
    'a size without a unit',
    { resource_limits: { memory: '4' } },
    '/resource_limits/memory',
    3,
    /not of the expected form/,
  ],
  [
    'isolation',
    'a size beyond reason',
    { resource_limits: { disk: `${'9'.repeat(30)}TB` } },
    '/resource_limits/disk',
    3,
    /no amount of bytes/,
  ],
  [
    'policies',
    'an unknown approval',
    { handoff_approval: 'human' },
    '/handoff_approval',
    2,
    /use one of auto, manual/,
  ],
  ['permissions', 'a name that is no id', { 'agent 1': {} }, '/agent 1', 2, /is no id/],
  ['permissions', 'all instead of a list', { a: { read: 'all' } }, '/a/read', 3, /must be a list/],
  [
    'cell-drop',
    'two agents of one id',
    { mission_name: 'm', agents: [AGENT, AGENT] },
    '/agents/1/agent_id',
    10,
    /stands twice/,
  ],
  [
    'cell-drop',
    'a task by another name',
    { mission_name: 'm', tasks: { b: TASK } },
    '/tasks/b/task_id',
    5,
    /under the name "b"/,
  ],
];

it.each(WRONG)('%s: %s is refused at its place', (kind, _what, value, pointer, line, message) => {
  const problems = problemsOf(kind, lines(value));
  expect(problems).toContainEqual({
    pointer,
    line,
    message: expect.stringMatching(message),
    fix: expect.stringMatching(/\w/),
  });
});

test('a slip of the hand gets the value that was meant', () => {
  const [problem] = problemsOf('cell', lines({ ...CELL, status: 'Pausd' }));
  expect(problem?.fix).toBe('Write "paused".');
});

test('fields nobody knows are kept, and every optional one of the specification fits', () => {
  const agent = { ...AGENT, gateway: 'gw', checkpoint: null, current_task: null, colour: 'red' };
  const parsed = parseJsonObject(Buffer.from(lines(agent)));
  expect(parsed.ok && validate('agent', parsed.value, { path: 'x' })).toEqual({
    ok: true,
    value: agent,
  });
  const runners = [{ kind: 'llm' }, { kind: 'remote' }, { kind: 'command', run: ['x'] }];
  for (const runner of runners)
    expect(problemsOf('agent', lines({ ...AGENT, runner }))).toEqual([]);
  const permissions = { $schema: 'x', _rev: 3, agent_001: { read: ['task_001'], execute: [] } };
  expect(problemsOf('permissions', lines(permissions))).toEqual([]);
});

describe('what is no JSON object', () => {
  const deep = (depth: number): string => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
  it.each<[string, string | Uint8Array, number, RegExp]>([
    ['nothing', '', 1, /empty/],
    ['only blanks', ' \n ', 1, /empty/],
    ['half a file', '{\n "a": 1,\n "b"', 3, /not JSON at line 3/],
    ['a trailing comma', '{\n "a": 1,\n}', 3, /line 3, column 1: property name expected/],
    ['a comment', '{\n // hello\n "a": 1}', 2, /line 2, column 2/],
    ['a list', '[1]', 1, /a list where an object is expected/],
    ['null', 'null', 1, /null where an object is expected/],
    ['two objects', '{}\n{}', 2, /line 2, column 1/],
    ['a zeroed file', Buffer.alloc(64), 1, /NUL byte at offset 0/],
    ['NUL in a text', '{\n"a": "\\u0000"}', 2, /NUL/],
    ['Latin-1', Buffer.from('{\n"a": "gr\xfcn"}', 'latin1'), 2, /byte 10 cannot be read/],
    ['a cut character', Buffer.from('{"a": "ü').subarray(0, 8), 1, /byte 7 cannot be read/],
    ['a name twice', '{"a": 1,\n"b": {"c": 1,\n"c": 2}}', 3, /'c' stands twice/],
    ['__proto__', '{"__proto__": {}}', 1, /cannot be a name/],
    ['a number beyond the range', '{"a": 1e999}', 1, /beyond/],
    ['65 levels', deep(65), 1, /nested more than 64 deep/],
    ['a text that is all brackets', '['.repeat(900_000), 1, /nested more than 64 deep/],
    ['too much', `{"a": "${'x'.repeat(1024 * 1024)}"}`, 1, /more than 1048576 bytes/],
  ])('%s', (_what, text, line, message) => {
    const [problem] = problemsOf('policies', text);
    expect(problem).toMatchObject({ line, message: expect.stringMatching(message) });
  });

  test('64 levels and a byte order mark are fine', () => {
    expect(problemsOf('policies', deep(64))).toEqual([]);
    expect(problemsOf('policies', '\uFEFF{}')).toEqual([]);
  });

  test('any bytes give a value or a problem, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void problemsOf('cell', bytes)),
    );
    const cut = Buffer.from(lines({ ...CELL, note: 'äöü' }));
    for (let length = 0; length < cut.length; length += 1)
      expect(problemsOf('cell', cut.subarray(0, length))).toHaveLength(1);
  });

  test('any JSON value gives a verdict on every kind', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.jsonValue(), (kind, value) => {
        const result = validate(kind, value, { path: 'x', text: JSON.stringify(value) });
        expect(result.ok || result.problems.length > 0).toBe(true);
      }),
    );
  });
});

describe('units', () => {
  it.each([
    ['2 cores', 2],
    ['1 core', 1],
    ['0.5', 0.5],
    [4, 4],
  ])('%j is %d cores', (text, cores) => expect(parseCpu(text)).toBe(cores));
  it.each([
    ['4GB', 4 * 1024 ** 3],
    ['512 MB', 512 * 1024 ** 2],
    ['1.5kb', 1536],
    ['7B', 7],
  ])('%j is %d bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));
  const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
  it.each(['two', '0 cores', '-1', '2 cpus', '', Number.NaN, 0])(
    '%j is no number of cores',
    (text) => expect(() => parseCpu(text)).toThrow(invalid),
  );
  it.each(['4', 'GB', '4 Gb', '0GB', '-1GB', '4GiB', '0.1B', '1e9B'])('%j is no size', (text) =>
    expect(() => parseSize(text)).toThrow(invalid),
  );
});
