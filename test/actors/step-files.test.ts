import {
  appendFileSync,
  existsSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { appendAgentLog } from '../../actors/agent-log.ts';
import { attemptPath } from '../../actors/step-files.ts';
import { readOutcome, runStep } from '../../actors/step-runner.ts';
import type { StepOutcome, StepRequest } from '../../actors/step-request.ts';
import { cellPath } from '../../cells/layout.ts';
import { makeCell } from '../support/steps.ts';
import type { TestCell } from '../support/steps.ts';

let cell: TestCell;
beforeEach(() => {
  cell = makeCell();
});
afterEach(() => cell.remove());

const signal = new AbortController().signal;
const run = (request: StepRequest): Promise<StepOutcome> => runStep(request, { signal });

test('files are where the layout says', () => {
  const step = cell.request(['true'], { name: 'two words' });
  expect(attemptPath(step, 3, 'out')).toBe(cellPath.stepOut('build', 'two words', 3));
  expect(attemptPath(step, 3, 'err')).toBe(cellPath.stepErr('build', 'two words', 3));
  expect(attemptPath(step, 3, 'outcome.json')).toBe(cellPath.stepOutcome('build', 'two words', 3));
});

describe('F3: which outcome is believed', () => {
  let request: StepRequest;
  let outcome: StepOutcome;
  let file: string;
  beforeEach(async () => {
    request = cell.request(['false']);
    outcome = await run(request);
    file = join(cell.dir, attemptPath(request, 1, 'outcome.json'));
  });
  const read = (more: Partial<StepRequest> = {}) => readOutcome({ ...request, ...more });

  test('the one of the same key and argv', async () => {
    expect(await read()).toEqual(outcome);
  });

  test.each<[string, Partial<StepRequest>]>([
    ['another key', { key: 'cell/c1/agent/builder#8#step' }],
    ['a changed argument', { run: ['false', ''] }],
    ['another step', { name: 'link' }],
    ['another task', { taskId: 'ship' }],
    ['the probe of the same name', { kind: 'probe' }],
  ])('not that of %s', async (_, more) => {
    expect(await read(more)).toBeNull();
  });

  test.each<[string, (path: string) => void]>([
    ['cut short', (path) => truncateSync(path, 40)],
    ['empty', (path) => truncateSync(path, 0)],
    ['too large', (path) => appendFileSync(path, ' '.repeat(70_000))],
    ['not JSON', (path) => writeFileSync(path, 'exit 0')],
    ['of another shape', (path) => writeFileSync(path, '{"exit_code": 0}')],
    ['without any end', (path) => rewrite(path, { exit_code: null })],
    ['with two ends', (path) => rewrite(path, { signal: 'SIGTERM' })],
    ['of another attempt', (path) => rewrite(path, { attempt: 2 })],
    ['a list', (path) => writeFileSync(path, '[]')],
    ['gone', (path) => rmSync(path)],
  ])('not one that is %s', async (_, spoil) => {
    spoil(file);
    expect(await read()).toBeNull();
  });

  test('not one behind a symlink', async () => {
    const elsewhere = join(cell.dir, 'elsewhere.json');
    writeFileSync(elsewhere, JSON.stringify(outcome));
    rmSync(file);
    symlinkSync(elsewhere, file);
    expect(await read()).toBeNull();
  });

  test('given a newer attempt that never ended, then the older outcome is no answer', async () => {
    writeFileSync(join(cell.dir, attemptPath(request, 2, 'out')), '');
    expect(await read()).toBeNull();
  });

  test('given a newer attempt that ended, then that one is the answer', async () => {
    const second = await run(request);
    expect(await read()).toEqual(second);
    expect(second.attempt).toBe(2);
  });

  function rewrite(path: string, change: object): void {
    writeFileSync(path, JSON.stringify({ ...outcome, ...change }));
  }
});

describe("the agent's log", () => {
  const append = async (request: StepRequest): Promise<string[]> => {
    await appendAgentLog(request, await run(request));
    return cell.read('logs/builder.log').split('\n');
  };

  test('has a line for the end and the last lines of both streams', async () => {
    const lines = await append(cell.script('echo one; echo two; echo bad >&2; exit 4'));
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT\S+Z build\/compile attempt 1: exit 4$/);
    expect(lines.slice(1)).toEqual(['  out| one', '  out| two', '  err| bad', '']);
  });

  test('grows by a step at a time, and says what ended it', async () => {
    await append(cell.script('exit 0'));
    const lines = await append(cell.script('sleep 9', { timeoutMs: 50 }));
    expect(lines[1]).toMatch(/attempt 2: ended by SIGTERM \(timed out\)$/);
  });

  test('takes no more than 4 KiB of output, in whole lines', async () => {
    const lines = await append(cell.script('seq 1 5000; seq 1 5000 >&2'));
    const tail = lines.slice(1, -1);
    expect(Buffer.byteLength(tail.join('\n'))).toBeLessThanOrEqual(4096);
    expect(tail.filter((line) => /^ {2}(out|err)\| \d{1,4}$/.test(line))).toEqual(tail);
    expect(tail.at(-1)).toBe('  err| 5000');
    expect(tail).toContain('  out| 5000');
  });

  test('shows the end of a line that is too long, and no control characters', async () => {
    const script = 'head -c 9000 /dev/zero | tr "\\0" x; printf "\\033[2Jend"';
    const lines = await append(cell.script(script));
    expect(lines[1]).toMatch(/^ {2}out\| \u{2026}x{1000,1400}\u{fffd}\[2Jend$/u);
  });

  test('does not mind a step that removed its own output, or put a link there', async () => {
    await append(cell.script('rm artifacts/logs/build/compile.1.out'));
    const swap = 'cd artifacts/logs/build; rm compile.2.out; ln -s /etc/passwd compile.2.out';
    const lines = await append(cell.script(swap));
    expect(lines[2]).toMatch(/unreadable/);
    expect(lines.join('\n')).not.toContain('root:');
  });

  test('moves a full log aside and keeps one of them', async () => {
    writeFileSync(join(cell.dir, 'logs/builder.log'), '');
    truncateSync(join(cell.dir, 'logs/builder.log'), 17 * 1024 * 1024);
    const request = cell.script('exit 0');
    await appendAgentLog(request, await run(request));
    expect(existsSync(join(cell.dir, 'logs/builder.log'))).toBe(false);
    expect(await append(cell.script('exit 0'))).toHaveLength(2);
    expect(existsSync(join(cell.dir, 'logs/builder.log.1'))).toBe(true);
  });
});
