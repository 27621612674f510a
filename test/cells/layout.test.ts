import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { checkpointFolder, encodeName, fileKindOf, idProblem } from '../../cells/layout.ts';

describe('names of files', () => {
  it.each([
    ['compile', 'compile'],
    ['run tests', 'run%20tests'],
    ['../../etc', '%2E%2E%2F%2E%2E%2Fetc'],
    ['größe', 'gr%C3%B6%C3%9Fe'],
    ['50%', '50%25'],
    ['', '%'],
  ])('%j becomes %j', (text, name) => expect(encodeName(text)).toBe(name));

  test('different texts never share a name, and a name is never a path or too long', () => {
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 150 }), fc.string());
    fc.assert(
      fc.property(text, text, (a, b) => {
        const [left, right] = [encodeName(a), encodeName(b)];
        expect(left).toMatch(/^[A-Za-z0-9_%~-]{1,100}$/);
        // By bytes: two lone surrogates are the same replacement character on disk.
        expect(left === right).toBe(Buffer.from(a).equals(Buffer.from(b)));
      }),
    );
  });

  test('two long names that differ only at the end stay apart', () => {
    const long = 'x'.repeat(150);
    expect(encodeName(`${long}1`)).not.toBe(encodeName(`${long}2`));
  });
});

it.each([
  ['cell/c1', 'checkpoints/_cell'],
  ['cell/c1/agent/agent_001', 'checkpoints/agent_001'],
  ['system/planner/vps/nginx', 'checkpoints/planner.vps.nginx'],
  ['system/planner/v.ps/my site', 'checkpoints/planner.v%2Eps.my%20site'],
  ['system/lazarus', 'checkpoints/lazarus'],
])('the checkpoints of %s lie in %s', (address, folder) =>
  expect(checkpointFolder(address)).toBe(folder),
);

test('a system actor with long names has a folder name the file system can hold', () => {
  const folder = checkpointFolder(`system/planner/${'h'.repeat(99)}/${'s'.repeat(99)}`);
  expect(folder.length).toBeLessThanOrEqual('checkpoints/'.length + 200);
});

it.each([
  ['cell.json', { kind: 'cell', id: 'cell' }],
  ['agents/a.json', { kind: 'agent', id: 'a' }],
  ['tasks/t-1.json', { kind: 'task', id: 't-1' }],
  ['config/permissions.json', { kind: 'permissions', id: 'permissions' }],
  ['config/other.json', null],
  ['agents/.a.json.7.tmp', null],
  ['agents/a.json.error', null],
  ['agents/deeper/a.json', null],
  ['checkpoints/a/state.json', null],
  ['README.md', null],
])('%s is seen as %j', (path, kind) => expect(fileKindOf(path)).toEqual(kind));

it.each(['mission', '_cell', '', 'a b', '-a', 'x'.repeat(65), 'ä'])('%j is no id', (id) =>
  expect(idProblem(id)).not.toBeNull(),
);
