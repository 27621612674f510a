/**
 * The bus that the runtime brings with it: one nats-server child with JetStream, on loopback, its store in the missions
 * folder.
 *
 * V1 One server a store. nats-server takes no lock on it, and two on one store lose what they acknowledged. Whoever starts
 *    this holds the lock of the missions folder, and what an earlier life left running on this configuration is ended first.
 * V2 It does not outlive us, however we end: a shell beside it waits for the end of a pipe that only we hold open, and then
 *    ends it. A signal meant for us (Ctrl-C in a terminal) passes it by: we drain first.
 * V3 When it dies it is started again, on the same port, for clients know no other; with growing pauses, for ever (P8: the
 *    pause is the bound). The port is kept over restarts of the runtime too, unless somebody else has taken it since.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import type { BusLog } from './bus.ts';
import { serverConfig } from './nats-config.ts';
import type { ServerUser } from './nats-users.ts';

export interface NatsServerOptions {
  /** For configuration, store and port; made 0700 when it is not there. */
  folder: string;
  binary: string;
  users: readonly ServerUser[];
  /** Environment by which the next life knows what this one left running. */
  mark: Readonly<Record<string, string>>;
  log: BusLog;
  /** First pause before a start after a failure, ms. Default 100. */
  pauseMs?: number;
}

interface Running {
  exited: Promise<void>;
}

const READY_MS = 10_000;
const STOP_MS = 5000;
const RELOAD_MS = 5000;
const MAX_PAUSE_MS = 30_000;
/** A server that has run so long has proven itself: the next pause is the first again. */
const PROVEN_MS = 60_000;
/** Lines of its log that are kept for an error message. */
const KEPT_LINES = 5;

/**
 * Starts the server in the background, says its pid, and ends it when the pipe (descriptor 3) closes or on SIGTERM. The
 * reader of the pipe is the shell's own child and goes with it.
 */
const KEEPER = [
  '"$@" </dev/null 3<&- & server=$!',
  'echo "$server"',
  'trap \'kill -TERM "$server" 2>/dev/null\' TERM INT HUP',
  '(read -r _ <&3; kill -TERM "$server" 2>/dev/null) & watcher=$!',
  'exec 3<&-',
  'wait "$server"; code=$?',
  'while kill -0 "$server" 2>/dev/null; do wait "$server"; code=$?; done',
  'kill "$watcher" 2>/dev/null',
  'exit "$code"',
].join('\n');

/** `$NATS_SERVER_BIN`, then PATH, then where Debian puts it; undefined when there is none. */
export function findNatsServer(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = environment['NATS_SERVER_BIN'];
  if (named) return isProgram(named) ? named : undefined;
  const folders = (environment['PATH'] ?? '').split(delimiter).filter(isAbsolute);
  return [...folders, '/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin']
    .map((folder) => join(folder, 'nats-server'))
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // not there, or not ours to run
  }
}

export class NatsServer {
  readonly #options: NatsServerOptions;
  readonly #config: string;
  #users: readonly ServerUser[];
  /** Under way; resolves with what is wrong, or nothing. */
  #reload: PromiseWithResolvers<string> | undefined;
  #child: ChildProcess | undefined;
  #pid: number | undefined;
  #port: number;
  #restarts = 0;
  #trouble: string | null = null;
  #stopping = false;
  #supervising: Promise<void> = Promise.resolve();

  private constructor(options: NatsServerOptions) {
    this.#options = options;
    this.#users = options.users;
    this.#config = join(options.folder, 'nats.conf');
    this.#port = readPort(join(options.folder, 'port'));
  }

