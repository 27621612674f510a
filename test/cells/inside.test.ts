import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it, test } from 'vitest';
import {
  listInside,
  mkdirInside,
  openFolderInside,
  openInside,
  readInside,
  statInside,
  unlinkInside,
  writeWholeInside,
} from '../../cells/inside.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';

const ESCAPES = expect.objectContaining({ code: 'PATH_ESCAPES_CELL' });
const maxBytes = 1000;

/** A cell beside a folder with a secret, and links of every kind that lead to it. */
function cellWithLinks(): { cell: string; outside: string } {
  const home = temporaryFolder();
  const [cell, outside] = [join(home, 'cell'), join(home, 'outside')];
  put(outside, 'secret.txt', 'secret');
  put(cell, 'agents/a.json', 'mine');
  symlinkSync(outside, join(cell, 'linked'));
  symlinkSync(join(outside, 'secret.txt'), join(cell, 'secret.txt'));
  symlinkSync('agents', join(cell, 'alias'));
  symlinkSync(join(outside, 'new.txt'), join(cell, 'dangling.txt'));
  return { cell, outside };
}

it.each([
  '../outside/secret.txt',
  'agents/../../outside/secret.txt',
  '/etc/hostname',
  'agents//a.json',
  './agents/a.json',
  'agents/a.json\0',
  'linked/secret.txt',
  'secret.txt',
  'alias/a.json',
  '',
])('reading %j is refused', (path) => {
  const { cell } = cellWithLinks();
  expect(() => readInside(cell, path, { maxBytes })).toThrow(ESCAPES);
});

test('a link is never written through, and nothing appears where it leads', async () => {
  const { cell, outside } = cellWithLinks();
  expect(() => openInside(cell, 'dangling.txt', 'w')).toThrow(ESCAPES);
  expect(() => openInside(cell, 'linked/new.txt', 'wx')).toThrow(ESCAPES);
  expect(() => mkdirInside(cell, 'linked/sub')).toThrow(ESCAPES);
  expect(() => mkdirInside(cell, 'linked/sub/deeper/still')).toThrow(ESCAPES);
  await expect(writeWholeInside(cell, 'linked/new.txt', 'x', { sync: false })).rejects.toThrow(
    ESCAPES,
  );
  expect(() => unlinkInside(cell, 'linked/secret.txt')).toThrow(ESCAPES);
  expect(() => listInside(cell, 'linked')).toThrow(ESCAPES);
  expect(() => statInside(cell, 'secret.txt')).toThrow(ESCAPES);
  expect(readdirSync(outside)).toEqual(['secret.txt']);
});

test('a whole write over a link replaces the link and leaves its target alone', async () => {
  const { cell, outside } = cellWithLinks();
  await writeWholeInside(cell, 'secret.txt', 'new', { sync: true });
  expect(readFileSync(join(outside, 'secret.txt'), 'utf8')).toBe('secret');
  expect(readInside(cell, 'secret.txt', { maxBytes }).toString()).toBe('new');
});

/** Where an open folder can be named by its descriptor. */
const hasProc = process.platform === 'linux';

test.runIf(hasProc)(
  'a folder swapped for a link while it is open is still the one that is written to',
  () => {
    const { cell, outside } = cellWithLinks();
    const folder = openFolderInside(cell, 'agents');
    renameSync(join(cell, 'agents'), join(cell, 'moved'));
    symlinkSync(outside, join(cell, 'agents'));
    writeFileSync(join(folder.path, 'b.json'), 'x');
    expect(readdirSync(outside)).toEqual(['secret.txt']);
    expect(readdirSync(join(cell, 'moved'))).toContain('b.json');
    expect(() => folder.recheck()).toThrow(ESCAPES);
    folder.close();
  },
);

test.runIf(hasProc)('a folder removed while it is open is absent, not escaped', () => {
  const { cell } = cellWithLinks();
  mkdirSync(join(cell, 'tasks'));
  const folder = openFolderInside(cell, 'tasks');
  rmSync(join(cell, 'tasks'), { recursive: true });
  expect(() => folder.recheck()).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  folder.close();
});

test('a fifo and a folder are refused at once instead of blocking', () => {
  const { cell } = cellWithLinks();
  execFileSync('mkfifo', [join(cell, 'agents/fifo.json')]);
  const invalid = expect.objectContaining({ code: 'FILE_INVALID' });
  expect(() => readInside(cell, 'agents/fifo.json', { maxBytes })).toThrow(invalid);
  expect(() => openInside(cell, 'agents/fifo.json', 'w')).toThrow(invalid);
  expect(() => readInside(cell, 'agents', { maxBytes })).toThrow(invalid);
});

test('a file is read up to its bound and refused beyond it', () => {
  const cell = temporaryFolder();
  put(cell, 'exact.bin', Buffer.alloc(1000, 1));
  put(cell, 'large.bin', Buffer.alloc(1001, 1));
  expect(readInside(cell, 'exact.bin', { maxBytes }).length).toBe(1000);
  expect(() => readInside(cell, 'large.bin', { maxBytes })).toThrow('larger than 1000 bytes');
  put(cell, 'empty.bin', '');
  expect(readInside(cell, 'empty.bin', { maxBytes }).length).toBe(0);
});

test('folders are made with their parents, twice over, and files in them appended to', () => {
  const cell = temporaryFolder();
  mkdirInside(cell, 'artifacts/logs/task_001');
  mkdirInside(cell, 'artifacts/logs/task_001');
  for (const text of ['one ', 'two']) {
    const fd = openInside(cell, 'artifacts/logs/task_001/out', 'a');
    writeFileSync(fd, text);
    closeSync(fd);
  }
  expect(readFileSync(join(cell, 'artifacts/logs/task_001/out'), 'utf8')).toBe('one two');
  expect(listInside(cell, 'artifacts')?.map(({ name }) => name)).toEqual(['logs']);
});

test('absent is told apart from empty', () => {
  const cell = temporaryFolder();
  expect(listInside(cell, 'agents')).toBeNull();
  expect(statInside(cell, 'agents/a.json')).toBeNull();
  expect(unlinkInside(cell, 'agents/a.json')).toBe(false);
  mkdirInside(cell, 'agents');
  expect(listInside(cell, 'agents')).toEqual([]);
});

test('the missions folder itself may be reached by a link: that is its owner’s choice', () => {
  const home = temporaryFolder();
  put(join(home, 'disk2'), 'cell/cell.json', 'x');
  symlinkSync('disk2', join(home, 'missions'));
  const bytes = readInside(join(home, 'missions/cell'), 'cell.json', { maxBytes });
  expect(bytes.toString()).toBe('x');
});
