/**
 * What every incident is doing, as of the last commit, for the status: kept here by their records, so that nobody has to
 * wake ten thousand actors to count them. Those of earlier lives are read once, in the background.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { PLANNER } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { serviceKey } from '../../machines/health-event.ts';
import type { IncidentContext } from '../../machines/incident-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import { logIncident } from './planner-log.ts';
import type { PlannerLog } from './planner-log.ts';

/** Read in one turn of the event loop. */
const SLICE = 25;

export interface IncidentState {
  /** `quiet`, `diagnosing`, `proposing`, `cooling` */
  life: string;
  context: IncidentContext;
}

/** Undefined: there is none, or it is held. */
export function incidentState(system: ActorSystem, address: string): IncidentState | undefined {
  try {
    const { value, context } = system.read(address).snapshot;
    return { life: lifeOf(value), context: context as IncidentContext };
  } catch (error) {
    if (error instanceof RuntimeError) return undefined;
    throw error;
  }
}

/** Unplanned: it is not well, and no proposal came of the last look. */
const shortOf = ({ life, context }: IncidentState): { life: string; isUnplanned: boolean } => ({
  life,
  isUnplanned: life === 'quiet' && context.recoveredAt === null && hasFailed(context),
});

const hasFailed = ({ outcome }: IncidentContext): boolean =>
  outcome?.kind === 'llm_failed' || outcome?.kind === 'write_failed';

/** Of a machine's state value `{life, telling}`. */
export function lifeOf(value: unknown): string {
  const { life } = (value ?? {}) as { life?: unknown };
  return typeof life === 'string' ? life : 'quiet';
}

export class IncidentView {
  readonly #system: ActorSystem;
  readonly #log: PlannerLog;
  readonly #root: string;
  readonly #lives = new Map<string, { life: string; isUnplanned: boolean }>();
  #lastError: JsonObject | null = null;
  #closed = false;

  /** `root`: the runtime folder, to which paths of actions are relative. */
  constructor(system: ActorSystem, { root, log }: { root: string; log: PlannerLog }) {
    this.#system = system;
    this.#log = log;
    this.#root = root;
    system.on('committed', this.#committed);
  }

  /** Those of earlier lives. */
  async fill(addresses: readonly string[]): Promise<void> {
    for (const [i, address] of addresses.entries()) {
      if (i % SLICE === 0) await turn();
      if (this.#closed) return;
      if (this.#lives.has(address)) continue;
      const state = incidentState(this.#system, address);
      if (state) this.#lives.set(address, shortOf(state));
    }
  }

  close(): void {
    this.#closed = true;
    this.#system.off('committed', this.#committed);
  }

  counts(): JsonObject {
    const counts = { quiet: 0, diagnosing: 0, proposing: 0, cooling: 0, unplanned: 0 };
    for (const { life, isUnplanned } of this.#lives.values()) {
      if (Object.hasOwn(counts, life)) counts[life as keyof typeof counts] += 1;
      if (isUnplanned) counts.unplanned += 1;
    }
    return { incidents: this.#lives.size, ...counts, last_error: this.#lastError };
  }

  readonly #committed = (record: CommittedRecord): void => {
    const { address, event, error } = record;
    if (!address.startsWith(`${PLANNER}/`)) return;
    if (event.type === 'actor.stopped') return void this.#lives.delete(address);
    const state = incidentState(this.#system, address);
    if (state === undefined) return;
    this.#lives.set(address, shortOf(state));
    if (error !== undefined) return;
    logIncident(this.#log, record, { ...state, root: this.#root });
    this.#noteError(record, state);
  };

  #noteError({ at }: CommittedRecord, { context }: IncidentState): void {
    const { host, service, outcome } = context;
    if (outcome === null || !hasFailed(context) || outcome.at !== at) return;
    this.#lastError = {
      at: isoFromEpoch(at),
      svc_key: serviceKey(host, service),
      kind: outcome.kind,
      message: outcome.text,
    };
  }
}
