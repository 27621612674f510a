/**
 * From a file as people wrote it to a value with every default filled in. The files are schema-valid when they come
 * here, but a reader of stored content must not throw in the middle of a transition: what does not fit is taken as
 * absent. Results are remembered per content object, which is never changed in place, so asking again costs nothing.
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type {
  AgentFile,
  AutoRevive,
  CellFile,
  Criterion,
  IsolationFile,
  IsolationLevel,
  PermissionsFile,
  Policies,
  Priority,
  RestartIntensity,
  RetryPolicy,
  Role,
  Runner,
  Step,
  TaskFile,
} from './mission.ts';

const ROLES: readonly Role[] = ['lead', 'write', 'read', 'audit'];
const LEVELS: readonly IsolationLevel[] = ['none', 'level_1', 'level_2', 'level_3'];

/** `status` is a runtime field: the cell machine keeps the true one, this is what the file said when it had one. */
export const readCell = memoized((file): CellFile => {
  const restart = readRestart(file['restart']);
  return {
    cell_id: text(file['cell_id'], ''),
    mission_name: text(file['mission_name'], ''),
    created_at: text(file['created_at'], ''),
    created_by: text(file['created_by'], ''),
    status: oneOf(['active', 'paused', 'completed', 'failed'], file['status'], 'active'),
    isolation_level: oneOf(LEVELS, file['isolation_level'], 'level_1'),
    max_agents: number(file['max_agents'], 10),
    timeout: number(file['timeout'], 3600),
    policies: readPolicies(file['policies']),
    success_criteria: objects(file['success_criteria']).map(readCriterion),
    ...(restart && { restart }),
  };
});

export const readAgent = memoized((file): AgentFile => {
  const runner = readRunner(file['runner']);
  return {
    agent_id: text(file['agent_id'], ''),
    name: text(file['name'], ''),
    role: oneOf(ROLES, file['role'], 'read'),
    capabilities: texts(file['capabilities']),
    gateway: nullableText(file['gateway']),
    status: oneOf(['idle', 'active', 'paused', 'failed'], file['status'], 'idle'),
    ...(runner && { runner }),
    policies: readPolicies(file['policies']),
  };
});

export const readTask = memoized((file): TaskFile => {
  const requires = isJsonObject(file['requires']) ? file['requires'] : {};
  const role = ROLES.find((known) => known === requires['role']);
  return {
    task_id: text(file['task_id'], ''),
    title: text(file['title'], ''),
    description: text(file['description'], ''),
    assigned_to: nullableText(file['assigned_to']),
    status: oneOf(['pending', 'in_progress', 'completed', 'failed'], file['status'], 'pending'),
    priority: oneOf<Priority>(['high', 'medium', 'low'], file['priority'], 'medium'),
    dependencies: [...new Set(texts(file['dependencies']))],
    timeout: number(file['timeout'], 1800),
    artifacts: texts(file['artifacts']),
    steps: objects(file['steps']).map(readStep),
    requires: { ...(role && { role }), capabilities: texts(requires['capabilities']) },
    created_at: nullableText(file['created_at']),
  };
});

/** Absent fields stay absent: the caller combines levels, and must know what was asked for. */
export const readIsolation = memoized((file): IsolationFile => {
  const level = LEVELS.find((known) => known === file['level']);
  const limits = isJsonObject(file['resource_limits']) ? file['resource_limits'] : {};
  const context = isJsonObject(file['security_context']) ? file['security_context'] : {};
  return {
    ...(level && { level }),
    mount_namespaces: file['mount_namespaces'] === true,
    network_isolation: file['network_isolation'] === true,
    resource_limits: pickTexts(limits, ['cpu', 'memory', 'disk']),
    security_context: {
      ...pickTexts(context, ['user', 'group']),
      capabilities: texts(context['capabilities']),
    },
    on_unavailable: file['on_unavailable'] === 'show' ? 'show' : 'refuse',
  };
});

