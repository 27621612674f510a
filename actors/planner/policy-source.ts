/**
 * The policy that holds at this moment. It follows its file; one that is no good leaves the last good one in force, and is
 * told in the log, in the status and in a file beside it.
 *
 * P1 Unreadable is never "no rules": when the first reading fails there is no last good one, so until the file is mended
 *    everything needs a person and nothing runs.
 */
import { relative } from 'node:path';
import { othersMayWrite } from '../../cells/daemon-config.ts';
import { ErrorFiles } from '../../cells/error-file.ts';
import { DEFAULTS, readPolicyFile } from '../../cells/policy-file.ts';
import type { ReadPolicy } from '../../cells/policy-file.ts';
import type { Problem } from '../../cells/parse-json.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import { ConfigWatch, stateOf } from '../config-watch.ts';
import type { PlannerLog } from './planner-log.ts';

/** P1. */
export const NO_POLICY: ReadPolicy = {
  policy: {
    ...DEFAULT_POLICY,
    always_human_hosts: ['*'],
    closed_windows: [{ name: 'the policy file cannot be read', from: '00:00', to: '24:00' }],
  },
  sha256: null,
};

export interface PolicySourceOptions {
  layout: Pick<RuntimeLayout, 'root' | 'policyFile'>;
  log: PlannerLog;
  /** Between two looks at the file, ms. Default 1000. */
  intervalMs?: number;
}

export class PolicySource {
  readonly #options: PolicySourceOptions;
  readonly #errorFiles: ErrorFiles;
  readonly #path: string;
  readonly #listeners = new Set<(read: ReadPolicy) => void>();
  #watch: ConfigWatch<ReadPolicy> | undefined;
  #current: ReadPolicy = DEFAULTS;
  #problem: string | null = null;
  #loose: string | null = null;

  private constructor(options: PolicySourceOptions) {
    this.#options = options;
    const { layout, log } = options;
    this.#errorFiles = new ErrorFiles({ log });
    this.#path = relative(layout.root, layout.policyFile);
  }

  static async open(options: PolicySourceOptions): Promise<PolicySource> {
    const source = new PolicySource(options);
    await source.#begin();
    return source;
  }

  get current(): ReadPolicy {
    return this.#current;
  }

  /** Called with each policy that comes into force after this; the function that is returned ends it. */
  onChange(listener: (read: ReadPolicy) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  view(): JsonObject {
    const { policyFile: file } = this.#options.layout;
    const { sha256 } = this.#current;
    return { file, sha256, problem: this.#problem, others_may_write: this.#loose };
  }

  async close(): Promise<void> {
    this.#watch?.stop();
    this.#listeners.clear();
    await this.#errorFiles.stop();
  }

  async #begin(): Promise<void> {
    const { layout, intervalMs } = this.#options;
    const { policyFile: file } = layout;
    const seen = await stateOf(file);
    try {
      this.#take(this.#read(), false);
    } catch (error) {
      this.#current = NO_POLICY; // P1
      this.#refuse(error);
    }
    this.#watch = ConfigWatch.start(
      {
        file,
        ...(intervalMs === undefined ? {} : { intervalMs }),
        load: () => Promise.resolve().then(() => this.#read()),
        onChange: (read) => this.#take(read, true),
        onProblem: (error) => this.#refuse(error),
      },
      seen,
    );
  }

  #read(): ReadPolicy {
    const { policyFile: file } = this.#options.layout;
    const reading = readPolicyFile(file);
    if (reading.ok) return { policy: reading.policy, sha256: reading.sha256 };
    const { problems } = reading;
    const [first] = problems;
    throw new RuntimeError(
      `${file}:${first?.line ?? 1} ${first?.pointer ?? ''} ${first?.message ?? ''}`,
      { code: 'FILE_INVALID', details: { problems }, ...(first && { hint: first.fix }) },
    );
  }

  #take(read: ReadPolicy, isNews: boolean): void {
    const { layout, log } = this.#options;
    const { policyFile: file } = layout;
    this.#current = read;
    this.#problem = null;
    this.#errorFiles.update(layout.root, [], [`${this.#path}.error`]);
    this.#warnWhenLoose(file);
    if (!isNews) return;
    log.info({ file, sha256: read.sha256 }, 'policy changed');
    for (const listener of this.#listeners) listener(read);
  }

  #refuse(error: unknown): void {
    const { layout, log } = this.#options;
    const { policyFile: file, root } = layout;
    const { message } = toPlainError(error);
    this.#problem = message;
    const problems = problemsOf(error);
    if (problems.length > 0) this.#errorFiles.report(root, { path: this.#path, problems });
    const holds =
      this.#current === NO_POLICY
        ? 'policy not taken: everything needs a person, and nothing runs'
        : 'policy not taken; the last good one holds';
    log.error({ file, problem: message }, holds);
  }

  #warnWhenLoose(file: string): void {
    const loose = othersMayWrite(file);
    if (loose !== null && loose !== this.#loose)
      this.#options.log.warn(
        { path: loose },
        'others can write it: they decide what needs a person',
      );
    this.#loose = loose;
  }
}

function problemsOf(error: unknown): Problem[] {
  const problems = error instanceof RuntimeError ? error.details['problems'] : undefined;
  return Array.isArray(problems) ? (problems as Problem[]) : [];
}
