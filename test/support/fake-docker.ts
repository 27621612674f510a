/** A recording `docker` and `ssh` on PATH, and an executor that calls them. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openExecutor } from '../../actors/executor/executor.ts';
import type { ExecutorOptions, OpenExecutor } from '../../actors/executor/executor.ts';
import type { RunOutcome, Runnable } from '../../machines/action-context.ts';
import { sweepByMark } from '../../actors/processes.ts';
import { temporaryFolder } from './cell-files.ts';

export interface FakeContainer {
  id?: string;
  StartedAt: string;
  Running: boolean;
  Restarting?: boolean;
  Health?: { Status: string };
}

export interface FakeRule {
  /** Part of the arguments. */
  match: string;
  /** It happens instead of what it was told to do, or before; else after. */
  early?: true;
  stdout?: string;
  stderr?: string;
  bytes?: number;
  hangMs?: number;
  /** Leaves a process behind that is in a session of its own and ignores SIGTERM. */
  fork?: boolean;
  exit?: number;
  kill?: NodeJS.Signals;
}

export interface Call {
  name: string;
  args: string[];
  pid: number;
  env: Record<string, string>;
}

export interface FakeHost {
  folder: string;
  /** `executor.json` */
  file: string;
  /** As PATH has it. */
  path: string;
  nodeId: string;
  calls(name?: string): Call[];
  /** Arguments of the calls that change something. */
  acts(): string[];
  rules(rules: FakeRule[]): void;
  containers(containers: Record<string, FakeContainer>): void;
  container(name: string): FakeContainer | undefined;
  configure(config: unknown): void;
  open(options?: Partial<ExecutorOptions>): Promise<OpenExecutor>;
}

const PROGRAM = join(import.meta.dirname, 'fake-docker-program.ts');

/** PATH is as before when the test ends, and nothing that it started is left. */
export function makeFakeHost(): FakeHost {
  const folder = temporaryFolder();
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const name of ['docker', 'ssh']) {
    const words = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      PROGRAM,
      folder,
      name,
    ];
    const shim = `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`;
    writeFileSync(join(bin, name), shim, { mode: 0o755 });
  }
  const before = process.env['PATH'] ?? '';
  const path = `${bin}${delimiter}${before}`;
  process.env['PATH'] = path;
  const nodeId = `test-${process.pid}-${folder.slice(-6)}`;
  onTestFinished(async () => {
    process.env['PATH'] = before;
    await sweepByMark({ LAZARUS_NODE: nodeId });
  });
  const file = join(folder, 'executor.json');
  const put = (name: string, value: unknown): void =>
    writeFileSync(join(folder, name), JSON.stringify(value));
  const calls = (name?: string): Call[] => {
    const log = join(folder, 'calls.jsonl');
    const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : [];
    const all = lines.map((line) => JSON.parse(line) as Call);
    return name === undefined ? all : all.filter((call) => call.name === name);
  };
  return {
    folder,
    file,
    path,
    nodeId,
    calls,
    acts: () =>
      calls('docker')
        .map(({ args }) => args.join(' '))
        .filter((words) => !/^inspect| ps /.test(words)),
    rules: (rules) => put('rules.json', rules),
    containers: (containers) => put('containers.json', containers),
    container: (name) =>
      (
        JSON.parse(readFileSync(join(folder, 'containers.json'), 'utf8')) as Record<
          string,
          FakeContainer
        >
      )[name],
    configure: (config) => {
      writeFileSync(file, JSON.stringify(config, null, 2));
      chmodSync(file, 0o644);
    },
    open: async (options = {}) => {
      const log = { info: () => {}, warn: () => {}, error: () => {} };
      const executor = await openExecutor({
        file,
        nodeId,
        localHosts: ['here'],
        log,
        watchMs: 20,
        quietMs: 20,
        ...options,
      });
      onTestFinished(() => executor.close());
      return executor;
    },
  };
}

export const OLD = '2026-01-01T00:00:00Z';

export function runnable(over: Partial<Runnable> = {}): Runnable {
  return {
    actionId: 'plan-here-web-1',
    type: 'container_restart',
    host: 'here',
    service: 'web',
    payload: {},
    content: { description: 'RESTART web on here: it does not answer', risk_level: 'low' },
    sha256: 'a'.repeat(64),
    ...over,
  };
}

export interface Ran {
  outcome: RunOutcome;
  folder: string;
}

/** Runs it once, with its output in a folder of the fake host. */
export async function runOnce(
  host: FakeHost,
  executor: OpenExecutor,
  run: Runnable,
  { key = 'system/action/x#1#run', signal = new AbortController().signal } = {},
): Promise<Ran> {
  const folder = join(host.folder, 'output', run.actionId);
  const outcome = await executor.run(run, { key, signal, outputFolder: folder });
  return { outcome, folder };
}
