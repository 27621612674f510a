/** A child process of the bench: a module of bench/support that talks over its channel and ends with its parent. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Bench } from '../harness.ts';

export interface BenchChild {
  process: ChildProcess;
  pid: number;
  /** The next message; one that came before is kept. Rejects when the child ends first or takes over a minute. */
  next<T>(): Promise<T>;
  ask<T>(question: unknown): Promise<T>;
  /** Resolves when it is reaped. */
  kill(): Promise<void>;
  /** Asks it to stop in good order. */
  leave(): Promise<void>;
  /** Asks it to exit on the spot, stopping nothing; that also writes its profile. */
  exit(): Promise<void>;
}

const PATIENCE_MS = 60_000;

export interface ChildOptions {
  args?: string[];
  /** Node's own flags. */
  flags?: string[];
  /** Folder of V8's compile cache, as the launcher sets one for every process of ours; filled by the first clean exit. */
  compileCache?: string;
}

/** `module` is a file of bench/support. */
export function startChild(module: string, options: ChildOptions = {}): BenchChild {
  const { args = [], flags = [], compileCache } = options;
  const entry = fileURLToPath(new URL(`./${module}`, import.meta.url));
  const cache = compileCache === undefined ? {} : { NODE_COMPILE_CACHE: compileCache };
  const child = fork(entry, args, { execArgv: flags, env: { ...process.env, ...cache } });
  const early: unknown[] = [];
  let waiting: ((message: unknown) => void) | undefined;
  let ended = false;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  void exited.then(() => (ended = true));
  child.on('message', (message) => {
    if (waiting === undefined) early.push(message);
    else waiting(message);
    waiting = undefined;
  });
  const next = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      if (early.length > 0) return resolve(early.shift() as T);
      const timer = setTimeout(() => reject(new Error(`${module} was silent`)), PATIENCE_MS);
      const gone = (): void => reject(new Error(`${module} ended before it answered`));
      child.once('exit', gone);
      waiting = (message) => {
        clearTimeout(timer);
        child.off('exit', gone);
        resolve(message as T);
      };
    });
  const end = async (how: () => void): Promise<void> => {
    if (!ended) how();
    await exited;
  };
  return {
    process: child,
    pid: child.pid ?? -1,
    next,
    ask(question) {
      child.send(question as object);
      return next();
    },
    kill: () => end(() => void child.kill('SIGKILL')),
    leave: () => end(() => void child.send('leave')),
    exit: () => end(() => void child.send('exit')),
  };
}

/** A node has run once and left its compiled code, as it has on every start of the product but the first. */
export async function warmCompileCache(bench: Bench): Promise<string> {
  const compileCache = bench.folder('compile-cache');
  const child = startChild('node-child.ts', { args: [bench.folder('first-run')], compileCache });
  await child.next();
  await child.leave();
  return compileCache;
}

/** For the child's side: answers every message with what `answer` gives; leaves when told, or when the parent is gone. */
export function serve(
  answer: (question: unknown) => Promise<unknown>,
  leave: () => Promise<void> = () => Promise.resolve(),
): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', (question) => {
    if (question === 'exit') process.exit(0);
    else if (question === 'leave') void leave().then(() => process.exit(0));
    else void answer(question).then(tell);
  });
}

/** When the parent is gone nobody is told, and 'disconnect' ends the process. */
export function tell(message: unknown): void {
  process.send?.(message, undefined, {}, () => {});
}
