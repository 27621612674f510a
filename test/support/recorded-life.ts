/** Lives of drifts as their log tells of them: of the real machines, or line by line. */
import { recommend } from '../../machines/drift.ts';
import type { JsonObject } from '../../machines/json.ts';
import { driftCases, readStep } from '../../machines/recorded-drifts.ts';
import type { DriftCase } from '../../machines/recorded-drifts.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import type { Policy } from '../../machines/remediation.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import type {
  DriftStep,
  Mode,
  SupervisorPolicy,
  SupervisorRule,
} from '../../machines/supervision.ts';
import { stepLine } from '../../machines/supervision-event.ts';
import type { Assumptions, Recording } from '../../machines/what-if.ts';
import { SupervisionWorld, driftOf } from './supervision.ts';

export const T0 = Date.parse('2026-11-02T08:00:00Z'); // a Monday
export const MINUTE = 60_000;

/** What the drifts of a supervision world say of their steps. */
export function recordingOf(world: SupervisionWorld): JsonObject[] {
  const lines: JsonObject[] = [];
  const push = world.log.push.bind(world.log);
  world.log.push = (...messages) => {
    for (const { to, event } of messages)
      if (event.type === 'drift.became') {
        const { type: _type, ...step } = event;
        const id = `${to}#${world.clock.at}.${lines.length}`;
        lines.push(stepLine({ step: step as unknown as DriftStep, id, at: world.clock.at }));
      }
    return push(...messages);
  };
  return lines;
}

/** A log that is written by hand. `key`: `host/service`, or `host`. */
export class WrittenLog {
  readonly lines: JsonObject[] = [];
  readonly #start: number;

  constructor(start = T0) {
    this.#start = start;
  }

  /** `at`: minutes after the start. */
  say(at: number, what: DriftStep['what'], key: string, more: Partial<DriftStep> = {}): this {
    const [host = '', service = null] = key.split('/');
    const drift = driftOf(host, service, { trigger: 'containers_not_running' });
    const recommendation = recommend(drift);
    const mode: Mode = 'recommend';
    const step: DriftStep = {
      what,
      status: 'recommended',
      key,
      host,
      service,
      kind: drift.kind,
      trigger: drift.trigger,
      recommendation,
      decision: { mode, rule: null, because: '' },
      action_id: null,
      since: this.#start + at * MINUTE,
      because: 'it does not answer',
      ...more,
    };
    const time = this.#start + at * MINUTE;
    const id = `system/supervisor/${key}#${time}.${this.lines.length}`;
    this.lines.push(stepLine({ step, id, at: time }));
    return this;
  }

  /** It stood from minute to minute, and nothing was done about it. */
  stood(key: string, from: number, until: number | null): this {
    this.say(from, 'reconcile_required', key);
    return until === null ? this : this.say(until, 'drift_resolved', key);
  }

  /** A person approved what was proposed for it, and it helped, or did not. */
  helped(key: string, from: number, helped = true): this {
    const action_id = `container-restart-${key.replace('/', '-')}-${from}`;
    this.say(from, 'reconcile_required', key);
    this.say(from, 'action_proposed', key, { action_id });
    this.say(from + 5, 'action_approved', key, { action_id, because: 'by a person' });
    this.say(from + 6, 'action_ended', key, { action_id, because: 'completed' });
    if (helped) this.say(from + 7, 'remedy_verified', key, { action_id });
    else this.say(from + 7, 'remedy_escalated', key, { status: 'escalated' });
    return this.say(from + (helped ? 7 : 30), 'drift_resolved', key);
  }

  cases(): DriftCase[] {
    return casesIn(this.lines);
  }
}

export const casesIn = (lines: readonly JsonObject[]): DriftCase[] =>
  driftCases(lines.flatMap((line) => readStep(line) ?? []));

export const recordingWith = (cases: DriftCase[], more: Partial<Recording> = {}): Recording => ({
  cases,
  actions: [],
  runs: new Map(),
  until: T0 + 30 * 24 * 60 * MINUTE,
  ...more,
});

export const KNOWING_NOTHING: Assumptions = { zones: { UTC: [[0, 0]] }, counts: null, revoked: [] };

/** `rules` of the supervisor; `more` of its other settings. */
export const policyOf = (
  rules: SupervisorRule[],
  more: Partial<SupervisorPolicy> = {},
  others: Partial<Policy> = {},
): Policy => ({
  ...DEFAULT_POLICY,
  ...others,
  supervisor: { ...DEFAULT_SUPERVISOR_POLICY, ...more, rules },
});
