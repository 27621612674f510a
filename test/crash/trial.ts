/**
 * A folder with missions, and the lives of the runtime on it, one after the other. It remembers what every life
 * acknowledged and showed, and holds the next one to it.
 *
 * T1 lost: what was acknowledged, or caused an effect that ran, is in the next life's state.
 * T2 taken back: no seq, number or completed task that was shown is older in the next life.
 * T3 repeated: a step whose outcome was on disk, or that was shown as done, does not begin again; a `never` step begins
 *    once in all; the effect of a `probe` step happens once.
 * T4 doubt: a `never` step whose end nobody recorded was shown in doubt and settled.
 * T5 In the end every task is completed, every effect is there, and the files say so.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '../../machines/json.ts';
import { live } from './life.ts';
import type { LifeEnd, LifeOptions } from './life.ts';
import { dropMissions, makeEvidence, missions, readEffects, readTraces } from './mission.ts';
import type { Mission, StepOfMission } from './mission.ts';
import type { LifeArguments, Line, Sight, Violation, ViolationKind } from './report.ts';

export interface TrialOptions {
  /** Events to each of the load's actors. */
  upTo: number;
  gapMs: number;
  inFlight: number;
  /** Of the missions, where they differ from the usual. */
  policies?: JsonObject;
  /** Where the missions lie. Default: in the trial's own folder. */
  missionsDir?: string;
}

/** How one life differs from the others. */
export interface LifeChange extends LifeOptions {
  clockOffsetMs?: number;
  /** It may end by itself with an error: it was given no chance. */
  mayFail?: true;
}

const SOURCES = 3;

export class Trial {
  readonly folder: string;
  readonly missionsDir: string;
  readonly evidence: string;
  readonly violations: Violation[] = [];
  /** Of each life after the first, from its spawn until it answered, ms. */
  readonly recoveries: number[] = [];
  readonly warnings = new Set<string>();
  readonly steps: StepOfMission[] = [];
  readonly cells: string[] = [];
  acknowledged = 0;
  lives = 0;
  /** Events to each of the load's actors. */
  upTo: number;
  readonly #options: TrialOptions;
  readonly #acked: Record<string, number> = {};
  readonly #seqs: Record<string, number> = {};
  readonly #load: Record<string, number> = {};
  readonly #completed = new Set<string>();
  readonly #stepsShown: Record<string, number> = {};
  /** Steps that somebody settled as done. */
  readonly #settled = new Set<string>();
  #isDone = false;

  constructor(root: string, options: TrialOptions) {
    this.#options = options;
    this.upTo = options.upTo;
    this.folder = mkdtempSync(join(root, 'trial-'));
    this.missionsDir = options.missionsDir ?? join(this.folder, 'missions');
    this.evidence = join(this.folder, 'evidence');
    mkdirSync(this.missionsDir, { recursive: true });
    makeEvidence(this.evidence);
    this.add(missions(this.evidence, '', options.policies));
  }

  add(list: readonly Mission[]): void {
    dropMissions(this.missionsDir, list);
    this.cells.push(...list.map(({ drop }) => String(drop['cell_id'])));
    this.steps.push(...list.flatMap(({ steps }) => steps));
  }

