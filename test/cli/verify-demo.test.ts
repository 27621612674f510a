/** The demo's verdict must not be had for nothing: each way of tampering with a completed mission is found. */
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { expectedNotes, verifyDemo } from '../../cli/verify-demo.ts';
import type { Check, DemoRun } from '../../cli/verify-demo.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';
import { completeByHand, readObject, TEMPLATE } from '../support/example.ts';

const REVIVAL = { cell_id: 'c', agent_id: 'writer-1', outcome: 'revived', took_ms: 30 };

function revivalLine(change: object = {}): string {
  return `${JSON.stringify({ ...REVIVAL, ...change })}\n`;
}

let pristine = '';
beforeAll(() => {
  pristine = mkdtempSync(join(tmpdir(), 'lazarus-demo-test-'));
  completeByHand(pristine, 'c');
  put(pristine, '.lazarus/revivals/ledger.jsonl', revivalLine());
  return () => rmSync(pristine, { recursive: true, force: true });
});

function run(): DemoRun {
  const missions = temporaryFolder();
  cpSync(pristine, missions, { recursive: true });
  const revivalLedger = join(missions, '.lazarus/revivals/ledger.jsonl');
  const cellDir = join(missions, 'c');
  return { template: TEMPLATE, cellDir, cellId: 'c', revivalLedger, killedAgent: 'writer-1' };
}

const problemsOf = (checks: Check[]): Record<string, string> =>
  Object.fromEntries(
    checks.flatMap(({ what, problem }) => (problem === null ? [] : [[what, problem]])),
  );

describe('the verdict on the demo', () => {
  test('a mission done right has no problem', () => {
    expect(problemsOf(verifyDemo(run()))).toEqual({});
  });

  const notes = 'artifacts/RELEASE-NOTES.md';
  const edit = (file: string, change: (text: string) => string) => (cellDir: string) =>
    writeFileSync(join(cellDir, file), change(readFileSync(join(cellDir, file), 'utf8')));

  test.each<[tampering: string, tamper: (cellDir: string) => void, check: string, problem: RegExp]>(
    [
      [
        'an entry of the notes is another',
        edit(notes, (t) => t.replace('Print', 'Paint')),
        'release notes',
        /line \d+ is "- Paint/,
      ],
      [
        'an entry of the notes is missing',
        edit(notes, (t) => t.replace(/- .*\n/, '')),
        'release notes',
        /line \d+ is/,
      ],
      [
        'something follows the notes',
        edit(notes, (t) => `${t}more\n`),
        'release notes',
        /"more", should be ""/,
      ],
      ['the notes are gone', (dir) => rmSync(join(dir, notes)), 'release notes', /ENOENT/],
      ['the mission altered its own input', edit('input/changes.tsv', () => ''), 'none', /none/],
      [
        'a step is not in the ledger',
        edit('artifacts/ledger.txt', (t) => t.replace(/^audit\/sign .*\n/m, '')),
        'every step',
        /audit\/sign is missing/,
      ],
      [
        'a step is in the ledger twice',
        (dir) => appendFileSync(join(dir, 'artifacts/ledger.txt'), 'audit/sign again\n'),
        'every step',
        /audit\/sign was done 2 times/,
      ],
      [
        'the ledger has a step of no task',
        (dir) => appendFileSync(join(dir, 'artifacts/ledger.txt'), 'audit/cheer k\n'),
        'every step',
        /audit\/cheer is no step/,
      ],
      [
        'the ledger ends in half a line',
        edit('artifacts/ledger.txt', (t) => t.slice(0, -1)),
        'every step',
        /is missing/,
      ],
      [
        'the announcement went out again',
        (dir) => appendFileSync(join(dir, 'artifacts/announcements.txt'), 'again\n'),
        'announcement',
        /2 times/,
      ],
      [
        'nobody announced anything',
        (dir) => rmSync(join(dir, 'artifacts/announcements.txt')),
        'announcement',
        /0 times/,
      ],
      [
        'a task is not completed',
        (dir) => setStatus(dir, 'tasks/audit.json', 'failed'),
        'completed',
        /tasks\/audit.json says "failed"/,
      ],
      [
        'the cell is not completed',
        (dir) => setStatus(dir, 'cell.json', 'active'),
        'completed',
        /cell.json says "active"/,
      ],
      ['a task file is no JSON', edit('tasks/audit.json', () => '{'), 'completed', /JSON/],
    ],
  )('%s', (_, tamper, check, problem) => {
    const tampered = run();
    tamper(tampered.cellDir);
    const found = Object.entries(problemsOf(verifyDemo(tampered)));
    if (check === 'none') return expect(found).toEqual([]); // judged by the example as it is shipped
    expect(found).toEqual([[expect.stringContaining(check), expect.stringMatching(problem)]]);
  });

  test.each([
    ['there is no ledger', ''],
    ['it names another agent', revivalLine({ agent_id: 'writer-2' })],
    ['it names another cell', revivalLine({ cell_id: 'other' })],
    ['the revival failed', revivalLine({ outcome: 'gave_up' })],
  ])('a killed agent counts as revived only by the ledger: %s', (_, ledger) => {
    const tampered = run();
    writeFileSync(tampered.revivalLedger, ledger);
    expect(Object.keys(problemsOf(verifyDemo(tampered)))).toEqual(['the killed agent was revived']);
  });

  test('a demo that killed nobody has shown nothing', () => {
    const problems = problemsOf(verifyDemo({ ...run(), killedAgent: null }));
    expect(problems).toEqual({ 'the killed agent was revived': 'no agent was killed' });
  });
});

describe('the notes that a change log should give', () => {
  test('a reverted change is left out, a change in two branches is one entry, internal ones are nobody’s business', () => {
    const log = [
      'T-1 2025-01-01 Ada fix tides Mend_b',
      'T-2 2025-01-02 Bob fix tides Mend_a',
      'T-3 2025-01-03 Bob revert tides T-2',
      'T-4 2025-01-04 Cid internal tides Move',
      'T-5 2025-01-05 Cid fix tides Mend_b',
    ];
    const text = expectedNotes(`${log.join('\n').replaceAll(' ', '\t')}\n`);
    expect(text).toContain('2 changes by 2 people, from 2025-01-01 to 2025-01-05.');
    expect(text).toContain('\n## Mended\n\n### tides\n\n- Mend_b (T-1, T-5)\n\n## Faster\n');
    expect(text).toMatch(/## Thanks\n\n- Ada: 1 change\n- Cid: 1 change\n$/);
  });
});

function setStatus(cellDir: string, file: string, status: string): void {
  put(cellDir, file, { ...readObject(join(cellDir, file)), status });
}
