/**
 * What a person wrote in the policy file, as the guardrails and the gate use it. The file's form is checked by its schema
 * (cells/policy-file.ts); what a schema cannot say is checked here, with JSON pointers.
 */
import { eventRuleProblems } from './event-rule-checks.ts';
import type { JsonObject } from './json.ts';
import { DEFAULT_POLICY } from './remediation.ts';
import type { Policy } from './remediation.ts';
import { DEFAULT_SUPERVISOR_POLICY } from './supervision.ts';
import { supervisorRules } from './supervisor-rules.ts';
import { windowsRules } from './window-rules.ts';
import type { PolicyProblem } from './window-rules.ts';

/** Each key by itself: what is left out is as in `DEFAULT_POLICY`. Only for content that fits schema and rules. */
export function policyOf(content: JsonObject): Policy {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema's promise
  const given = content as Partial<Policy>;
  return {
    ...DEFAULT_POLICY,
    ...Object.fromEntries(Object.entries(given).filter(([key]) => Object.hasOwn(KEYS, key))),
    rate_limits: { ...DEFAULT_POLICY.rate_limits, ...given.rate_limits },
    blast_radius: { ...DEFAULT_POLICY.blast_radius, ...given.blast_radius },
    supervisor: {
      ...DEFAULT_SUPERVISOR_POLICY,
      ...given.supervisor,
      limits: { ...DEFAULT_SUPERVISOR_POLICY.limits, ...given.supervisor?.limits },
    },
  };
}
const KEYS: Record<keyof Policy, true> = {
  always_human_hosts: true,
  always_notify_types: true,
  confidence_floor: true,
  event_rules: true,
  closed_windows: true,
  open_windows: true,
  rate_limits: true,
  blast_radius: true,
  approval_expires: true,
  supervisor: true,
};

/** What is wrong with content that fits its schema. */
export function policyRules(content: JsonObject): PolicyProblem[] {
  const windows = (['closed_windows', 'open_windows'] as const).flatMap((key) =>
    windowsRules(content[key], `/${key}`),
  );
  return [
    ...windows,
    ...eventRuleProblems(content['event_rules']),
    ...supervisorRules(content['supervisor']),
  ];
}
