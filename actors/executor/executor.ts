/**
 * The executor: plans, runs and finds out, by what executor.json says. The file is followed while it runs.
 *
 * X1 A file that cannot be understood changes nothing: the last good one holds, and what is wrong stands in log, status and
 *    `executor.json.error`. With no good one ever, nothing that needs it is planned: "unreadable" is not "empty" (P6).
 * X2 What the runtime has in its own environment, and what the files of secrets hold, reaches neither a process nor people.
 */
import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { ErrorFiles } from '../../cells/error-file.ts';
import { readExecutorFile } from '../../cells/executor-file.ts';
import type { ExecutorFile } from '../../cells/executor-file.ts';
import { ERROR_SUFFIX } from '../../cells/layout.ts';
import type { Problem } from '../../cells/parse-json.ts';
import { EMPTY_EXECUTOR_CONFIG } from '../../machines/executor-config.ts';
import type { ExecutorConfig } from '../../machines/executor-config.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Cgroups } from '../cgroup.ts';
import { ConfigWatch, stateOf } from '../config-watch.ts';
import { KNOWN_TYPES, planFor } from './drivers.ts';
import type { Health, Plan } from './plan.ts';
import type { Setting } from './reach.ts';
import { recoverPlan, runPlan } from './run-plan.ts';
import type { RunPlace } from './run-plan.ts';
import { redactorOf } from './secrets.ts';
import { endLeftOf, executeWith, toolsFor } from './tools.ts';
import type { HostAgents, ToolsOptions } from './tools.ts';
import type { DriverPlan, Runnable } from '../../machines/action-context.ts';
import type { Executor } from './types.ts';

export interface ExecutorOptions {
  /** `executorFile` of the runtime's layout; need not exist. */
  file: string;
  /** Marks our processes, so that a later life finds them. */
  nodeId: string;
  /** What the host we run on is called: NODE_NAME and the host's name. */
  localHosts: readonly string[];
  cgroups?: Cgroups | null;
  /** The bus; null: there is none. */
  agents?: HostAgents | null;
  /** Called with each configuration that is taken, the first one too. */
  onTaken?: (config: ExecutorConfig) => void;
  /** What is in force for this action, where it is not what the file says. Throws when it may not run at all. */
  settingFor?: (setting: Setting, run: Runnable) => Setting;
  log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
  /** How often the file is looked at, and how long a bad one must stand. Defaults 1000, 500. */
  watchMs?: number;
  quietMs?: number;
}

export interface OpenExecutor extends Executor {
  /** For the status. */
  view(): JsonObject;
  close(): Promise<void>;
}

interface Target {
  run: Runnable;
  key: string;
  signal: AbortSignal;
}

export async function openExecutor(options: ExecutorOptions): Promise<OpenExecutor> {
  const { file } = options;
  const source = new Source(options);
  const seen = await stateOf(file);
  source.load();
  const watch = ConfigWatch.start(
    {
      file,
      intervalMs: options.watchMs ?? 1000,
      load: async () => readExecutorFile(file),
      onChange: (found) => source.take(found),
      onProblem: (error) => source.refuse(error),
    },
    seen,
  );
  const settingOf = (run: Runnable): Setting => {
    const setting = source.settingFor(run.type);
    return options.settingFor?.(setting, run) ?? setting;
  };
  const toolsOptions = (target: Target): ToolsOptions => ({
    ...target,
    setting: source.setting(),
    redact: redactorOf(source.config),
    nodeId: options.nodeId,
    cgroups: options.cgroups ?? null,
    agents: options.agents ?? null,
  });
  const planned = (run: Runnable): Plan => planFor(run, settingOf(run));
  return {
    plan: async (run) => shownPlan(planned(run), redactorOf(source.config)),
    run: async (run, { key, signal, outputFolder }) =>
      runPlan(
        () => planned(run),
        placeOf(toolsOptions({ run, key, signal }), outputFolder, options.log),
      ),
    recover: async (run, { key, signal, outputFolder }) =>
      recoverPlan(
        () => planned(run),
        placeOf(toolsOptions({ run, key, signal }), outputFolder, options.log),
      ),
    isHealthy: async (run, signal) =>
      healthBy(() => planned(run), toolsOptions({ run, key: `health-${run.actionId}`, signal })),
    view: () => source.view(),
    close: async () => {
      watch.stop();
      await source.close();
    },
  };
}

