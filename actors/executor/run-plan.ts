/**
 * Does what a driver planned: once, with a record of it that survives us.
 *
 * U1 The record that a run was begun is durable before its first process is; how it ended is durable before anyone hears of
 *    it. A run that has ended is never begun again under its key: its outcome is handed out instead.
 * U2 Before anything is begun or asked, whatever an earlier life left running on this host under the same key is ended.
 * U3 A part that ended well is not repeated when the run is taken up again.
 * U4 What was cut off again and again is given up: whatever we restart may be what kills us.
 */
import { sha256 } from '../../cells/sha256.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import type { Recovery } from '../effects.ts';
import { RunOutput } from './output.ts';
import type { Redact } from './output.ts';
import type { Plan, ProbeAnswer, RunTools, Step, StepEnd, Tools } from './plan.ts';
import { freshRecord, makeFolder, outcomeJson, readRecord, writeRecord } from './run-record.ts';
import type { Identity, RunRecord } from './run-record.ts';
import type { RunOutcome } from '../../machines/action-context.ts';

export interface RunPlace {
  folder: string;
  redact: Redact;
  tools: Tools;
  execute: (output: RunOutput) => RunTools['execute'];
  /** U2. Pids that are still there; null where nobody can tell. */
  endPredecessor(): Promise<number[] | null>;
  /** Why it cannot be told what became of it. */
  unsure(because: string): void;
}

/** U4. Of those that may run twice at all. */
const MAX_TRIES = { idempotent: 5, pure: 5, verify: 2, at_most_once: 1 };

/** Characters: records and journals are bounded. */
const MAX_REASON = 1000;

/** `make`: asked only when there is something to do; what it throws says that nothing was done. */
export async function runPlan(make: () => Plan, place: RunPlace): Promise<RunOutcome> {
  const { folder, tools } = place;
  tools.signal.throwIfAborted();
  const known = readRecord(folder, identityOf(tools));
  if (known?.outcome) return known.outcome; // U1
  const plan = make();
  await makeFolder(folder);
  const left = known ? ((await place.endPredecessor()) ?? []) : []; // U2
  if (known && left.length > 0) return stuck(plan, known, { place, left });
  const record =
    known ?? freshRecord(identityOf(tools), digestOf(plan), await remember(plan, tools));
  if (record.tries >= MAX_TRIES[plan.semantics])
    return givenUp(record, place, `it was begun ${record.tries} times and cut off each time`);
  record.tries += 1;
  const output = new RunOutput(folder, { resumed: known !== null });
  try {
    await writeRecord(folder, record, tools.signal); // U1
    const runTools = { ...tools, output, execute: place.execute(output) };
    await runSteps(plan, record, { place, tools: runTools });
    return await finish(record, summaryOf(plan, record, place.redact), { place, output });
  } finally {
    await output.close();
  }
}

/** What became of a run that was cut off. */
export async function recoverPlan(make: () => Plan, place: RunPlace): Promise<Recovery> {
  const { folder, tools } = place;
  const left = await place.endPredecessor(); // U2
  const record = readRecord(folder, identityOf(tools));
  if (record === null) return { kind: 'not_started' };
  if (record.outcome) return { kind: 'done', output: outcomeJson(record.outcome) };
  if (left !== null && left.length > 0) {
    place.unsure(`its processes cannot be ended: ${left.join(', ')}`);
    return { kind: 'unknown' };
  }
  const made = make();
  const isOver = record.tries >= MAX_TRIES[made.semantics];
  const asked = await askProbe(made, tools, record);
  const isBlind = left === null && asked.kind === 'not_started' && !isRepeatable(made);
  const answer: ProbeAnswer = isBlind ? { kind: 'unknown', because: BLIND } : asked;
  switch (answer.kind) {
    case 'done':
      return settled(
        record,
        { ...NO_END, ok: true, reason: `found done: ${answer.because}` },
        place,
      );
    case 'ended':
      return settled(record, answer.end, place);
    case 'not_started':
      if (!isOver) return { kind: 'not_started' };
      return settled(record, { ...NO_END, reason: `it was cut off ${record.tries} times` }, place);
    case 'unknown':
      place.unsure(answer.because);
      return { kind: 'unknown' };
    default:
      return answer satisfies never;
  }
}

const BLIND = 'whether its process still runs cannot be told on this host';
const NO_END: StepEnd = { ok: false, exit_code: null, signal: null, reason: null };

async function askProbe(plan: Plan, tools: Tools, record: RunRecord): Promise<ProbeAnswer> {
  if (isRepeatable(plan)) return { kind: 'not_started' };
  try {
    const answer = await plan.probe?.(tools, record);
    return answer ?? { kind: 'unknown', because: 'there is no probe' };
  } catch (error) {
    tools.signal.throwIfAborted();
    if (error instanceof RuntimeError) return { kind: 'unknown', because: error.message };
    throw error;
  }
}

async function settled(record: RunRecord, end: StepEnd, place: RunPlace): Promise<Recovery> {
  const output = new RunOutput(place.folder, { resumed: true });
  try {
    return { kind: 'done', output: outcomeJson(await finish(record, end, { place, output })) };
  } finally {
    await output.close();
  }
}

