/** Text that steers how other text is shown (bidirectional overrides, zero width) on its way to a person who decides by it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { stderrLog } from '../../cli/log.ts';
import { printable, show } from '../../cli/output.ts';
import { writePending } from '../../actors/actions/action-moves.ts';
import { ActionFiles } from '../../actors/actions/action-files.ts';
import { prepareFolders } from '../../actors/actions/action-moves.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';

const HIDDEN = 'web\u202egnp.exe\u200b';
const SEEN = 'web\\u202egnp.exe\\u200b';

test('given a name that turns around what follows it, when it is printed, then every character of it is seen', () => {
  expect(printable(HIDDEN)).toBe(SEEN);
  expect(printable('zażółć \u001b[31mred\u001b[0m\u0007 日本')).toBe('zażółć red\u{fffd} 日本');
});

test('given such a name in a result, then the JSON shows it, and reads back as it was', () => {
  const said: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said.push(String(text));
    return true;
  });
  show({ json: true }, { service: HIDDEN }, () => []);
  spy.mockRestore();
  expect(said.join('')).toContain(SEEN);
  expect(JSON.parse(said.join(''))).toEqual({ service: HIDDEN });
});

test('given such a name in a field of the log, then the line shows it, and reads back as it was', () => {
  const lines: string[] = [];
  const log = stderrLog('info', { write: (line) => void lines.push(line) });
  log.info({ svc_key: HIDDEN }, 'event_received');
  expect(lines[0]).toContain(SEEN);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ svc_key: HIDDEN, msg: 'event_received' });
});

test('given such a name in a proposal, then its file shows it to who reads it before they decide', async () => {
  const root = mkdtempSync(join(tmpdir(), 'lazarus-hidden-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const files = new ActionFiles(runtimeLayout(root), 'n');
  await prepareFolders(files, [], () => undefined);
  const content = { action_id: 'a', type: 'notify', node: 'h', service: HIDDEN };
  await writePending(files, { actionId: 'a', content });
  const text = readFileSync(files.path('pending', 'a'), 'utf8');
  expect(text).toContain(SEEN);
  expect(JSON.parse(text)).toEqual(content);
});
