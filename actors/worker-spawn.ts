/** The argv and environment of a worker at level_1, and what its exit status means. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { faultPoint } from '../cells/durable.ts';
import { workerEnvironment } from './environment.ts';
import { setpriv, underSetpriv } from './processes.ts';

export interface WorkerSpawn {
  nodeId: string;
  /** Of this process alone. */
  workerId: string;
  beatIntervalMs: number;
  compileCacheDir: string | undefined;
  /** The control group it is to enter, as a path. */
  cgroup: string | null;
}

const workerEntry = fileURLToPath(new URL('./worker.ts', import.meta.url));

export function spawnWorker(options: WorkerSpawn): ChildProcess {
  const cache = options.compileCacheDir ?? hostCompileCache();
  const entry = [
    workerEntry,
    String(options.beatIntervalMs),
    setpriv() ?? '',
    options.cgroup ?? '',
  ];
  const node = [process.execPath, ...inheritedArguments(), ...entry];
  const [command = '', ...args] = underSetpriv(node, ['--no-new-privs', '--pdeathsig', 'TERM']); // H4 of worker-pool.ts
  faultPoint('worker.before-spawn');
  const worker = spawn(command, args, {
    env: {
      ...workerEnvironment(options.nodeId, options.workerId),
      ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }),
    },
    detached: true, // a terminal's Ctrl-C is for the host
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  faultPoint('worker.after-spawn');
  return worker;
}

/** Where this process keeps compiled code; undefined: nowhere. Node names its own folder in it, one for each version. */
export function hostCompileCache(): string | undefined {
  const own = getCompileCacheDir();
  return own === undefined ? undefined : dirname(own);
}

/** Our own Node options, but for those that hold a program, a mode of running or a debugger's port. */
function inheritedArguments(): string[] {
  const args = process.execArgv.filter((arg) => !/^--(inspect|watch|test|eval=|print=)/.test(arg));
  const evaluated = args.findIndex((arg) => /^(-e|-p|-pe|--eval|--print)$/.test(arg));
  return evaluated < 0 ? args : args.toSpliced(evaluated, 2);
}

/** Wrappers (bwrap, podman, a shell) report a signal as 128 + n. */
export function signalOf(
  code: number | null,
  signal: string | null,
): { code: number | null; signal: string | null } {
  const number = code !== null && code > 128 ? code - 128 : null;
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return name === undefined ? { code, signal } : { code: null, signal: name };
}