async function givenUp(record: RunRecord, place: RunPlace, reason: string): Promise<RunOutcome> {
  const output = new RunOutput(place.folder, { resumed: true });
  try {
    return await finish(record, { ...NO_END, reason }, { place, output });
  } finally {
    await output.close();
  }
}

const identityOf = ({ run, key }: Tools): Identity => ({
  key,
  action_id: run.actionId,
  action_sha256: run.sha256,
});

const stepDigest = ({ identity }: Step): string => sha256(JSON.stringify(identity));
const digestOf = ({ steps }: Plan): string => sha256(steps.map(stepDigest).join('\n'));

/** What cannot be remembered is no reason not to run: then the probe will say that it does not know. */
async function remember(plan: Plan, tools: Tools): Promise<RunRecord['before']> {
  return (await plan.before?.(tools)) ?? null;
}

/** U2. What may run twice is asked for again and again until it ends: so it ends here. */
async function stuck(
  plan: Plan,
  record: RunRecord,
  { place, left }: { place: RunPlace; left: number[] },
): Promise<RunOutcome> {
  const reason = `processes of an earlier run cannot be ended: ${left.join(', ')}`;
  if (isRepeatable(plan)) return givenUp(record, place, reason);
  throw new RuntimeError(reason, {
    code: 'OUTCOME_UNKNOWN',
    details: { key: record.key, pids: left },
    hint: 'See what they wait for; when they are gone, settle it: `lazarus doubt list`.',
  });
}

const isRepeatable = ({ semantics }: Plan): boolean =>
  semantics === 'idempotent' || semantics === 'pure';

async function runSteps(
  plan: Plan,
  record: RunRecord,
  { place, tools }: { place: RunPlace; tools: RunTools },
): Promise<void> {
  for (const [index, step] of plan.steps.entries()) {
    const digest = stepDigest(step);
    const done = record.steps[index];
    if (done?.ok === true && done.argv_sha256 === digest) continue; // U3
    if (plan.steps.length > 1)
      tools.output.note('stdout', `== ${place.redact(step.shown).slice(0, MAX_REASON)}`);
    const end = await perform(step, tools);
    const reason = end.reason === null ? null : place.redact(end.reason).slice(0, MAX_REASON);
    const finishedAt = new Date().toISOString();
    record.steps[index] = { argv_sha256: digest, ...end, reason, finished_at: finishedAt };
    if (!end.ok && plan.triesAll !== true) return;
    if (index < plan.steps.length - 1) await writeRecord(place.folder, record, tools.signal);
  }
}

/** What is thrown here is unknown, or withdrawn; all else is a known failure, and an end. */
async function perform(step: Step, tools: RunTools): Promise<StepEnd> {
  try {
    return await step.perform(tools, step.timeoutMs);
  } catch (error) {
    tools.signal.throwIfAborted();
    const isKnown = error instanceof RuntimeError && error.code !== 'OUTCOME_UNKNOWN';
    if (!isKnown) throw error;
    return { ...NO_END, reason: toPlainError(error).message };
  }
}

function summaryOf(plan: Plan, { steps }: RunRecord, redact: Redact): StepEnd {
  const bad = steps.flatMap((step, index) => (step.ok ? [] : [{ step, index }]));
  const first = bad[0]?.step;
  const last = steps.at(-1);
  const reasons = bad.map(({ step, index }) => {
    const name =
      plan.steps.length > 1 ? `${redact(plan.steps[index]?.shown ?? '').slice(0, 200)}: ` : '';
    return `${name}${step.reason ?? 'failed'}`;
  });
  const isEnough = plan.triesAll === true && bad.length < steps.length;
  const ok = bad.length === 0 || isEnough;
  const count = isEnough && bad.length > 0 ? `${bad.length} of ${steps.length} failed: ` : '';
  const { exit_code, signal } = (ok ? last : first) ?? NO_END;
  return { ok, exit_code, signal, reason: bad.length === 0 ? null : count + reasons.join('; ') };
}

/** U1. What is known must not become unknown because it cannot be written down. */
async function finish(
  record: RunRecord,
  { ok, exit_code, signal, reason }: StepEnd,
  { place, output }: { place: RunPlace; output: RunOutput },
): Promise<RunOutcome> {
  const times = { started_at: record.started_at, finished_at: new Date().toISOString() };
  const texts = output.told(place.redact);
  const outcome = {
    ok,
    reason: reason?.slice(0, 2 * MAX_REASON) ?? null,
    exit_code,
    signal,
    ...texts,
    ...times,
  };
  const finished = { ...record, exit_code, signal, outcome, finished_at: times.finished_at };
  try {
    await writeRecord(place.folder, finished, place.tools.signal);
    return outcome;
  } catch (error) {
    throw new RuntimeError('the action ran, but its outcome could not be written', {
      code: 'OUTCOME_UNKNOWN',
      details: { key: record.key, outcome: { ok, exit_code, signal } },
      hint: `See ${place.folder}, then settle it: \`lazarus doubt list\`.`,
      cause: error,
    });
  }
}
