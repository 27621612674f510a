/**
 * Does this host give what the cell asks for? Never silently lowered (P9): a missing level is always refused; a missing
 * limit is refused too, unless the file says `on_unavailable: "show"`, and then it is shown as not enforced.
 */
import type { CellFile, HostCapabilities, IsolationFile, IsolationLevel } from './mission.ts';

const STRICTNESS: readonly IsolationLevel[] = ['none', 'level_1', 'level_2', 'level_3'];

export interface IsolationPlan {
  level: IsolationLevel;
  /** Every limit the files ask for and whether this host enforces it. */
  limits: { name: string; enforced: boolean }[];
  /** Why the cell may not run here; null when it may. */
  refusal: string | null;
  warnings: string[];
}

export function planIsolation(
  cell: Pick<CellFile, 'isolation_level'>,
  isolation: IsolationFile,
  host: HostCapabilities,
): IsolationPlan {
  const level = stricter(cell.isolation_level, isolation.level ?? cell.isolation_level);
  const limits = requestedLimits(isolation).map((name) => ({
    name,
    enforced: host.limits.includes(name),
  }));
  const warnings =
    isolation.level !== undefined && isolation.level !== cell.isolation_level
      ? [
          `cell.json asks for ${cell.isolation_level}, config/isolation.json for ${isolation.level}: ` +
            `the stricter ${level} holds`,
        ]
      : [];
  return { level, limits, refusal: refusalOf(level, limits, isolation, host), warnings };
}

export function stricter(a: IsolationLevel, b: IsolationLevel): IsolationLevel {
  return STRICTNESS.indexOf(a) >= STRICTNESS.indexOf(b) ? a : b;
}

function requestedLimits(isolation: IsolationFile): string[] {
  const { resource_limits: limits = {}, security_context: context = {} } = isolation;
  const asked: [string, boolean][] = [
    ['cpu', limits.cpu !== undefined],
    ['memory', limits.memory !== undefined],
    ['disk', limits.disk !== undefined],
    ['network', isolation.network_isolation === true],
    ['mount', isolation.mount_namespaces === true],
    ['user', context.user !== undefined || context.group !== undefined],
    ['capabilities', (context.capabilities ?? []).length > 0],
  ];
  return asked.filter(([, wanted]) => wanted).map(([name]) => name);
}

function refusalOf(
  level: IsolationLevel,
  limits: IsolationPlan['limits'],
  isolation: IsolationFile,
  host: HostCapabilities,
): string | null {
  if (!host.levels.includes(level))
    return (
      `isolation ${level} is not available on this host (it has ${host.levels.join(', ')}): ` +
      `ask for one of these in cell.json and config/isolation.json, or run the cell on a host that has ${level}`
    );
  const missing = limits.filter((limit) => !limit.enforced).map((limit) => limit.name);
  if (missing.length === 0 || isolation.on_unavailable === 'show') return null;
  return (
    `this host cannot enforce ${missing.join(', ')} as config/isolation.json asks: remove what is missing, ` +
    `or set "on_unavailable": "show" there to run without and have it shown as not enforced`
  );
}
