/**
 * The words of a mission cell's files as types. Source: the Mission Cell specification and our additions to it.
 * Durations are seconds, timestamps ISO-8601 UTC, unknown fields are kept wherever a file is rewritten.
 * These are the forms *people write*: optional fields may be absent; mission-defaults.ts fills them.
 */
import type { JsonObject } from './json.ts';

export type CellStatus = 'active' | 'paused' | 'completed' | 'failed';
export type AgentStatus = 'idle' | 'active' | 'paused' | 'failed';
export type TaskStatus = 'pending' | 'in_progress' | 'completed' | 'failed';
export type Priority = 'high' | 'medium' | 'low';
export type Role = 'lead' | 'write' | 'read' | 'audit';
export type IsolationLevel = 'none' | 'level_1' | 'level_2' | 'level_3';
export type AutoRevive = 'yes' | 'no' | 'ask';
/** What to do with a step whose outcome is unknown: run it again, ask its probe, or show it as in doubt. */
export type RetryPolicy = 'safe' | 'probe' | 'never';

export interface Step {
  name: string;
  /** argv: no shell. */
  run: string[];
  retry: RetryPolicy;
  probe?: string[];
  /** Seconds of active time. */
  timeout?: number;
  /** Ours, and in no file: the task is put to a model, in one question; `run` is empty. */
  asks?: true;
}

export interface Policies {
  auto_revive: AutoRevive;
  /** Seconds one revival may take from failed to verified. */
  revive_timeout: number;
  substitute_agents: string[];
  handoff_allowed: boolean;
  handoff_approval: 'auto' | 'manual';
  checkpoint_required: boolean;
  checkpoint_interval: number;
  /** Revivals without a finished step before Lazarus stops trying. */
  max_retries: number;
  /** Ours: seconds a step may show no sign of progress before its agent counts as stuck; null: it is only shown. */
  progress_timeout: number | null;
  /** Ours: seconds a question to people stays open. */
  ask_expires: number;
}

export interface RestartIntensity {
  /** How many restarts are allowed ... */
  intensity: number;
  /** ... within this many seconds. */
  period: number;
}

export interface Criterion {
  name: string;
  run?: string[];
  timeout?: number;
}

export type Runner = { kind: 'command'; run: string[] } | { kind: 'llm' } | { kind: 'remote' };

export interface CellFile {
  cell_id: string;
  mission_name: string;
  created_at: string;
  created_by: string;
  status: CellStatus;
  isolation_level: IsolationLevel;
  max_agents: number;
  timeout: number;
  policies: Partial<Policies>;
  success_criteria: Criterion[];
  restart?: RestartIntensity;
}

export interface AgentFile {
  agent_id: string;
  name: string;
  role: Role;
  capabilities: string[];
  gateway: string | null;
  status: AgentStatus;
  runner?: Runner;
  policies: Partial<Policies>;
}

export interface TaskFile {
  task_id: string;
  title: string;
  description: string;
  assigned_to: string | null;
  status: TaskStatus;
  priority: Priority;
  dependencies: string[];
  timeout: number;
  artifacts: string[];
  steps: Step[];
  requires: { role?: Role; capabilities: string[] };
  created_at: string | null;
}

export interface IsolationFile {
  level?: IsolationLevel;
  mount_namespaces?: boolean;
  network_isolation?: boolean;
  resource_limits?: { cpu?: string; memory?: string; disk?: string };
  security_context?: { user?: string; group?: string; capabilities?: string[] };
  on_unavailable?: 'refuse' | 'show';
}

export interface Grant {
  /** Task ids. */
  read: string[];
  write: string[];
  execute: string[];
  /** Agent ids. */
  handoff_to: string[];
  handoff_from: string[];
}
export type PermissionsFile = Record<string, Partial<Grant>>;

export const DEFAULT_POLICIES: Policies = {
  auto_revive: 'ask',
  revive_timeout: 300,
  substitute_agents: [],
  handoff_allowed: true,
  handoff_approval: 'manual',
  checkpoint_required: true,
  checkpoint_interval: 300,
  max_retries: 3,
  progress_timeout: null,
  ask_expires: 86_400,
};

export const DEFAULT_RESTART: RestartIntensity = { intensity: 5, period: 60 };

/** Which file of a cell a path is. `id` in a FileChange is the agent's or task's id, else the kind itself. */
export type FileKind = 'cell' | 'agent' | 'task' | 'isolation' | 'policies' | 'permissions';

/** One file of a cell as its door read it: parsed, schema-valid, defaults not yet filled in; null when it was removed. */
export interface FileChange {
  /** Relative to the cell's folder, with forward slashes: `cell.json`, `tasks/build.json`, `config/policies.json`. */
  path: string;
  kind: FileKind;
  id: string;
  content: JsonObject | null;
}

/** What this host and build can enforce; a cell that asks for more is held (P9). */
export interface HostCapabilities {
  levels: IsolationLevel[];
  /** Names of enforceable limits: `cpu`, `memory`, `disk`, `network`, `mount`, `user`, `capabilities`. */
  limits: string[];
}
