/**
 * The other side of host-agent.ts: what the agent of a host makes of a request (`lazarus.exec@1`, docs/executor.md). It has an
 * executor.json of its own, and does what that allows: a node says what is to be done, never how.
 *
 * H1 A key is done at most once, over restarts too: each has a folder with the record of its run (run-record.ts).
 * H2 What would be run here is what was approved there: a container, a command line or a clean-up that is another one by this
 *    host's own file is refused, and nothing is done.
 * H3 Bounded: a few runs at a time, and records of a month (P8).
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../cells/sha256.ts';
import type { Runnable } from '../../machines/action-context.ts';
import { isActionId } from '../../machines/action-file.ts';
import { DEFAULT_TIMEOUTS, plainName } from '../../machines/executor-config.ts';
import type { CommandConfig, ExecutorConfig } from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject, isJsonObject, jsonEqual } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { namedCommand } from './commands.ts';
import { FORMAT } from './host-agent.ts';
import { hostOf } from './reach.ts';
import type { Setting } from './reach.ts';
import type { Executor } from './types.ts';

export interface HostServiceOptions {
  /** As nodes call it. */
  host: string;
  executor: Executor;
  /** Of the records of runs. */
  folder: string;
  /** Ends what runs. */
  signal: AbortSignal;
  log: { warn(fields: object, message: string): void };
}

type Op = 'run' | 'status' | 'health';
interface Request {
  op: Op;
  key: string;
  run: Runnable;
}

const TYPES = ['container_restart', 'redeploy', 'disk_cleanup', 'command'] as const;
type ServedType = (typeof TYPES)[number];
/** H3. */
const MAX_AT_ONCE = 8;
const KEPT_MS = 30 * 24 * 3_600_000;
const MAX_KEY = 500;

export class HostService {
  readonly #options: HostServiceOptions;
  /** By key. */
  readonly #running = new Map<string, Promise<JsonObject>>();
  /** By key: finding out ends what is left of a run, so none is begun beside it. */
  readonly #finding = new Map<string, Promise<JsonObject>>();

  #isStopping = false;

  constructor(options: HostServiceOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#forgetOld();
  }

