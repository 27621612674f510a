import { describe, expect, test } from 'vitest';
import { mergeFile } from '../../machines/merge.ts';
import type { FileState } from '../../machines/merge.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { FileChange } from '../../machines/mission.ts';

const change = (content: JsonObject | null): FileChange => ({
  path: 'tasks/t.json',
  kind: 'task',
  id: 't',
  content,
});

const RUNTIME = { status: 'pending', assigned_to: null, completed_at: null, artifacts: [] };

/** A file as it stands after `edits`, each made from the projection before it. */
function after(first: JsonObject, ...edits: JsonObject[]): FileState {
  let file = mergeFile({ file: null, runtime: {} }, change(first)).next;
  for (const edit of edits) {
    const merged: FileState | null = mergeFile(
      { file, runtime: RUNTIME },
      change({ ...edit, _rev: file?.rev ?? 0 }),
    ).next;
    file = merged && { ...merged, rev: merged.rev + 1 };
  }
  if (!file) throw new Error('the file is gone');
  return file;
}

describe('an edit of a known file', () => {
  test('given a current _rev, what differs is theirs, deletions too', () => {
    const file = after({ title: 'old', note: 1, unknown: { deep: true } });
    const edit = change({ title: 'new', unknown: { deep: true }, _rev: file.rev, ...RUNTIME });
    const merge = mergeFile({ file, runtime: RUNTIME }, edit);
    expect(merge.next?.people).toEqual({ title: 'new', unknown: { deep: true } });
    expect(merge).toMatchObject({ changed: true, requests: [], ignored: [] });
  });

  test('given an older _rev, two edits of different fields both count (G1)', () => {
    const file = after({ title: 'a', description: 'a' }, { title: 'b', description: 'a' });
    const late = change({ title: 'a', description: 'late', _rev: 1 });
    expect(mergeFile({ file, runtime: RUNTIME }, late).next?.people).toEqual({
      title: 'b',
      description: 'late',
    });
  });

  test('given one of several older _revs, the base is the content of that very projection', () => {
    const file = after({ note: 'a' }, { note: 'b' }, { note: 'c' });
    const unchanged = mergeFile({ file, runtime: RUNTIME }, change({ note: 'b', _rev: 2 }));
    expect(unchanged.changed).toBe(false);
    const back = mergeFile({ file, runtime: RUNTIME }, change({ note: 'a', _rev: 2 }));
    expect(back.next?.people).toEqual({ note: 'a' });
  });

  test('given an older _rev, a field that the other edit added stays', () => {
    const file = after({ title: 'a' }, { title: 'a', added: 1 });
    const merge = mergeFile({ file, runtime: RUNTIME }, change({ title: 'c', _rev: 1 }));
    expect(merge.next?.people).toEqual({ title: 'c', added: 1 });
  });

  test.each([
    ['no _rev', {}],
    ['a _rev from the future', { _rev: 99 }],
    ['a _rev that is no number', { _rev: 'x' }],
  ])(
    'given %s, every difference in people’s fields is theirs and runtime fields do not count',
    (_, rev) => {
      const file = after({ title: 'a', note: 1 });
      const edit = change({ title: 'b', status: 'failed', ...rev });
      const merge = mergeFile({ file, runtime: RUNTIME }, edit);
      expect(merge.next?.people).toEqual({ title: 'b' });
      expect(merge).toMatchObject({ changed: true, requests: [], ignored: ['status'] });
    },
  );

  test('given a _rev older than the history, the present content is the base', () => {
    const edits = ['b', 'c', 'd', 'e', 'f', 'g'].map((title) => ({ title }));
    const file = after({ title: 'a' }, ...edits);
    expect(file.history).toHaveLength(4);
    const merge = mergeFile({ file, runtime: RUNTIME }, change({ title: 'a', _rev: 1 }));
    expect(merge.next?.people).toEqual({ title: 'a' });
  });

  test('a status changed with the current _rev is a request (G2)', () => {
    const file = after({ title: 'a' });
    const edit = change({ title: 'a', ...RUNTIME, status: 'failed', _rev: file.rev });
    const merge = mergeFile({ file, runtime: RUNTIME }, edit);
    expect(merge.requests).toEqual([{ field: 'status', value: 'failed' }]);
    expect(merge.changed).toBe(true);
  });

  test('only runtime fields that do not count: no effect, so it need not be journaled', () => {
    const file = after({ title: 'a' }, { title: 'b' });
    const merge = mergeFile(
      { file, runtime: RUNTIME },
      change({ title: 'a', status: 'failed', _rev: 1 }),
    );
    expect(merge).toMatchObject({ changed: false, ignored: ['status'] });
  });

  test('the order of keys alone is no edit', () => {
    const file = after({ title: 'a', note: { x: 1, y: 2 } });
    const merge = mergeFile(
      { file, runtime: RUNTIME },
      change({ note: { y: 2, x: 1 }, title: 'a' }),
    );
    expect(merge.changed).toBe(false);
  });

  test('nothing given is changed in place (G4)', () => {
    const file = after({ title: 'a' });
    const before = JSON.stringify(file);
    mergeFile({ file, runtime: RUNTIME }, change({ title: 'b', _rev: file.rev }));
    expect(JSON.stringify(file)).toBe(before);
  });
});

describe('the first and the last of a file', () => {
  test('given a file never seen, its runtime fields are the initial values', () => {
    const merge = mergeFile(
      { file: null, runtime: {} },
      change({ title: 'a', status: 'completed', assigned_to: 'x' }),
    );
    expect(merge).toMatchObject({
      first: true,
      changed: true,
      requests: [
        { field: 'status', value: 'completed' },
        { field: 'assigned_to', value: 'x' },
      ],
    });
    expect(merge.next?.people).toEqual({ title: 'a' });
  });

  test('given a file never seen that carries a _rev, ours goes on from there', () => {
    expect(mergeFile({ file: null, runtime: {} }, change({ _rev: 41 })).next?.rev).toBe(42);
  });

  test('a removal has an effect once', () => {
    const file = after({ title: 'a' });
    expect(mergeFile({ file, runtime: RUNTIME }, change(null))).toMatchObject({
      next: null,
      changed: true,
    });
    expect(mergeFile({ file: null, runtime: {} }, change(null)).changed).toBe(false);
  });

  test('a key called __proto__ is a key like any other', () => {
    const content = JSON.parse('{"title":"a","__proto__":{"x":1}}');
    const next = mergeFile({ file: null, runtime: {} }, change(content)).next;
    expect(Object.keys(next?.people ?? {})).toEqual(['title', '__proto__']);
    expect(mergeFile({ file: next, runtime: RUNTIME }, change(content)).changed).toBe(false);
  });
});
