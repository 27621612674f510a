/**
 * Did the demo's mission come out right? Everything is looked at in the files it left, and computed anew from the example
 * as it is shipped, so that neither the mission's own scripts nor the runtime's words are taken on trust.
 *
 * D1 Each finished step wrote one line to `artifacts/ledger.txt`: a step that was lost is missing there, one that was
 *    done twice stands there twice, whoever did it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '../cells/inside.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';

export interface DemoRun {
  /** The example the mission was made from. */
  template: string;
  cellDir: string;
  cellId: string;
  /** `<missions>/.lazarus/revivals/ledger.jsonl`. */
  revivalLedger: string;
  /** The agent whose worker was killed. */
  killedAgent: string | null;
}

export interface Check {
  what: string;
  /** Null: it holds. */
  problem: string | null;
}

export function verifyDemo(run: DemoRun): Check[] {
  return [
    check('the mission and all its tasks are completed', () => notCompleted(run)),
    check('the release notes are what the change log gives', () => wrongNotes(run)),
    check('every step was finished exactly once', () => wrongLedger(run)),
    check('the announcement went out once', () => wrongAnnouncement(run)),
    check('the killed agent was revived', () => notRevived(run)),
  ];
}

/** What cannot be read is a problem like any other. */
function check(what: string, problemOf: () => string | null): Check {
  try {
    return { what, problem: problemOf() };
  } catch (error) {
    return { what, problem: error instanceof Error ? error.message : String(error) };
  }
}

function notCompleted({ template, cellDir }: DemoRun): string | null {
  const files = ['cell.json', ...taskFiles(template).map((name) => `tasks/${name}`)];
  const open = files.flatMap((file) => {
    const { status } = readJson(join(cellDir, file));
    return status === 'completed' ? [] : [`${file} says ${JSON.stringify(status)}`];
  });
  return open.length === 0 ? null : open.join('; ');
}

function wrongNotes({ template, cellDir }: DemoRun): string | null {
  const log = readFileSync(join(template, 'input/changes.tsv'), 'utf8');
  const file = join(cellDir, 'artifacts/RELEASE-NOTES.md');
  const expected = expectedNotes(log).split('\n');
  const found = readFileSync(file, 'utf8').split('\n');
  const at = Array.from({ length: Math.max(expected.length, found.length) }, (_, i) => i).find(
    (i) => expected[i] !== found[i],
  );
  if (at === undefined) return null;
  const [want, got] = [expected[at], found[at]].map((line) => JSON.stringify(line ?? 'the end'));
  return `${file}, line ${at + 1} is ${got}, should be ${want}`;
}

/** D1. */
function wrongLedger({ template, cellDir }: DemoRun): string | null {
  const ledger = linesOf(join(cellDir, 'artifacts/ledger.txt'));
  const done = countBy(ledger.map((line) => line.split(' ', 1)[0] ?? ''));
  const steps = new Set(stepsOf(template));
  const wrong = [
    ...[...steps]
      .filter((step) => !done.some(([name]) => name === step))
      .map((step) => `${step} is missing`),
    ...done
      .filter(([, count]) => count > 1)
      .map(([step, count]) => `${step} was done ${count} times`),
    ...done.filter(([step]) => !steps.has(step)).map(([step]) => `${step} is no step of it`),
  ];
  return wrong.length === 0 ? null : wrong.join('; ');
}

function wrongAnnouncement({ cellDir }: DemoRun): string | null {
  const { length } = linesOf(join(cellDir, 'artifacts/announcements.txt'));
  return length === 1 ? null : `it went out ${length} times`;
}

function notRevived({ revivalLedger, cellId, killedAgent }: DemoRun): string | null {
  if (killedAgent === null) return 'no agent was killed';
  return revivalsOf(revivalLedger, cellId, killedAgent).length > 0
    ? null
    : `${revivalLedger} has no revival of ${killedAgent}`;
}