  /** Nothing more is begun; what runs is answered, and so is what became of it. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Everything that runs has ended. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }

  /** Throws RuntimeError: nothing was done, and why. */
  async answer(value: JsonValue): Promise<JsonObject> {
    const request = requestIn(value, this.#options.host);
    switch (request.op) {
      case 'run':
        return this.#run(request);
      case 'status':
        return this.#status(request);
      case 'health':
        return this.#health(request);
      default:
        return request.op satisfies never;
    }
  }

  /** H1. Asked twice, it is one run with one end. */
  async #run({ key, run }: Request): Promise<JsonObject> {
    const known = this.#running.get(key);
    if (known) return known;
    if (this.#isStopping) throw busy('the agent is stopping');
    if (this.#running.size >= MAX_AT_ONCE) throw busy(`${MAX_AT_ONCE} actions run here already`);
    const running = this.#afterFinding(key, run).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    return running;
  }

  async #afterFinding(key: string, run: Runnable): Promise<JsonObject> {
    await this.#finding.get(key);
    return this.#perform(key, run);
  }

  async #perform(key: string, run: Runnable): Promise<JsonObject> {
    const { executor, signal, log } = this.#options;
    try {
      await executor.plan(run);
    } catch (error) {
      const ended = await this.#found(key, run);
      if (ended['state'] === 'done') return ended; // before this host's file was changed
      throw error; // refused; from here on something may happen
    }
    try {
      return endOf(
        asJsonObject(await executor.run(run, { key, signal, outputFolder: this.#folderOf(key) })),
      );
    } catch (error) {
      log.warn({ key, action: run.actionId, error: String(error) }, 'an action was cut off');
      return { state: 'unknown' }; // `status` finds out
    }
  }

  async #status({ key, run }: Request): Promise<JsonObject> {
    if (this.#running.has(key)) return { state: 'running' };
    const finding =
      this.#finding.get(key) ?? this.#found(key, run).finally(() => this.#finding.delete(key));
    this.#finding.set(key, finding);
    return finding;
  }

  /** How a run stands that nothing here is at. */
  async #found(key: string, run: Runnable): Promise<JsonObject> {
    const { executor, signal } = this.#options;
    const finding = executor.recover(run, { key, signal, outputFolder: this.#folderOf(key) });
    const found = await finding.catch(() => ({ kind: 'unknown' }) as const);
    if (found.kind === 'not_started') return { state: 'not_started' };
    if (found.kind === 'done' && isJsonObject(found.output))
      return { state: 'done', ...endOf(found.output) };
    return { state: 'unknown' };
  }

  async #health({ run }: Request): Promise<JsonObject> {
    const { executor, signal } = this.#options;
    return { health: await executor.isHealthy(run, signal) };
  }

  #folderOf(key: string): string {
    return join(this.#options.folder, sha256(key).slice(0, 40));
  }

  /** H3. */
  #forgetOld(): void {
    const { folder } = this.#options;
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const { mtimeMs } = statSync(path);
      if (Date.now() - mtimeMs > KEPT_MS) rmSync(path, { recursive: true, force: true });
    }
  }
}

/** What the node hears of an end; see `endIn` of host-agent.ts. */
function endOf({ ok, exit_code, signal, reason, stdout, stderr }: JsonObject): JsonObject {
  return {
    ok: ok ?? false,
    exit_code: exit_code ?? null,
    signal: signal ?? null,
    reason: reason ?? null,
    stdout: stdout ?? '',
    stderr: stderr ?? '',
  };
}

function requestIn(value: JsonValue, host: string): Request {
  if (!isJsonObject(value) || value['format'] !== FORMAT) throw bad(`no request of ${FORMAT}`);
  const { op, key, action_id: id, type, host: named, service, sha256: sum } = value;
  if (op !== 'run' && op !== 'status' && op !== 'health') throw bad('an unknown op');
  if (typeof key !== 'string' || key === '' || key.length > MAX_KEY) throw bad('no key');
  if (typeof id !== 'string' || !isActionId(id)) throw bad('no action_id');
  if (typeof service !== 'string' || service.length > 200) throw bad('no service');
  if (typeof sum !== 'string' || !/^[0-9a-f]{64}$/.test(sum)) throw bad('no sha256');
  if (named !== host)
    throw bad(`this is host ${host}, and not ${JSON.stringify(named ?? null).slice(0, 100)}`);
  if (!isServed(type))
    throw bad(`the agent of a host does not do ${JSON.stringify(type ?? null).slice(0, 100)}`);
  const { command, argv, arguments: given, items, container, timeout_s: timeout } = value;
  const asked = { command, argv, arguments: given, items, container, timeout };
  const payload = Object.fromEntries(Object.entries(asked).filter(([, one]) => one !== undefined));
  const run = { actionId: id, type, host, service, payload: asJsonObject(payload), sha256: sum };
  return { op, key, run: { ...run, content: asJsonObject(payload) } };
}

const isServed = (type: unknown): type is ServedType => TYPES.includes(type as ServedType);

const bad = (what: string): RuntimeError =>
  new RuntimeError(`the request cannot be done: ${what}`, {
    code: 'INVALID_ARGUMENT',
    hint: 'docs/executor.md says what an agent is asked.',
  });
const busy = (why: string): RuntimeError =>
  new RuntimeError(why, { code: 'BUSY', retryable: true });

/** H2. For `settingFor` of the executor: this host's own file, narrowed to what was asked. Throws INVALID_ARGUMENT. */
export function narrowed(setting: Setting, run: Runnable): Setting {
  const { config } = setting;
  const own = Object.hasOwn(config.hosts, run.host) ? config.hosts[run.host] : undefined;
  if (own !== undefined && own.via !== 'local')
    throw differs(setting, `host ${run.host} is "via": "${own.via}", and the agent acts here only`);
  switch (run.type as ServedType) {
    case 'container_restart':
      return limited(withContainer(setting, run), run);
    case 'disk_cleanup':
      return limited(withItems(setting, run), run);
    case 'command':
      requireSameCommand(setting, run);
      return limited(setting, run);
    default:
      return limited(setting, run);
  }
}

/** What the node calls the container, unless this host's file says it. */
function withContainer(setting: Setting, { host, service, payload }: Runnable): Setting {
  const { container } = payload;
  const name = `${host}/${service}`;
  const { services } = setting.config;
  const own = Object.hasOwn(services, name) ? services[name]?.container : undefined;
  if (container === undefined || container === own) return setting;
  if (own !== undefined)
    throw differs(setting, `the container of ${name} is ${own} here, and ${word(container)} there`);
  if (typeof container !== 'string' || !plainName(container))
    throw differs(setting, `${word(container)} cannot be the name of a container`);
  const merged = { ...services, [name]: { ...services[name], container } };
  return changed(setting, { services: merged });
}

function withItems(setting: Setting, { host, payload }: Runnable): Setting {
  const own = setting.config.hosts[host]?.disk_cleanup ?? [];
  const { items } = payload;
  if (!Array.isArray(items) || items.length === 0) return setting;
  const strange = items.find((item) => typeof item !== 'string' || !own.includes(item));
  if (strange !== undefined)
    throw differs(setting, `${word(strange)} is not in "disk_cleanup" of host ${host} here`);
  const hosts = {
    ...setting.config.hosts,
    [host]: {
      via: 'local' as const,
      ...setting.config.hosts[host],
      disk_cleanup: items as string[],
    },
  };
  return changed(setting, { hosts });
}

function requireSameCommand(setting: Setting, run: Runnable): void {
  const { name, argv } = namedCommand(run, setting, hostOf(setting, run.host));
  if (jsonEqual(argv, run.payload['argv'] ?? null)) return;
  throw differs(setting, `command ${name} is another one here than where it was approved`);
}

/** Nothing runs for longer than the node waits. */
function limited(setting: Setting, { type, payload }: Runnable): Setting {
  const { timeout } = payload;
  if (typeof timeout !== 'number' || !(timeout > 0)) return setting;
  const name = type as ServedType;
  const { timeouts, commands } = setting.config;
  const most = Math.min(timeout, timeouts[name] ?? DEFAULT_TIMEOUTS[name]);
  const command = payload['command'];
  const own =
    typeof command === 'string' && Object.hasOwn(commands, command) ? commands[command] : undefined;
  const shorter: Record<string, CommandConfig> =
    typeof command === 'string' && own?.timeout !== undefined
      ? { ...commands, [command]: { ...own, timeout: Math.min(own.timeout, timeout) } }
      : commands;
  return changed(setting, { timeouts: { ...timeouts, [name]: most }, commands: shorter });
}

const changed = (setting: Setting, config: Partial<ExecutorConfig>): Setting => ({
  ...setting,
  config: { ...setting.config, ...config },
});
const word = (value: JsonValue): string => JSON.stringify(value).slice(0, 100);

const differs = ({ file }: Setting, why: string): RuntimeError =>
  new RuntimeError(why, {
    code: 'INVALID_ARGUMENT',
    hint: `What may be done on this host stands in its own ${file}.`,
  });
