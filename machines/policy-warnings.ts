/**
 * What is right in a policy and does not do what its writer may think: rules that never get a turn, rules that never fit, rules that
 * only propose where they say that they approve.
 */
import { recommend } from './drift.ts';
import { eventRuleWarnings, ruleName } from './event-rule-checks.ts';
import { globCovers, globMatches, globsCover } from './globs.ts';
import type { Budget } from './globs.ts';
import type { Policy } from './remediation.ts';
import { ACTING_REMEDIES, DRIFT_KINDS, WORDS_ONLY } from './supervision.ts';
import type { DriftKind, Remedy, SupervisorRule } from './supervision.ts';
import type { PolicyProblem } from './window-rules.ts';

/** What is advised about what: all that a rule can ever be asked about. */
export interface Occasion {
  kind: DriftKind;
  remedy: Remedy;
  /** About a host itself, so that no list of services fits. */
  isOfHost: boolean;
}

const OF_HOSTS: readonly DriftKind[] = ['offline_node', 'disk_pressure', 'unresolved_incident'];
const NOT_OF_SERVICES: readonly DriftKind[] = ['offline_node', 'disk_pressure'];

export const OCCASIONS: readonly Occasion[] = DRIFT_KINDS.flatMap((kind) => [
  ...(OF_HOSTS.includes(kind) ? remediesFor(kind, true) : []),
  ...(NOT_OF_SERVICES.includes(kind) ? [] : remediesFor(kind, false)),
]);

function remediesFor(kind: DriftKind, isOfHost: boolean): Occasion[] {
  const remedies = [null, 'containers_not_running'].flatMap((trigger) =>
    [[], ['nas']].map((blockedBy) => {
      const target = { key: 'nas', host: 'nas', service: isOfHost ? null : 'web', critical: false };
      return recommend({ ...target, kind, trigger, blockedBy, because: '' }).remedy;
    }),
  );
  return [...new Set(remedies)].map((remedy) => ({ kind, remedy, isOfHost }));
}

/** Comparisons of globs; a policy that would take more is not looked through to the end. */
const MOST = 500_000;

export function policyWarnings(policy: Policy): PolicyProblem[] {
  const budget = { left: MOST };
  const { rules } = policy.supervisor;
  const ofSupervisor = rules.flatMap((rule, i) => [
    ...turnWarnings(rules, i, budget),
    ...wordsWarnings(rule, i),
    ...humanWarnings(rule, i, policy),
  ]);
  const warnings = [...eventRuleWarnings(policy.event_rules), ...ofSupervisor];
  if (budget.left > 0) return warnings;
  const message = 'there are too many globs to say of each rule whether it ever gets a turn';
  return [
    ...warnings,
    { pointer: '/supervisor/rules', message, fix: 'Join rules that differ in a name only.' },
  ];
}

const pointerTo = (i: number): string => `/supervisor/rules/${i}`;

const fits = (globs: string[] | undefined, name: string): boolean =>
  globs === undefined || globs.some((glob) => globMatches(glob, name));

export const fitsOccasion = (
  { drifts, actions, services }: SupervisorRule,
  { kind, remedy, isOfHost }: Occasion,
): boolean => fits(drifts, kind) && fits(actions, remedy) && !(isOfHost && services !== undefined);

function turnWarnings(
  rules: readonly SupervisorRule[],
  i: number,
  budget: Budget,
): PolicyProblem[] {
  const rule = rules[i];
  const occasions = rule === undefined ? [] : OCCASIONS.filter((one) => fitsOccasion(rule, one));
  if (rule === undefined) return [];
  const pointer = pointerTo(i);
  if (occasions.length === 0)
    return [
      {
        pointer,
        message: 'this rule never fits: none of its drifts is answered by one of its actions',
        fix: 'docs/supervisor.md says what is recommended about which drift.',
      },
    ];
  const takers = new Set<number>();
  for (const occasion of occasions) {
    const taker = rules.findIndex(
      (earlier, j) =>
        j < i && fitsOccasion(earlier, occasion) && coversPlaces(earlier, rule, occasion, budget),
    );
    if (taker < 0) return [];
    takers.add(taker);
  }
  const whose = [...takers].sort((a, b) => a - b).map((j) => ruleName(rules, j));
  return [
    {
      pointer,
      message: `this rule never gets a turn: ${whose.join(' and ')} before it fits whatever it fits`,
      fix: 'Put it before them, or remove it: the first rule that fits decides.',
    },
  ];
}

function coversPlaces(
  wide: SupervisorRule,
  narrow: SupervisorRule,
  { isOfHost }: Occasion,
  budget: Budget,
): boolean {
  const isForServices = isOfHost || globsCover(wide.services, narrow.services, budget);
  return isForServices && globsCover(wide.hosts, narrow.hosts, budget);
}

/** What is for people to read is never proposed. */
function wordsWarnings({ mode, actions, drifts }: SupervisorRule, i: number): PolicyProblem[] {
  const concerned = OCCASIONS.filter(
    ({ kind, remedy }) => fits(drifts, kind) && fits(actions, remedy),
  );
  const isWordsOnly =
    concerned.length > 0 && concerned.every(({ remedy }) => WORDS_ONLY.includes(remedy));
  if (mode !== 'propose' || !isWordsOnly) return [];
  const what = [...new Set(concerned.map(({ remedy }) => remedy))].join(', ');
  return [
    {
      pointer: `${pointerTo(i)}/mode`,
      message: `${what} is for people to read: no action comes of it, whatever a rule says`,
      fix: 'Remove the rule, or name other actions.',
    },
  ];
}

function humanWarnings({ mode, hosts = [] }: SupervisorRule, i: number, policy: Policy) {
  if (mode !== 'approve' && mode !== 'earn') return [];
  return hosts.flatMap((host, j): PolicyProblem[] => {
    const always = policy.always_human_hosts.find((glob) => globCovers(glob, host));
    if (always === undefined) return [];
    const message = `on ${host} a person always decides (always_human_hosts: ${always}), so this rule only proposes there`;
    const fix = `Take ${host} out of the rule, or out of always_human_hosts.`;
    return [{ pointer: `${pointerTo(i)}/hosts/${j}`, message, fix }];
  });
}

/** Occasions on which a policy may approve. */
export const ACTING: readonly Occasion[] = OCCASIONS.filter(({ remedy }) =>
  ACTING_REMEDIES.includes(remedy),
);