/** Lines of the revival ledger that say that this agent came back; none while there is no ledger. */
export function revivalsOf(file: string, cellId: string, agentId: string): JsonObject[] {
  return linesOf(file)
    .map((line): unknown => JSON.parse(line))
    .filter(isJsonObject)
    .filter((line) => line['cell_id'] === cellId && line['agent_id'] === agentId)
    .filter((line) => line['outcome'] === 'revived');
}

/** `<task>/<step>` for every step of the example. */
export function stepsOf(template: string): string[] {
  return taskFiles(template).flatMap((name) => {
    const { task_id: task, steps } = readJson(join(template, 'tasks', name)) as {
      task_id: string;
      steps: { name: string }[];
    };
    return steps.map((step) => `${task}/${step.name}`);
  });
}

interface Change {
  id: string;
  date: string;
  author: string;
  kind: string;
  area: string;
  subject: string;
}

const CHAPTERS = [
  ['feature', 'New'],
  ['fix', 'Mended'],
  ['performance', 'Faster'],
] as const;

/** The release notes of a change log, as examples/release-notes should make them. */
export function expectedNotes(log: string): string {
  const changes = log.split('\n').slice(0, -1).map(parseChange);
  const reverted = new Set(changes.filter((c) => c.kind === 'revert').map((c) => c.subject));
  const kept = changes.filter(
    ({ id, kind }) => kind !== 'revert' && kind !== 'internal' && !reverted.has(id),
  );
  const chapters = CHAPTERS.map(([kind, title]) => ({ title, entries: entriesOf(kept, kind) }));
  const dates = kept.map(({ date }) => date).sort();
  const authors = countBy(kept.map(({ author }) => author));
  return [
    '# Tidewater 4.0: release notes\n',
    `${kept.length} changes by ${authors.length} people, from ${dates[0]} to ${dates.at(-1)}.\n`,
    '| chapter | entries |',
    '| ------- | ------- |',
    ...chapters.map(({ title, entries }) => `| ${title} | ${entries.length} |`),
    ...chapters.flatMap(({ title, entries }) => [`\n## ${title}`, ...chapterLines(entries)]),
    '\n## Thanks\n',
    ...authors.map(([name, count]) => `- ${name}: ${count} ${count === 1 ? 'change' : 'changes'}`),
    '',
  ].join('\n');
}

interface Entry {
  area: string;
  subject: string;
  ids: string[];
}

function entriesOf(kept: readonly Change[], kind: string): Entry[] {
  const entries = new Map<string, Entry>();
  for (const { area, subject, id, kind: own } of kept) {
    if (own !== kind) continue;
    const name = `${area}\t${subject}`;
    const entry = entries.get(name) ?? { area, subject, ids: [] };
    entries.set(name, entry);
    entry.ids.push(id);
  }
  return [...entries].sort(([a], [b]) => compare(a, b)).map(([, entry]) => entry);
}

function chapterLines(entries: readonly Entry[]): string[] {
  return entries.flatMap(({ area, subject, ids }, i) => [
    ...(area === entries[i - 1]?.area ? [] : [`\n### ${area}\n`]),
    `- ${subject} (${[...ids].sort(compare).join(', ')})`,
  ]);
}

/** The most frequent first, then by name. */
function countBy(names: readonly string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort(([a, m], [b, n]) => n - m || compare(a, b));
}

function parseChange(line: string): Change {
  const [id = '', date = '', author = '', kind = '', area = '', subject = ''] = line.split('\t');
  return { id, date, author, kind, area, subject };
}

/** By bytes, as `sort` with LC_ALL=C: the example is plain ASCII. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function taskFiles(template: string): string[] {
  return readdirSync(join(template, 'tasks')).filter((name) => name.endsWith('.json'));
}

function readJson(file: string): JsonObject {
  const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
  if (!isJsonObject(value)) throw new Error(`${file} is no object`);
  return value;
}

/** Whole lines only; none when the file is absent. */
function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}