  /** Ready for clients when it resolves. Throws RuntimeError UNSUPPORTED with what the server said. */
  static async start(options: NatsServerOptions): Promise<NatsServer> {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    const server = new NatsServer(options);
    const running = await server.#launchOnAnyPort();
    server.#supervising = server.#supervise(running);
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  get pid(): number | undefined {
    return this.#pid;
  }

  view(): { pid: number | null; restarts: number; trouble: string | null } {
    return { pid: this.#pid ?? null, restarts: this.#restarts, trouble: this.#trouble };
  }

  /**
   * These are let in, and who is none of them any more is put out: when it resolves, and after a restart. Throws RuntimeError
   * UNSUPPORTED with what the server said; then those before are let in until it is started again.
   */
  async setUsers(users: readonly ServerUser[]): Promise<void> {
    this.#users = users;
    if (this.#pid === undefined) return; // it reads them when it starts
    this.#writeConfig();
    const reload = Promise.withResolvers<string>();
    this.#reload = reload;
    signal(this.#pid, 'SIGHUP');
    const late = sleep(RELOAD_MS, 'it has not said that it did', { ref: false });
    const said = await Promise.race([reload.promise, late]);
    if (said !== '')
      throw new RuntimeError(`nats-server did not take its users: ${said}`, {
        code: 'UNSUPPORTED',
      });
  }

  /** Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child) {
      const timer = setTimeout(() => this.#killHard(), STOP_MS);
      child.kill('SIGTERM');
      await this.#supervising;
      clearTimeout(timer);
    }
    await this.#supervising;
    rmSync(this.#config, { force: true });
  }

  /** V3, at the start: the port that was ours, else another one. */
  async #launchOnAnyPort(): Promise<Running> {
    try {
      return await this.#launch();
    } catch (error) {
      if (this.#port === 0 || !/address already in use/i.test(String(error))) throw error;
      this.#options.log.warn({ port: this.#port }, 'the port of the bus is taken; it gets another');
      this.#port = 0;
      return this.#launch();
    }
  }

  async #supervise(first: Running): Promise<void> {
    const { log, pauseMs = 100 } = this.#options;
    let { exited } = first;
    for (let pause = pauseMs; ;) {
      const since = performance.now();
      await exited;
      if (this.#stopping) return;
      if (performance.now() - since >= PROVEN_MS) pause = pauseMs;
      log.warn({ pauseMs: pause }, 'nats-server ended; it is started again');
      for (;;) {
        await sleep(pause, null, { ref: false });
        if (this.#stopping) return;
        pause = Math.min(pause * 2, MAX_PAUSE_MS);
        try {
          ({ exited } = await this.#launch());
          this.#restarts += 1;
          break;
        } catch (error) {
          this.#trouble = error instanceof Error ? error.message : String(error);
          log.warn({ trouble: this.#trouble, pauseMs: pause }, 'nats-server does not start');
        }
      }
    }
  }

  /** It takes clients when this resolves. */
  async #launch(): Promise<Running> {
    const { folder, binary, mark } = this.#options;
    const portsDir = join(folder, 'ports');
    rmSync(portsDir, { recursive: true, force: true }); // of an earlier one that was killed
    mkdirSync(portsDir, { mode: 0o700 });
    this.#writeConfig();
    const argv = ['-c', KEEPER, 'sh', binary, '-c', this.#config];
    const child = spawn('/bin/sh', argv, {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...mark },
      detached: true, // V2
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    const lines = this.#followLog(child);
    const exited = new Promise<void>((resolve) => {
      child.once('error', () => resolve());
      child.once('exit', () => resolve());
    }).then(() => {
      this.#pid = undefined;
    });
    let isGone = false;
    void exited.then(() => (isGone = true));
    const pid = await Promise.race([firstNumber(child), exited.then(() => undefined)]);
    this.#pid = isGone ? undefined : pid;
    const port = pid === undefined ? undefined : await portOf(portsDir, pid, () => isGone);
    if (port === undefined) {
      if (!isGone) this.#killHard();
      await exited;
      throw new RuntimeError(`nats-server did not start: ${lines().join(' | ') || 'no word'}`, {
        code: 'UNSUPPORTED',
        hint: `Try: ${binary} -t -c ${this.#config}`,
      });
    }
    this.#port = port;
    this.#trouble = null;
    writeFileSync(join(folder, 'port'), `${port}\n`, { mode: 0o600 });
    return { exited };
  }

  /** Whole, and never readable for others: the server may read it at any moment. */
  #writeConfig(): void {
    const { folder } = this.#options;
    const [portsDir, storeDir] = [join(folder, 'ports'), join(folder, 'store')];
    const settings = { port: this.#port, storeDir, portsDir, users: this.#users };
    const next = `${this.#config}.next`;
    rmSync(next, { force: true });
    writeFileSync(next, serverConfig(settings), { mode: 0o600 });
    renameSync(next, this.#config);
  }

  #killHard(): void {
    if (this.#pid !== undefined) signal(this.#pid, 'SIGKILL');
    this.#child?.kill('SIGKILL');
  }

  /** Warnings and errors of the server are ours; the last lines explain a start that fails. */
  #followLog(child: ChildProcess): () => string[] {
    const last: string[] = [];
    let rest = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(-4000);
      for (const line of lines) {
        const said = line.replace(/^\[\d+\] \S+ \S+ /, '').slice(0, 500);
        if (last.push(said) > KEPT_LINES) last.shift();
        if (said.startsWith('[INF] Reloaded server configuration')) this.#reload?.resolve('');
        if (/^\[ERR\].*reload/i.test(said)) this.#reload?.resolve(said);
        if (/^\[(WRN|ERR|FTL)\]/.test(said) && !/Plaintext passwords/.test(said))
          // in a file of 0600
          this.#options.log.warn({ said }, 'nats-server');
      }
    });
    return () => last.filter((line) => !line.startsWith('[INF]')).concat(rest === '' ? [] : [rest]);
  }
}

function readPort(path: string): number {
  try {
    const port = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return port > 0 && port < 65_536 ? port : 0;
  } catch {
    return 0; // never chosen yet
  }
}

/** The first line that the shell says. */
function firstNumber(child: ChildProcess): Promise<number | undefined> {
  return new Promise((resolve) => {
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(Number.parseInt(text.slice(0, end), 10) || undefined);
    });
    child.stdout?.once('end', () => resolve(undefined));
  });
}

/** From the file that the server writes when it takes clients. Undefined when it ended, or said nothing in time. */
async function portOf(
  folder: string,
  pid: number,
  isGone: () => boolean,
): Promise<number | undefined> {
  const file = join(folder, `nats-server_${pid}.ports`);
  const deadline = performance.now() + READY_MS;
  while (!isGone() && performance.now() < deadline) {
    const port = portIn(file);
    if (port !== undefined) return port;
    await sleep(2);
  }
  return undefined;
}

function portIn(file: string): number | undefined {
  try {
    const { nats } = JSON.parse(readFileSync(file, 'utf8')) as { nats?: string[] };
    const port = Number(new URL(nats?.[0] ?? '').port);
    return port > 0 ? port : undefined;
  } catch {
    return undefined; // not there yet, or half written
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // gone
  }
}
