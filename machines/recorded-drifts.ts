/**
 * What the log of drifts (`state/agent-events.log`) tells of the past: one case for each recommendation that stood, from when to
 * when, and what came of it. A policy can be asked again about each (what-if.ts).
 *
 * R1 Total: a line that says nothing of a drift is none, whatever it holds.
 * R2 The order of the lines changes nothing, and a line that stands twice counts once.
 * R3 What was told within a second came of one look.
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { DRIFT_KINDS, REMEDIES, targetKey } from './supervision.ts';
import type { DriftKind, DriftStep, ReconcileEvent, Recommendation } from './supervision.ts';
import type { Mode, Remedy, Standing } from './supervision.ts';

/** As much of a line as is needed. */
export interface RecordedStep {
  id: string;
  /** Epoch ms. */
  at: number;
  what: DriftStep['what'];
  standing: Standing;
  mode: Mode;
  because: string;
  actionId: string | null;
  isEscalated: boolean;
}

export interface DriftCase {
  /** Of the step that opened it. */
  id: string;
  standing: Standing;
  /** Epoch ms. */
  at: number;
  /** When it was over, or another recommendation stood; null: it stands at the end of the record. */
  until: number | null;
  /** It was over with the drift. */
  isResolved: boolean;
  recorded: RecordedRemedy;
}

/** What was done about it then. Times are epoch ms. */
export interface RecordedRemedy {
  mode: Mode;
  actionId: string | null;
  proposedAt: number | null;
  approved: { at: number; by: 'person' | 'policy' } | null;
  /** A person said no. */
  declinedAt: number | null;
  /** The action itself was over. */
  ranUntil: number | null;
  /** And what it was for was verified, or not. */
  outcome: { helped: boolean; at: number } | null;
}

const RECONCILE: readonly string[] = [
  'reconcile_required',
  'reconcile_recommended',
  'reconcile_blocked',
] satisfies ReconcileEvent[];
const WHATS: readonly string[] = [
  ...RECONCILE,
  'drift_resolved',
  'action_proposed',
  'action_approved',
  'action_cancelled',
  'action_ended',
  'remedy_verified',
  'remedy_escalated',
];
const MODES: readonly string[] = ['recommend', 'propose', 'approve'] satisfies Mode[];
const RISKS: readonly unknown[] = ['none', 'low', 'guarded'] satisfies Recommendation['risk'][];

/** R1. Undefined: the line tells of no step of a drift. */
export function readStep({ id, timestamp, type, payload }: JsonObject): RecordedStep | undefined {
  if (typeof id !== 'string' || typeof timestamp !== 'string' || !isJsonObject(payload))
    return undefined;
  const at = Date.parse(timestamp);
  const standing = standingIn(payload);
  const { decision, because, action_id: actionId, status } = payload;
  const mode = isJsonObject(decision) ? decision['mode'] : undefined;
  const isStep = Number.isFinite(at) && isOneOf(WHATS, type) && isOneOf(MODES, mode);
  if (!isStep || standing === undefined) return undefined;
  return {
    id,
    at,
    what: type as DriftStep['what'],
    standing,
    mode: mode as Mode,
    because: typeof because === 'string' ? because : '',
    actionId: typeof actionId === 'string' ? actionId : null,
    isEscalated: status === 'escalated',
  };
}

const isOneOf = (known: readonly string[], value: JsonValue | undefined): boolean =>
  typeof value === 'string' && known.includes(value);

function standingIn(payload: JsonObject): Standing | undefined {
  const { key, node: host, service = null, kind, trigger = null, recommendation } = payload;
  if (typeof host !== 'string' || !(service === null || typeof service === 'string'))
    return undefined;
  if (key !== targetKey({ host, service }) || !isOneOf(DRIFT_KINDS, kind)) return undefined;
  if (!isJsonObject(recommendation)) return undefined;
  const { id, event, remedy, risk } = recommendation;
  const isAdvice = isOneOf(RECONCILE, event) && isOneOf(REMEDIES, remedy) && RISKS.includes(risk);
  if (typeof id !== 'string' || !isAdvice) return undefined;
  return {
    drift: {
      key,
      host,
      service,
      kind: kind as DriftKind,
      critical: false, // the log does not say, and no rule asks
      trigger: typeof trigger === 'string' ? trigger : null,
      blockedBy: [],
      because: '',
    },
    recommendation: {
      id,
      event: event as ReconcileEvent,
      remedy: remedy as Remedy,
      risk: risk as Recommendation['risk'],
    },
  };
}