function placeOf(options: ToolsOptions, folder: string, log: ExecutorOptions['log']): RunPlace {
  const { key, run, redact } = options;
  return {
    folder,
    redact: options.redact,
    tools: toolsFor(options),
    execute: (output) => executeWith(options, output),
    endPredecessor: () => endLeftOf(options),
    unsure: (because) =>
      log.warn(
        { key, action: run.actionId, because: redact(because) },
        'what became of an action cannot be found out',
      ),
  };
}

function shownPlan(plan: Plan, redact: (text: string) => string): DriverPlan {
  const { driver, semantics, via, verifies, steps } = plan;
  const shown = steps.map((step) => redact(step.shown).replaceAll(/\p{C}/gu, '').slice(0, 2000));
  return {
    driver,
    semantics,
    via,
    verifies,
    shown: shown.length > 0 ? shown : ['nothing is run: this is for people to read'],
    timeoutMs: steps.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0),
  };
}

/** What cannot be found out is unknown; rejects with the signal's reason only. */
async function healthBy(plan: () => Plan, options: ToolsOptions): Promise<Health> {
  try {
    const made = plan();
    return (await made.health?.(toolsFor(options))) ?? 'unknown';
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof RuntimeError) return 'unknown';
    throw error;
  }
}

/** executor.json as it is in force. */
class Source {
  readonly #options: ExecutorOptions;
  readonly #errors: ErrorFiles;
  #found: ExecutorFile | null = null;
  #problem: string | null = null;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { quietMs, log } = options;
    this.#errors = new ErrorFiles({ log, ...(quietMs !== undefined && { quietMs }) });
  }

  get config() {
    return this.#found?.config ?? EMPTY_EXECUTOR_CONFIG;
  }

  setting(): Setting {
    const { file, localHosts } = this.#options;
    return { file, localHosts, config: this.config };
  }

  /** X1. Throws NOT_CONFIGURED. What is for people to read needs no file. */
  settingFor(type: string): Setting {
    if (this.#found !== null || type === 'alert_only' || !KNOWN_TYPES.includes(type))
      return this.setting();
    throw new RuntimeError(`${this.#options.file} cannot be used: ${this.#problem ?? ''}`, {
      code: 'NOT_CONFIGURED',
      details: { file: this.#options.file },
      hint: `Mend ${this.#options.file}; docs/executor.md has every key.`,
    });
  }

  load(): void {
    try {
      this.take(readExecutorFile(this.#options.file));
    } catch (error) {
      this.refuse(error);
    }
  }

  take(found: ExecutorFile): void {
    const { file, log } = this.#options;
    const isNews = found.sha256 !== this.#found?.sha256;
    this.#found = found;
    this.#problem = null;
    this.#tellErrors([]);
    this.#options.onTaken?.(found.config);
    if (isNews) log.info({ file, sha256: found.sha256 }, 'executor configuration taken');
  }

  refuse(error: unknown): void {
    const { file, log } = this.#options;
    const { message: problem } = toPlainError(error);
    this.#problem = problem;
    const found = error instanceof RuntimeError ? error.details['problems'] : undefined;
    const fix = 'Mend the file, or its rights.';
    this.#tellErrors((found ?? [{ pointer: '', line: 1, message: problem, fix }]) as Problem[]);
    log.error({ file, problem }, 'executor configuration not taken; the last good one holds');
  }

  view(): JsonObject {
    const { file, localHosts } = this.#options;
    const { config } = this;
    return {
      file,
      sha256: this.#found?.sha256 ?? null,
      problem: this.#problem,
      types: [...KNOWN_TYPES],
      local_hosts: [...localHosts],
      hosts: Object.fromEntries(Object.entries(config.hosts).map(([name, { via }]) => [name, via])),
      commands: Object.keys(config.commands),
      notify: config.notify.map(({ kind }) => kind),
    };
  }

  close(): Promise<void> {
    return this.#errors.stop();
  }

  #tellErrors(problems: Problem[]): void {
    const { file } = this.#options;
    const [root, path] = [dirname(file), basename(file)];
    if (!existsSync(root)) return;
    const seen = existsSync(`${file}${ERROR_SUFFIX}`) ? [`${path}${ERROR_SUFFIX}`] : [];
    this.#errors.update(root, problems.length > 0 ? [{ path, problems }] : [], seen);
  }
}