  /** One life, and everything it can be held to. */
  async live({ clockOffsetMs, mayFail, ...options }: LifeChange = {}): Promise<LifeEnd> {
    const traces = readTraces(this.evidence);
    const finished = this.#finishedSteps();
    this.lives += 1;
    const changed = clockOffsetMs === undefined ? {} : { clockOffsetMs };
    const end = await live({ ...this.#arguments(), ...changed }, options);
    if (end.how === 'hung') this.#complain('other', `hung: ${this.#lastWords(end)}`);
    if (end.how === 'failed' && !mayFail) this.#complain('other', `ended by itself: ${end.said}`);
    const up = end.lines.find((line) => line.t === 'up');
    if (up !== undefined) {
      if (this.lives > 1) this.recoveries.push(up.afterMs);
      this.#compare(up, traces);
    }
    for (const { step, what } of readTraces(this.evidence).slice(traces.length))
      if (what === 'begin' && finished.has(step))
        // T3
        this.#complain('repeated', `${step} began again although it was done`);
    for (const line of end.lines) this.#absorb(line);
    return end;
  }

  /** The runtime said that everything is completed. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** The last number any source had acknowledged. */
  get lastAcknowledged(): number {
    return Math.max(0, ...Object.values(this.#acked));
  }

  /** T3, T4, T5. */
  finish(): void {
    if (!this.isDone) {
      if (this.violations.length === 0) this.#complain('other', 'the missions did not complete');
      return;
    }
    const traces = readTraces(this.evidence);
    const effects = readEffects(this.evidence);
    for (const step of this.steps) {
      const name = step.evidence;
      const begins = traces.filter((t) => t.step === name && t.what === 'begin').length;
      if (begins === 0) this.#complain('lost', `${name} never ran`);
      if (step.kind === 'never' && begins > 1)
        this.#complain('repeated', `${name} ran ${begins} times`);
      if (step.kind === 'never' && !this.#hasOutcome(step) && !this.#settled.has(name))
        this.#complain('doubt', `nobody knows how ${name} ended, and it was not shown in doubt`);
      if (step.kind !== 'never' && !effects.has(name))
        this.#complain('lost', `the effect of ${name} is not there`);
    }
    for (const { step, what } of traces)
      if (what === 'repeated') this.#complain('repeated', `the effect of ${step} happened twice`);
    for (const cell of this.cells) this.#checkFiles(cell);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #arguments(): LifeArguments {
    const { upTo } = this;
    const { gapMs, inFlight } = this.#options;
    return {
      missions: this.missionsDir,
      evidence: this.evidence,
      report: join(this.folder, `life-${this.lives}.jsonl`),
      spawnedAt: Date.now(),
      cells: this.cells,
      steps: this.steps,
      load: { sources: SOURCES, upTo, gapMs, inFlight, acked: { ...this.#acked } },
      segmentBytes: 32 << 10,
      compactMs: 120,
      patienceMs: 30_000,
    };
  }

  /** T1, T2: a life as it began, against all that came before. */
  #compare(up: Sight, traces: readonly { key: string; step: string }[]): void {
    for (const [address, n] of Object.entries(this.#acked))
      if ((up.load[address] ?? 0) < n)
        this.#complain('lost', `${address}: ${n} was acknowledged, now ${up.load[address] ?? 0}`);
    for (const [name, n] of Object.entries(this.#load))
      if ((up.load[name] ?? 0) < n)
        this.#complain('taken back', `${name}: ${n} was shown, now ${up.load[name] ?? 0}`);
    for (const [address, seq] of Object.entries(this.#seqs))
      if ((up.seqs[address] ?? 0) < seq)
        this.#complain('taken back', `${address}: seq ${seq} was shown, now ${up.seqs[address]}`);
    for (const task of this.#completed)
      if (up.tasks[task]?.is !== 'completed')
        this.#complain('taken back', `${task} was completed, now ${up.tasks[task]?.is}`);
    for (const { key, step } of traces) {
      const [address = '', seq = '0'] = key.split('#');
      if ((up.seqs[address] ?? 0) < Number(seq))
        this.#complain('lost', `${step} ran for ${key}, whose record is gone`);
    }
  }

  #absorb(line: Line): void {
    if (line.t === 'violation') this.#complain(line.kind, line.what);
    else if (line.t === 'warn') this.warnings.add(line.message);
    else if (line.t === 'done') this.#isDone = true;
    else if (line.t === 'doubt' && line.verdict === 'done') this.#settled.add(line.step);
    else if (line.t === 'ack') {
      this.acknowledged += 1;
      this.#acked[line.address] = Math.max(line.n, this.#acked[line.address] ?? 0);
      this.#seqs[line.address] = Math.max(line.seq, this.#seqs[line.address] ?? 0);
    } else if (line.t === 'up' || line.t === 'shown') this.#remember(line);
  }

  #remember({ seqs, load, tasks, held }: Sight): void {
    for (const what of held) this.#complain('other', `held: ${what}`);
    for (const [address, seq] of Object.entries(seqs))
      this.#seqs[address] = Math.max(seq, this.#seqs[address] ?? 0);
    for (const [name, n] of Object.entries(load))
      this.#load[name] = Math.max(n, this.#load[name] ?? 0);
    for (const [task, { is, steps, why }] of Object.entries(tasks)) {
      if (is === 'completed') this.#completed.add(task);
      if (is === 'failed') this.#complain('other', `${task} failed: ${why}`);
      this.#stepsShown[task] = Math.max(steps, this.#stepsShown[task] ?? 0);
    }
  }

  /** Steps that must not begin again: an outcome is on disk, or the step was shown as done. */
  #finishedSteps(): Set<string> {
    const isShown = (s: StepOfMission): boolean =>
      s.index < (this.#stepsShown[`${s.cell}.${s.task}`] ?? 0);
    return new Set(
      this.steps.filter((s) => isShown(s) || this.#hasOutcome(s)).map((s) => s.evidence),
    );
  }

  #hasOutcome({ cell, task, name }: StepOfMission): boolean {
    const folder = join(this.missionsDir, cell, 'artifacts/logs', task);
    return namesIn(folder).some((file) => {
      if (
        !file.startsWith(`${name}.`) ||
        !/^\.[0-9]+\.outcome\.json$/.test(file.slice(name.length))
      )
        return false;
      const outcome = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { exit_code: number };
      return outcome.exit_code === 0;
    });
  }

  #checkFiles(cell: string): void {
    const tasks = namesIn(join(this.missionsDir, cell, 'tasks')).filter((n) =>
      /^[^.].*\.json$/.test(n),
    );
    const paths = ['cell.json', ...tasks.map((name) => `tasks/${name}`)];
    for (const path of paths) {
      const text = readFileSync(join(this.missionsDir, cell, path), 'utf8');
      const { status } = JSON.parse(text) as { status: string };
      if (status !== 'completed')
        this.#complain('other', `${cell}/${path} says ${status} at the end`);
    }
    for (const name of namesIn(join(this.missionsDir, cell), { recursive: true }))
      if (/\.(tmp|error)$/.test(name) && !name.startsWith('artifacts/'))
        this.#complain('other', `${cell}/${name} is left`);
  }

  #lastWords({ lines }: LifeEnd): string {
    return JSON.stringify(lines.findLast((line) => line.t === 'shown' || line.t === 'violation'));
  }

  #complain(kind: ViolationKind, what: string): void {
    const known = this.violations.some((v) => v.kind === kind && v.what === what);
    if (!known) this.violations.push({ kind, what });
  }
}

function namesIn(folder: string, options?: { recursive: true }): string[] {
  try {
    return readdirSync(folder, { ...options, encoding: 'utf8' });
  } catch {
    return []; // not there yet
  }
}
