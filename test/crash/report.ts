/** What a runtime of the harness is told, and the lines it writes down, one JSON document each. */
import { readFileSync } from 'node:fs';
import type { StepOfMission } from './mission.ts';

export interface LifeArguments {
  missions: string;
  evidence: string;
  report: string;
  /** Epoch ms. */
  spawnedAt: number;
  cells: string[];
  steps: StepOfMission[];
  load: {
    sources: number;
    /** Each source is sent the numbers up to this one. */
    upTo: number;
    gapMs: number;
    inFlight: number;
    /** Last number acknowledged in earlier lives: where the client goes on. */
    acked: Record<string, number>;
  };
  segmentBytes: number;
  compactMs: number;
  /** How long the missions may take to complete, ms. */
  patienceMs: number;
  /** The wall clock of this life is off by so much. */
  clockOffsetMs?: number;
}

/** Everything that can be seen of a runtime from outside, at one moment. */
export interface Sight {
  /** Of the node. */
  state: string;
  /** Committed seq of each actor. */
  seqs: Record<string, number>;
  /** Highest number of each source, and of each source in the sink. */
  load: Record<string, number>;
  tasks: Record<string, { is: string; steps: number; why: string | null }>;
  cells: Record<string, string>;
  held: string[];
  /** Of workers. */
  pids: number[];
  doubts: string[];
}

export const KINDS = ['lost', 'repeated', 'taken back', 'replay', 'doubt', 'other'] as const;
export type ViolationKind = (typeof KINDS)[number];
export interface Violation {
  kind: ViolationKind;
  what: string;
}

export type Line =
  | ({ t: 'up'; epoch: number; afterMs: number } & Sight)
  | ({ t: 'shown' } & Sight)
  | { t: 'ack'; address: string; n: number; seq: number }
  | { t: 'doubt'; key: string; step: string; verdict: 'done' | 'not_started' }
  | { t: 'replayed'; when: 'early' | 'end'; compared: number }
  | { t: 'warn'; message: string; fields: Record<string, unknown> }
  | ({ t: 'violation' } & Violation)
  | { t: 'done' }
  | { t: 'stopped' };

/** The kill may have cut the last line. */
export function readReport(path: string): Line[] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Line);
}
