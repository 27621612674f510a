/** Policies as people may write them: from none at all to one that approves nearly everything. */
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import type { Policy } from '../../machines/remediation.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import type { SupervisorLimits, SupervisorRule } from '../../machines/supervision.ts';
import type { Chance } from './simulated-chance.ts';
import { ACTING } from './supervision.ts';

export type PolicyKind = 'default' | 'propose' | 'approve' | 'earn' | 'mixed';
export const POLICY_KINDS: readonly PolicyKind[] = [
  'default',
  'propose',
  'approve',
  'approve',
  'approve',
  'earn',
  'mixed',
];

export function policyOf(kind: PolicyKind, chance: Chance): Policy {
  if (kind === 'default') return { ...DEFAULT_POLICY, always_human_hosts: [] };
  const most = (value: number): number | undefined => (chance.is(0.5) ? value : undefined);
  return {
    ...DEFAULT_POLICY,
    always_human_hosts: chance.is(0.3) ? [chance.pick(['h1', 'h2*', '*3'])] : [],
    rate_limits: withoutGaps({
      per_hour: chance.is(0.2) ? chance.between(2, 20) : undefined,
      per_service_per_hour: chance.is(0.2) ? chance.between(1, 5) : undefined,
    }),
    blast_radius: withoutGaps({
      per_host_at_once: most(chance.between(1, 2)),
      actions_at_once: most(chance.between(1, 5)),
      hosts_at_once: most(chance.between(1, 3)),
    }),
    closed_windows: chance.is(0.1) ? [windowFrom(chance)] : [],
    approval_expires: chance.pick([120, 600, 3600]),
    supervisor: {
      ...DEFAULT_SUPERVISOR_POLICY,
      rules: rulesOf(kind, chance),
      limits: limitsOf(chance),
      verify_within: chance.pick([60, 180, 300]),
      doubt_above_percent: chance.pick([30, 50, 80]),
    },
  };
}

function limitsOf(chance: Chance): SupervisorLimits {
  const most = (value: number): number | undefined => (chance.is(0.5) ? value : undefined);
  return withoutGaps({
    approvals_per_hour: most(chance.between(1, 20)),
    approvals_per_target_per_hour: most(chance.between(1, 3)),
    hosts_at_once: most(chance.between(1, 3)),
    actions_at_once: most(chance.between(1, 6)),
    percent_at_once: most(chance.between(1, 30)),
  });
}

function rulesOf(kind: Exclude<PolicyKind, 'default'>, chance: Chance): SupervisorRule[] {
  const windows = chance.is(0.15) ? { windows: [windowFrom(chance)] } : {};
  if (kind === 'propose') return [{ name: 'ask', mode: 'propose' }];
  if (kind === 'approve') return [{ name: 'go', actions: ACTING, mode: 'approve', ...windows }];
  if (kind === 'earn')
    return [
      { name: 'earn', actions: ACTING, mode: 'earn', after: chance.between(1, 2), ...windows },
    ];
  return [
    { name: 'leave', hosts: ['h0', 'h4*'], mode: 'recommend' },
    { name: 'disks', actions: ['disk_cleanup'], mode: 'propose' },
    { name: 'restarts', actions: ['container_restart'], mode: 'approve', ...windows },
    { name: 'rest', actions: ['redeploy'], mode: 'earn', after: 1 },
    { name: 'ask', mode: 'propose' },
  ];
}

function windowFrom(chance: Chance): { from: string; to: string } {
  const hour = chance.between(0, 23);
  const text = (at: number): string => `${String(at % 24).padStart(2, '0')}:30`;
  return { from: text(hour), to: text(hour + chance.between(1, 4)) };
}

const withoutGaps = <T extends Record<string, number | undefined>>(
  record: T,
): { [K in keyof T]?: number } =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: number;
  };
