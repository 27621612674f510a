/**
 * A homelab around the real command line: `bin/lazarus up` as a process, with the folders, the docker and the environment
 * that it finds, life after life. Whoever opens it disposes of it; it is used by tests and by the crash proof.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { callVerb } from '../../bus/control-client.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { JsonObject } from '../../machines/json.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { Dockerd } from './dockerd.ts';
import { eventually } from './eventually.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const HOOK = new URL('../crash/hook.ts', import.meta.url);
export const HOST = 'solaria';
const UP_MS = 60_000;

/** What a shell of a test's machine may have set, and what a test is about. */
const UNSET = [
  'LAZARUS_MISSIONS',
  'LAZARUS_EXECUTOR',
  'RUNTIME_PATH',
  'INVENTORY_PATH',
  'NODE_ALIAS_MAP',
  'AGENT_EVENTS_LOG',
  'SUPERVISOR_CHECKPOINT',
  'REDIS_URL',
  'NATS_URL',
  'OLLAMA_HOST',
  'OLLAMA_MODEL',
  'ANTHROPIC_API_KEY',
  'ANTHROPIC_BASE_URL',
  'COOLDOWN_SECONDS',
];

export interface LifeOptions {
  /** Default `on`. */
  executor?: 'on' | 'dry-run' | 'off';
  /** As test/crash/hook.ts takes them: `host:<point>:<visit>`. */
  at?: string;
  /** Visits count from when it is there. */
  from?: string;
  /** Names of all visits are written there. */
  list?: string;
}

/** One process of the runtime. */
export class Life {
  readonly child: ChildProcess;
  readonly exited: Promise<NodeJS.Signals | null>;
  isOver = false;
  out = '';
  err = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (chunk: Buffer) => (this.out += chunk.toString('utf8')));
    child.stderr?.on('data', (chunk: Buffer) => (this.err += chunk.toString('utf8')));
    this.exited = new Promise((settle) => {
      child.once('close', (_code, signal) => {
        this.isOver = true;
        settle(signal);
      });
    });
  }

  /** What it logged under this name. */
  logged(message: string): JsonObject[] {
    const lines = this.out.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as JsonObject).filter(({ msg }) => msg === message);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** Resolves when it has drained. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await this.exited;
    if (this.child.exitCode !== 0)
      throw new Error(`it ended with ${this.child.exitCode}: ${this.err}`);
  }
}

export class HomelabProcess {
  readonly base: string;
  readonly missions: string;
  readonly layout: RuntimeLayout;
  readonly docker: Dockerd;
  /** Of the runtime, beside what it inherits; an empty value unsets. */
  readonly environment: Record<string, string>;
  readonly #lives: Life[] = [];

  /** `runtime`: another homelab's folder, for two nodes that share it. */
  constructor(environment: Record<string, string>, runtime?: string) {
    this.base = mkdtempSync(join(tmpdir(), 'lazarus-homelab-'));
    this.missions = join(this.base, 'missions');
    mkdirSync(this.missions);
    this.layout = runtimeLayout(runtime ?? join(this.base, 'runtime'));
    this.docker = new Dockerd(join(this.base, 'docker'));
    const inherited = Object.entries(process.env).filter(([name]) => !UNSET.includes(name));
    this.environment = {
      ...Object.fromEntries(inherited.map(([name, value]) => [name, value ?? ''])),
      PATH: `${this.docker.bin}${delimiter}${process.env['PATH'] ?? ''}`,
      LAZARUS_CONFIG: 'none',
      XDG_CONFIG_HOME: join(this.base, 'xdg'),
      NO_COLOR: '1',
      NODE_NAME: HOST,
      ...environment,
    };
  }

  /** It may not be there yet when this returns. */
  begin({ executor = 'on', ...hook }: LifeOptions = {}): Life {
    const preload = hook.at === undefined && hook.list === undefined ? [] : this.#hook(hook);
    const words = ['up', '--runtime', this.layout.root, '--executor', executor];
    const argv = [...preload, join(ROOT, 'bin/lazarus'), ...words, '--missions', this.missions];
    const child = spawn(process.execPath, argv, {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const life = new Life(child);
    this.#lives.push(life);
    return life;
  }

  /** Until it accepts work. */
  async up(options: LifeOptions = {}): Promise<Life> {
    const life = this.begin(options);
    await eventually(
      () => {
        const { pid } = this.#node();
        if (pid !== life.child.pid) throw new Error(`not up: ${life.out}${life.err}`);
      },
      { timeoutMs: UP_MS },
    );
    return life;
  }

  async verb<T = JsonObject>(name: string, input: JsonObject = {}): Promise<T> {
    return (await callVerb(this.#node().control, name, input)) as T;
  }

  async part(name: string): Promise<JsonObject> {
    const { parts } = await this.verb<{ parts: Record<string, JsonObject> }>('status');
    return parts[name] ?? {};
  }

  /** In the order in which verbs and files name them: what stands in a folder of actions, by id. */
  ids(status: ActionStatus): string[] {
    const folder = this.layout.actions[status];
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).filter((n) => n.endsWith('.json') && !n.startsWith('.'));
    return names.map((name) => name.slice(0, -'.json'.length));
  }

  /** Every action's file, wherever it is. */
  everywhere(): { id: string; status: ActionStatus }[] {
    return ACTION_STATUSES.flatMap((status) => this.ids(status).map((id) => ({ id, status })));
  }

  /** Undefined: it was moved in this very moment. */
  action(status: ActionStatus, id: string): JsonObject | undefined {
    try {
      const text = readFileSync(join(this.layout.actions[status], `${id}.json`), 'utf8');
      return JSON.parse(text) as JsonObject;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** As a person does it. False: somebody was quicker. */
  move(id: string, from: ActionStatus, to: ActionStatus): boolean {
    try {
      const { actions } = this.layout;
      renameSync(join(actions[from], `${id}.json`), join(actions[to], `${id}.json`));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  }

  /** Below `config/` of the runtime folder. */
  configure(file: 'policy.json' | 'executor.json', content: object): void {
    const path = join(dirname(this.layout.policyFile), file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify(content), { mode: 0o644 });
  }

  /** Names in the folders of actions and events that are on their way somewhere. */
  unfinished(): string[] {
    const folders = [...Object.values(this.layout.actions), this.layout.events];
    return folders
      .filter((folder) => existsSync(folder))
      .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }))
      .filter((path) => /(^|\/)\.[^/]*$/.test(path));
  }

  /** Nothing of it runs any more; its folder stays. */
  async close(): Promise<void> {
    for (const life of this.#lives) await life.kill();
    this.docker.close();
  }

  remove(): void {
    rmSync(this.base, { recursive: true, force: true, maxRetries: 5 });
  }

  async dispose(): Promise<void> {
    await this.close();
    this.remove();
  }

  #node(): { pid: number; control: string } {
    const file = join(this.missions, '.lazarus/node.json');
    return JSON.parse(readFileSync(file, 'utf8')) as { pid: number; control: string };
  }

  #hook({ at, from, list }: LifeOptions): string[] {
    const url = new URL(HOOK);
    url.searchParams.set('log', list ?? join(this.base, `hook-${this.#lives.length}`));
    if (list !== undefined) url.searchParams.set('list', '');
    if (at !== undefined) url.searchParams.set('at', at);
    if (from !== undefined) url.searchParams.set('from', from);
    return ['--disable-warning=ExperimentalWarning', '--import', url.href];
  }
}
