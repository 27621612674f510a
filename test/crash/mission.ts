/**
 * The missions that the harness kills, and the evidence their steps leave: what really happened in the world, told by
 * nobody but the steps themselves.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../../machines/json.ts';

const script = fileURLToPath(new URL('step.sh', import.meta.url));

export type StepKind = 'safe' | 'never' | 'probe';

/** Task to steps; a step is named after its kind, so that a report reads by itself. */
type Plan = Record<string, { agent?: string; after?: string[]; steps: StepKind[] }>;

const WITH_WORKERS: Plan = {
  build: { steps: ['safe', 'safe'] },
  publish: { steps: ['never'] },
  deploy: { after: ['build'], steps: ['probe', 'safe'] },
  report: { after: ['publish'], steps: ['never', 'safe'] },
};
const IN_THE_HOST: Plan = {
  backup: { steps: ['safe'] },
  notify: { after: ['backup'], steps: ['never', 'probe'] },
};

export interface StepOfMission {
  cell: string;
  task: string;
  index: number;
  name: string;
  kind: StepKind;
  /** As the evidence names it. */
  evidence: string;
}

export interface Mission {
  drop: JsonObject;
  steps: StepOfMission[];
}

/** One mission with two workers (level_1) and one whose steps run in the host (none). */
export function missions(evidence: string, suffix = '', policies: JsonObject = {}): Mission[] {
  return [
    mission(
      `alpha${suffix}`,
      { level: 'level_1', agents: ['a1', 'a2'], plan: WITH_WORKERS, policies },
      evidence,
    ),
    mission(
      `beta${suffix}`,
      { level: 'none', agents: ['b1'], plan: IN_THE_HOST, policies },
      evidence,
    ),
  ];
}

function mission(
  cell: string,
  {
    level,
    agents,
    plan,
    policies,
  }: { level: string; agents: string[]; plan: Plan; policies: JsonObject },
  evidence: string,
): Mission {
  const steps = Object.entries(plan).flatMap(([task, { steps: kinds }]) =>
    kinds.map((kind, index): StepOfMission => {
      const name = `${kind}-${index}`;
      return { cell, task, index, name, kind, evidence: `${cell}.${task}.${name}` };
    }),
  );
  const drop = {
    cell_id: cell,
    mission_name: `Crash proof ${cell}`,
    isolation_level: level,
    policies: { auto_revive: 'yes', max_retries: 1000, revive_timeout: 1_000_000, ...policies },
    restart: { intensity: 1000, period: 1 },
    agents: agents.map((id) => ({ agent_id: id, name: id, role: 'lead' })),
    tasks: Object.entries(plan).map(([task, { after = [] }]) => ({
      task_id: task,
      title: task,
      dependencies: after,
      steps: steps.filter((step) => step.task === task).map((step) => stepFile(step, evidence)),
    })),
  };
  return { drop, steps };
}

function stepFile({ name, kind }: StepOfMission, evidence: string): JsonObject {
  return {
    name,
    retry: kind,
    run: ['/bin/sh', script, kind, evidence],
    ...(kind === 'probe' ? { probe: ['/bin/sh', script, 'ask', evidence] } : {}),
  };
}

/** Drops the missions' files, as a person with `cp` would. */
export function dropMissions(missionsDir: string, list: readonly Mission[]): void {
  for (const { drop } of list)
    writeFileSync(join(missionsDir, `${String(drop['cell_id'])}.json`), JSON.stringify(drop));
}

export interface Trace {
  step: string;
  what: 'begin' | 'end' | 'repeated';
  key: string;
}

export function makeEvidence(folder: string): void {
  mkdirSync(join(folder, 'effects'), { recursive: true });
  writeFileSync(join(folder, 'runs.log'), '');
}

/** What the steps did so far, in order. A last line without its end belongs to a step that is just writing it. */
export function readTraces(evidence: string): Trace[] {
  const lines = readFileSync(join(evidence, 'runs.log'), 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => {
    const [step = '', what = '', key = ''] = line.split(' ');
    return { step, what: what as Trace['what'], key };
  });
}

/** Names of the steps whose effect is there. */
export function readEffects(evidence: string): Set<string> {
  return new Set(readdirSync(join(evidence, 'effects')).filter((name) => !name.startsWith('.')));
}

/** What a person would find out about a step that is in doubt, by looking at the world. */
export function judge(evidence: string, step: string, kind: StepKind): 'done' | 'not_started' {
  if (kind === 'probe') return readEffects(evidence).has(step) ? 'done' : 'not_started';
  return readTraces(evidence).some((trace) => trace.step === step) ? 'done' : 'not_started';
}
