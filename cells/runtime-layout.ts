/**
 * The folder that a homelab's programs share (`RUNTIME_PATH`): proposed actions, events, state of agents and the observed
 * world. Others read and write it beside us, so names and places are as they are there.
 */
import { dirname, join } from 'node:path';
import { ACTION_STATUSES } from '../machines/remediation.ts';
import type { ActionStatus } from '../machines/remediation.ts';
import { encodeName } from './layout.ts';

export interface RuntimeLayout {
  root: string;
  /** By status; files `<action_id>.json`. */
  actions: Record<ActionStatus, string>;
  /** `YYYY-MM-DD/<host>/evt-....json` */
  events: string;
  state: string;
  plannerHeartbeat: string;
  world: string;
  /** How far the event files were read, host by host; without it the world is made anew from them. */
  observerCheckpoint: string;
  observerHeartbeat: string;
  /** By which our own files in `world` are known. */
  observerMark: string;
  /** What comes of the comparison of desired and observed, for other programs. */
  worldSummary: string;
  agentEventsLog: string;
  supervisorCheckpoint: string;
  /** What classes of actions have earned; people may take it back there. */
  autonomyFile: string;
  /** What the gate and the guardrails go by; need not exist. */
  policyFile: string;
  /** How hosts are reached and what may be run there; need not exist. */
  executorFile: string;
  /** Of what actions put out, a folder each. */
  output: string;
}

export function runtimeLayout(root: string): RuntimeLayout {
  const state = join(root, 'state');
  const actions = Object.fromEntries(
    ACTION_STATUSES.map((status) => [status, join(root, 'actions', status)]),
  ) as Record<ActionStatus, string>;
  return {
    root,
    actions,
    events: join(root, 'events'),
    state,
    plannerHeartbeat: join(state, 'planner-agent.heartbeat'),
    world: join(root, 'world'),
    observerCheckpoint: join(state, 'observer_checkpoint.json'),
    observerHeartbeat: join(state, 'observer.heartbeat'),
    observerMark: join(state, 'lazarus', 'observer.json'),
    worldSummary: join(root, 'world', 'runtime-summary.json'),
    agentEventsLog: join(state, 'agent-events.log'),
    supervisorCheckpoint: join(state, 'supervisor-checkpoint.json'),
    autonomyFile: join(state, 'autonomy.json'),
    policyFile: join(root, 'config', 'policy.json'),
    executorFile: join(root, 'config', 'executor.json'),
    output: join(state, 'lazarus', 'actions'),
  };
}

/** Of what is the runtime's own in there, and nobody else's. */
export const ownFolder = ({ output }: Pick<RuntimeLayout, 'output'>): string => dirname(output);

/** What the runs of one action put out. */
export const outputFolder = ({ output }: Pick<RuntimeLayout, 'output'>, actionId: string): string =>
  join(output, encodeName(actionId));
