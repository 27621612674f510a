/**
 * Which policy holds for one agent, and which file said so: `lazarus why` shows the origin beside the value.
 * Precedence of explicit values: agent file > cell.json > config/policies.json > daemon > the specification's default.
 */
import { DEFAULT_POLICIES } from './mission.ts';
import type { Policies } from './mission.ts';

export type PolicyOrigin =
  'agent file' | 'cell.json' | 'config/policies.json' | 'daemon' | 'default';

export interface PolicyLayers {
  agent: Partial<Policies>;
  cell: Partial<Policies>;
  config: Partial<Policies>;
  /** From the daemon's configuration; what it leaves out is the specification's default. */
  daemon: Partial<Policies>;
}

export interface EffectivePolicies {
  values: Policies;
  origins: Record<keyof Policies, PolicyOrigin>;
}

export function effectivePolicies(layers: PolicyLayers): EffectivePolicies {
  return {
    values: {
      ...DEFAULT_POLICIES,
      ...layers.daemon,
      ...layers.config,
      ...layers.cell,
      ...layers.agent,
    },
    origins: {
      auto_revive: originOf('auto_revive', layers),
      revive_timeout: originOf('revive_timeout', layers),
      substitute_agents: originOf('substitute_agents', layers),
      handoff_allowed: originOf('handoff_allowed', layers),
      handoff_approval: originOf('handoff_approval', layers),
      checkpoint_required: originOf('checkpoint_required', layers),
      checkpoint_interval: originOf('checkpoint_interval', layers),
      max_retries: originOf('max_retries', layers),
      progress_timeout: originOf('progress_timeout', layers),
      ask_expires: originOf('ask_expires', layers),
    },
  };
}

function originOf(key: keyof Policies, layers: PolicyLayers): PolicyOrigin {
  if (layers.agent[key] !== undefined) return 'agent file';
  if (layers.cell[key] !== undefined) return 'cell.json';
  if (layers.config[key] !== undefined) return 'config/policies.json';
  return layers.daemon[key] !== undefined ? 'daemon' : 'default';
}