/** In the order of their times. */
export function driftCases(steps: Iterable<RecordedStep>): DriftCase[] {
  const cases: DriftCase[] = [];
  /** By key: those of the episode that is open, the newest last. */
  const episodes = new Map<string, DriftCase[]>();
  for (const step of inOrder(steps)) {
    const { key } = step.standing.drift;
    const episode = episodes.get(key) ?? [];
    if (step.what === 'drift_resolved') {
      closeLast(episode, step.at, true);
      episodes.delete(key);
      continue;
    }
    const isOpening = RECONCILE.includes(step.what) && !step.isEscalated;
    const isCut = episode.length === 0 && step.what === 'action_proposed';
    const isNew = isOpening && !isSame(episode.at(-1), step);
    if (isNew || isCut) {
      closeLast(episode, step.at, false);
      const opened = caseOf(step);
      cases.push(opened);
      episodes.set(key, [...episode, opened].slice(-MAX_OPEN));
    }
    noteAction(episodes.get(key) ?? [], step);
  }
  return cases.sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
}

/** Recommendations of one episode whose actions may still end. */
const MAX_OPEN = 20;

function closeLast(episode: readonly DriftCase[], at: number, isResolved: boolean): void {
  const last = episode.at(-1);
  if (last !== undefined) Object.assign(last, { until: at, isResolved });
}

const isSame = (known: DriftCase | undefined, { standing }: RecordedStep): boolean =>
  known?.standing.recommendation.id === standing.recommendation.id &&
  known.standing.drift.kind === standing.drift.kind;

function caseOf({ id, at, standing, mode }: RecordedStep): DriftCase {
  const recorded: RecordedRemedy = {
    mode,
    actionId: null,
    proposedAt: null,
    approved: null,
    declinedAt: null,
    ranUntil: null,
    outcome: null,
  };
  return { id, standing, at, until: null, isResolved: false, recorded };
}

/** As drift-actions.ts says it of an approval that no policy gave. */
const BY_PERSON = 'by a person';

function noteAction(episode: readonly DriftCase[], step: RecordedStep): void {
  const { what, at, actionId, because, mode } = step;
  const mine = episode.findLast(({ recorded }) =>
    actionId === null
      ? recorded.actionId !== null && recorded.outcome === null
      : recorded.actionId === actionId,
  )?.recorded;
  switch (what) {
    case 'action_proposed': {
      const last = episode.at(-1)?.recorded;
      if (last) Object.assign(last, { mode, actionId, proposedAt: at });
      return;
    }
    case 'action_approved':
      if (mine) mine.approved = { at, by: because === BY_PERSON ? 'person' : 'policy' };
      return;
    case 'action_cancelled':
      if (mine && because.startsWith('cancelled')) mine.declinedAt = at; // else it was withdrawn
      return;
    case 'action_ended':
      noteEnd(mine, at, because);
      return;
    case 'remedy_verified':
    case 'remedy_escalated':
      if (mine) mine.outcome = { helped: what === 'remedy_verified', at };
      return;
    case 'drift_resolved':
    case 'reconcile_required':
    case 'reconcile_recommended':
    case 'reconcile_blocked':
      return;
    default:
      what satisfies never;
  }
}

function noteEnd(mine: RecordedRemedy | undefined, at: number, because: string): void {
  if (mine === undefined) return;
  if (because.startsWith('rejected')) {
    mine.declinedAt = at;
    return;
  }
  mine.ranUntil = at;
  if (because.startsWith('failed')) mine.outcome = { helped: false, at };
}

const LOOK_MS = 1000;

/** R2, R3: a step that comes of a look has the time of the look's first. */
function inOrder(steps: Iterable<RecordedStep>): RecordedStep[] {
  const known = new Map([...steps].map((step) => [step.id, step]));
  const sorted = [...known.values()].sort(
    (a, b) => a.at - b.at || serialOf(a) - serialOf(b) || (a.id < b.id ? -1 : 1),
  );
  let look = Number.NEGATIVE_INFINITY;
  return sorted.map((step) => {
    if (!RECONCILE.includes(step.what) && step.what !== 'drift_resolved') return step;
    if (step.at - look > LOOK_MS) look = step.at;
    return { ...step, at: look };
  });
}

/** A drift counts its steps: `<address>#<at>.<serial>`. */
const serialOf = ({ id }: RecordedStep): number => Number(/\.(\d+)$/.exec(id)?.[1] ?? 0);
