/** The log of JSON lines that other programs read: whole lines, each once, within bounds. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LineLog, readLineLog } from '../../cells/line-log.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lazarus-line-log-'));
  path = join(folder, 'agent-events.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const all = { wants: () => true, most: 2000 };
const ids = async (): Promise<string[]> =>
  (await readLineLog(path, all)).lines.map((line) => String(line['id']));

test('given a file that somebody blew up, then its end is read', async () => {
  writeFileSync(path, '{"id": "lost"}\n');
  truncateSync(path, 200 * 1024 * 1024);
  appendFileSync(path, '\n{"id": "a#1"}\n');
  expect(await ids()).toEqual(['a#1']);
});

test('given a link or a pipe in its place, then nothing is written there, and nothing hangs', async () => {
  const outside = join(folder, 'outside');
  writeFileSync(outside, 'mine\n');
  symlinkSync(outside, path);
  const log = new LineLog(path);
  await expect(log.append({ id: 'a#1' }, false)).rejects.toThrow(/is a link, a pipe/);
  expect(readFileSync(outside, 'utf8')).toBe('mine\n');
  rmSync(path);
  execFileSync('mkfifo', [path]);
  await expect(log.append({ id: 'a#1' }, false)).rejects.toThrow(/is a link, a pipe/);
  rmSync(path);
  await log.append({ id: 'a#1' }, false);
  expect(await ids()).toEqual(['a#1']);
});

test('given lines appended at once, then they stand whole and in order', async () => {
  const log = new LineLog(path);
  const wanted = Array.from({ length: 50 }, (_, i) => `a#${i}`);
  await Promise.all(wanted.map((id) => log.append({ id, text: 'ä\n"' }, false)));
  expect(await ids()).toEqual(wanted);
});

test('given a line that may stand there already, then it is written once, over lives and turned-over files', async () => {
  await new LineLog(path).append({ id: 'a#1' }, false);
  await new LineLog(path).append({ id: 'a#1' }, true);
  await new LineLog(path, { maxBytes: 1 }).append({ id: 'a#2' }, true);
  await new LineLog(path).append({ id: 'a#1' }, true);
  expect(await ids()).toEqual(['a#1', 'a#2']);
});

test('given many lines of which nobody knows whether they stand there, when each is written again in another order, then each stands once', async () => {
  const before = new LineLog(path);
  const text = 'x'.repeat(1000);
  const wanted = Array.from({ length: 400 }, (_, i) => `a#${i}`);
  const written = wanted.slice(-20);
  await Promise.all(written.map((id) => before.append({ id, text }, false)));
  const after = new LineLog(path); // as much more as one looks back for
  await Promise.all(wanted.map((id) => after.append({ id, text }, true)));
  await after.append({ id: 'a#0', text }, true);
  expect((await ids()).toSorted()).toEqual(wanted.toSorted());
});

test('given no folder, then it is made', async () => {
  const deep = join(folder, 'not', 'there', 'x.log');
  await new LineLog(deep).append({ id: 'a#1' }, false);
  expect(readFileSync(deep, 'utf8')).toBe('{"id":"a#1"}\n');
});

test('given half a line that a killed process left, then the next line stands alone and the half is passed over', async () => {
  await new LineLog(path).append({ id: 'a#1' }, false);
  appendFileSync(path, '{"id": "a#2", "ha');
  await new LineLog(path).append({ id: 'a#2' }, true);
  expect(await readLineLog(path, all)).toEqual({
    lines: [{ id: 'a#1' }, { id: 'a#2' }],
    passedOver: 1,
  });
});

test('given more than the files hold, then the oldest go and the newest are read', async () => {
  const log = new LineLog(path, { maxBytes: 40, older: 2 });
  for (let i = 0; i < 20; i += 1)
    await log.append({ id: `a#${String(i).padStart(2, '0')}` }, false);
  expect(readdirSync(folder).sort()).toEqual([
    'agent-events.log',
    'agent-events.log.1',
    'agent-events.log.2',
  ]);
  expect(readFileSync(path, 'utf8').length).toBeLessThanOrEqual(40);
  const found = await ids();
  expect(found.at(-1)).toBe('a#19');
  expect(found).toEqual([...found].sort());
  expect((await readLineLog(path, { ...all, most: 1 })).lines).toEqual([{ id: 'a#19' }]);
});

test('given no log, then there are no lines', async () => {
  expect(await ids()).toEqual([]);
});
