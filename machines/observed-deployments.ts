/**
 * Deployments of one host as its events tell them: by the id that belongs to the undertaking, else each start of a service
 * with the end that follows it. Kept so that the order in which events are heard changes nothing.
 */
import { compareText } from './observed-timeline.ts';
import type { DeploymentStep } from './observed-event.ts';

/** With an id. Times are epoch ms; null: nobody said. */
export interface Deployment {
  service: string | null;
  startedAt: number | null;
  /** It may be begun again. */
  lastStartedAt: number | null;
  ended: { at: number; as: 'completed' | 'failed' } | null;
}

/** Of those without an id: what happened when. Sorted. */
export interface LooseSteps {
  steps: readonly (readonly [at: number, step: DeploymentStep])[];
  /** What is not after this, epoch ms, counts no more. */
  until: number;
}

export interface Deployments {
  byId: Readonly<Record<string, Deployment>>;
  /** One that was forgotten: what is as old and unknown counts no more. */
  until: number;
}

export interface ToldDeployment extends Deployment {
  id: string;
  status: 'in_progress' | 'completed' | 'failed';
  /** The last that was heard of it. */
  at: number;
}

const MAX_DEPLOYMENTS = 200;
const MAX_STEPS = 16;

export const NO_DEPLOYMENTS: Deployments = { byId: {}, until: -1 };
export const NO_STEPS: LooseSteps = { steps: [], until: -1 };

interface Step {
  at: number;
  step: DeploymentStep;
}

export function withStep(
  { byId, until }: Deployments,
  { id, service, at, step }: Step & { id: string; service: string | null },
): Deployments {
  const known = Object.hasOwn(byId, id) ? byId[id] : undefined;
  if (known === undefined && at <= until) return { byId, until };
  const before = known ?? { service, startedAt: null, lastStartedAt: null, ended: null };
  const named = before.service === null || (service !== null && service < before.service);
  const next = told({ ...before, service: named ? service : before.service }, { at, step });
  return shortened({ byId: { ...byId, [id]: next }, until });
}

function told(deployment: Deployment, { at, step }: Step): Deployment {
  const { startedAt, lastStartedAt, ended } = deployment;
  if (step === 'started')
    return {
      ...deployment,
      startedAt: Math.min(startedAt ?? at, at),
      lastStartedAt: Math.max(lastStartedAt ?? at, at),
    };
  const isNewer = ended === null || at > ended.at || (at === ended.at && step === 'failed');
  return isNewer ? { ...deployment, ended: { at, as: step } } : deployment;
}

/** The longest without a word goes. */
function shortened({ byId, until }: Deployments): Deployments {
  const entries = Object.entries(byId);
  if (entries.length <= MAX_DEPLOYMENTS) return { byId, until };
  const oldest = entries
    .map(([id, deployment]) => ({ id, at: lastWord(deployment) }))
    .toSorted((a, b) => a.at - b.at || compareText(a.id, b.id))[0];
  if (oldest === undefined) return { byId, until };
  const { [oldest.id]: _, ...rest } = byId;
  return { byId: rest, until: Math.max(until, oldest.at) };
}

const lastWord = ({ lastStartedAt, ended }: Deployment): number =>
  Math.max(lastStartedAt ?? 0, ended?.at ?? 0);

/** `at` of equal steps within a second is one event: by which way it came does not count. */
export function withLooseStep(loose: LooseSteps, { at, step }: Step): LooseSteps {
  const { steps, until } = loose;
  if (at <= until) return loose;
  const twin = steps.findIndex(
    ([other, same]) => same === step && Math.floor(other / 1000) === Math.floor(at / 1000),
  );
  const earliest = Math.min(at, steps[twin]?.[0] ?? at);
  const rest = twin < 0 ? steps : steps.toSpliced(twin, 1);
  const all = [...rest, [earliest, step] as const].toSorted(
    ([a, as], [b, bs]) => a - b || ORDER.indexOf(as) - ORDER.indexOf(bs),
  );
  return cut({ steps: all, until });
}

const ORDER: readonly DeploymentStep[] = ['started', 'completed', 'failed'];

/** A start goes together with its end, so that the end is not taken for a deployment of its own. */
function cut({ steps, until }: LooseSteps): LooseSteps {
  if (steps.length <= MAX_STEPS) return { steps, until };
  const [first, second] = steps;
  const isPair = first?.[1] === 'started' && second !== undefined && second[1] !== 'started';
  const gone = isPair ? 2 : 1;
  return { steps: steps.slice(gone), until: steps[gone - 1]?.[0] ?? until };
}

export function deploymentsWithId({ byId }: Deployments): ToldDeployment[] {
  return Object.entries(byId).map(([id, deployment]) => tellOf(id, deployment));
}

/** Each start with the end that follows it; one that follows none, or that none follows, is by itself. */
export function looseDeployments(
  { steps }: LooseSteps,
  { host, service }: { host: string; service: string },
): ToldDeployment[] {
  const found: Deployment[] = [];
  let open: Deployment | undefined;
  for (const [at, step] of steps) {
    if (step === 'started') {
      open = { service, startedAt: at, lastStartedAt: at, ended: null };
      found.push(open);
    } else {
      const ended = { at, as: step };
      if (open) open.ended = ended;
      else found.push({ service, startedAt: null, lastStartedAt: null, ended });
      open = undefined;
    }
  }
  return found.map((deployment) => {
    const begun = deployment.startedAt ?? deployment.ended?.at ?? 0;
    return tellOf(`${host}-${service}-${Math.floor(begun / 1000)}`, deployment);
  });
}

function tellOf(id: string, deployment: Deployment): ToldDeployment {
  const { lastStartedAt, ended } = deployment;
  const isRunning = ended === null || (lastStartedAt !== null && lastStartedAt > ended.at);
  const status = isRunning ? 'in_progress' : ended.as;
  return { ...deployment, id, status, at: lastWord(deployment) };
}