/** Only the fields that were given; see `effectivePolicies` for how the layers are combined. */
export function readPolicies(value: JsonValue | undefined): Partial<Policies> {
  if (!isJsonObject(value)) return {};
  const known: Partial<Policies> = {};
  const revive = (['yes', 'no', 'ask'] as AutoRevive[]).find((v) => v === value['auto_revive']);
  if (revive) known.auto_revive = revive;
  const approval = (['auto', 'manual'] as const).find((v) => v === value['handoff_approval']);
  if (approval) known.handoff_approval = approval;
  for (const key of [
    'revive_timeout',
    'checkpoint_interval',
    'max_retries',
    'ask_expires',
  ] as const) {
    const given = value[key];
    if (typeof given === 'number') known[key] = given;
  }
  const progress = value['progress_timeout'];
  if (typeof progress === 'number' || progress === null) known.progress_timeout = progress;
  for (const key of ['handoff_allowed', 'checkpoint_required'] as const) {
    const given = value[key];
    if (typeof given === 'boolean') known[key] = given;
  }
  if (Array.isArray(value['substitute_agents']))
    known.substitute_agents = texts(value['substitute_agents']);
  return known;
}

export const readPermissions = memoized((file): PermissionsFile =>
  Object.fromEntries(
    Object.entries(file).flatMap(([agentId, grant]) =>
      isJsonObject(grant)
        ? [
            [
              agentId,
              {
                read: texts(grant['read']),
                write: texts(grant['write']),
                execute: texts(grant['execute']),
                handoff_to: texts(grant['handoff_to']),
                handoff_from: texts(grant['handoff_from']),
              },
            ],
          ]
        : [],
    ),
  ),
);

function readStep(step: JsonObject): Step {
  return {
    name: text(step['name'], 'step'),
    run: texts(step['run']),
    retry: oneOf<RetryPolicy>(['safe', 'probe', 'never'], step['retry'], 'never'),
    ...(Array.isArray(step['probe']) && { probe: texts(step['probe']) }),
    ...(typeof step['timeout'] === 'number' && { timeout: step['timeout'] }),
  };
}

function readCriterion(criterion: JsonObject): Criterion {
  return {
    name: text(criterion['name'], ''),
    ...(Array.isArray(criterion['run']) && { run: texts(criterion['run']) }),
    ...(typeof criterion['timeout'] === 'number' && { timeout: criterion['timeout'] }),
  };
}

function readRunner(value: JsonValue | undefined): Runner | null {
  if (!isJsonObject(value)) return null;
  switch (value['kind']) {
    case 'command':
      return { kind: 'command', run: texts(value['run']) };
    case 'llm':
      return { kind: 'llm' };
    case 'remote':
      return { kind: 'remote' };
    default:
      return null;
  }
}

function readRestart(value: JsonValue | undefined): RestartIntensity | null {
  if (!isJsonObject(value)) return null;
  const { intensity, period } = value;
  return typeof intensity === 'number' && typeof period === 'number' ? { intensity, period } : null;
}

function memoized<T>(read: (file: JsonObject) => T): (file: JsonObject) => T {
  const known = new WeakMap<JsonObject, T>();
  return (file) => {
    const found = known.get(file);
    if (found !== undefined) return found;
    const value = read(file);
    known.set(file, value);
    return value;
  };
}

function text(value: JsonValue | undefined, fallback: string): string {
  return typeof value === 'string' ? value : fallback;
}

function nullableText(value: JsonValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}

function number(value: JsonValue | undefined, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}

function texts(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function objects(value: JsonValue | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

function oneOf<T extends string>(
  allowed: readonly T[],
  value: JsonValue | undefined,
  fallback: T,
): T {
  return allowed.find((known) => known === value) ?? fallback;
}

function pickTexts<K extends string>(from: JsonObject, keys: readonly K[]): { [P in K]?: string } {
  const found: { [P in K]?: string } = {};
  for (const key of keys) {
    const value = from[key];
    if (typeof value === 'string') found[key] = value;
  }
  return found;
}
