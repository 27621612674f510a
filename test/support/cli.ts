/** The command line as a person runs it: real processes on real folders, ended when the test ends. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';
import { callVerb } from '../../bus/control-client.ts';
import { eventually } from './eventually.ts';

const ROOT = resolve(import.meta.dirname, '../..');
export const LAZARUS = join(ROOT, 'bin/lazarus');

export interface Ended {
  code: number | null;
  out: string;
  err: string;
  /** The one JSON document on standard output. */
  json: () => Record<string, unknown>;
}

export function missionsFolder(): string {
  const base = mkdtempSync(join(tmpdir(), 'lazarus-cli-'));
  onTestFinished(() => rmSync(base, { recursive: true, force: true, maxRetries: 3 }));
  const dir = join(base, 'missions');
  mkdirSync(dir);
  return dir;
}

function start(args: string[], options: { ipc?: boolean } = {}): ChildProcess {
  const { LAZARUS_MISSIONS: _, ...inherited } = process.env;
  // The contexts of the NATS CLI are no business of a test's.
  const config = mkdtempSync(join(tmpdir(), 'lazarus-xdg-'));
  onTestFinished(() => rmSync(config, { recursive: true, force: true, maxRetries: 3 }));
  const env = { ...inherited, LAZARUS_CONFIG: 'none', XDG_CONFIG_HOME: config };
  const child = spawn(process.execPath, [LAZARUS, ...args], {
    env: { ...env, NO_COLOR: '1', ...(options.ipc ? { LAZARUS_LAUNCHED: '1' } : {}) },
    stdio: ['ignore', 'pipe', 'pipe', ...(options.ipc ? (['ipc'] as const) : [])],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

/** Runs a verb to its end. */
export function lazarus(missions: string | null, ...args: string[]): Promise<Ended> {
  return ended(start([...args, ...(missions === null ? [] : ['--missions', missions])]));
}

/** What a running node says, with no process for the question: to wait for what a verb is then asked about. */
export async function statusAt<T = Record<string, unknown>>(missions: string): Promise<T> {
  const { control } = JSON.parse(readFileSync(nodeFileOf(missions), 'utf8')) as { control: string };
  return (await callVerb(control, 'status', {})) as T;
}

/** Until the file of the only mission says so. */
export async function cellIs(missions: string, cellId: string, status: string): Promise<void> {
  await eventually(
    () => {
      const text = readFileSync(join(missions, cellId, 'cell.json'), 'utf8');
      const said = (JSON.parse(text) as { status: string }).status;
      if (said !== status) throw new Error(`${cellId} is ${said}`);
    },
    { timeoutMs: 20_000 },
  );
}

/** Collects what a process says until it ends. */
function ended(child: ChildProcess): Promise<Ended> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')));
  return new Promise((resolvePromise) => {
    child.once('close', (code) =>
      resolvePromise({
        code,
        out,
        err,
        json: () => JSON.parse(out) as Record<string, unknown>,
      }),
    );
  });
}

/** A process that goes on: `up`, `status --watch`, `events -f`. */
export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  out = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (chunk: Buffer) => (this.out += chunk.toString('utf8')));
    this.ended = ended(child);
  }

  static readonly of = (missions: string, ...args: string[]): Running =>
    new Running(start([...args, '--missions', missions]));

  /** As bin/lazarus launches it from an older Node: with a channel by which signals come. */
  static readonly launched = (missions: string, ...args: string[]): Running =>
    new Running(start([...args, '--missions', missions], { ipc: true }));

  lines(): string[] {
    return this.out.split('\n').slice(0, -1);
  }
}

export const nodeFileOf = (missions: string): string => join(missions, '.lazarus/node.json');

/** `lazarus up`, until it accepts work. */
export async function up(
  missions: string,
  launch: (missions: string, ...args: string[]) => Running = Running.of,
): Promise<Running> {
  const running = launch(missions, 'up');
  await isUp(missions, running);
  return running;
}

export async function isUp(missions: string, { child }: Running): Promise<void> {
  await eventually(
    () => {
      const { pid } = JSON.parse(readFileSync(nodeFileOf(missions), 'utf8')) as { pid: number };
      if (pid !== child.pid) throw new Error(`node.json names ${pid}, not ${String(child.pid)}`);
    },
    { timeoutMs: 20_000 },
  );
}

export interface TestTask {
  task_id: string;
  assigned_to?: string;
  dependencies?: string[];
  steps?: { name: string; run: string[]; retry?: string; probe?: string[] }[];
}

/** A cell with the given agents (all leads) and tasks, as a folder. */
export function writeCell(
  missions: string,
  cellId: string,
  { agents = ['worker'], tasks = [] as TestTask[], more = {} } = {},
): string {
  const write = (path: string, content: object): void => {
    const file = join(missions, cellId, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(content));
  };
  for (const id of agents)
    write(`agents/${id}.json`, { agent_id: id, name: id, role: 'lead', capabilities: [] });
  for (const task of tasks) write(`tasks/${task.task_id}.json`, { title: task.task_id, ...task });
  write('cell.json', {
    cell_id: cellId,
    mission_name: cellId,
    created_at: '2026-01-01T00:00:00Z',
    created_by: 'test',
    status: 'active',
    policies: { auto_revive: 'ask' },
    ...more,
  });
  return join(missions, cellId);
}

/** A step that leaves a line each time it runs, and then takes `seconds`. */
export const slowStep = (name: string, seconds: number, retry: string) => ({
  name,
  run: ['sh', '-c', `echo ${name} >> artifacts/ran.txt; sleep ${seconds}`],
  retry,
});
