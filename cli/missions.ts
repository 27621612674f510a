/**
 * Which missions folder a verb speaks of: `--missions`, else LAZARUS_MISSIONS, else `missions_path` of the daemon's
 * configuration, else `/var/missions`, else `./var/missions`.
 */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { configPlace, configuredMissions } from '../cells/config-place.ts';
import type { ConfigPlace } from '../cells/config-place.ts';
import { SYSTEM_MISSIONS } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';

export interface Missions {
  /** Absolute. */
  dir: string;
  /** Why this one: for people. */
  because: string;
}

const SYSTEM_WIDE = SYSTEM_MISSIONS;
const LOCAL = 'var/missions';

/**
 * Makes nothing: for verbs that only look, and for those that say themselves what they make. Throws FILE_INVALID when there
 * is a configuration and it cannot be understood: another folder would be another node.
 */
export function chooseMissions(
  option: string | undefined,
  config = configPlace(undefined, process.env),
): Missions {
  if (option) return { dir: resolve(option), because: 'named by --missions' };
  const variable = process.env['LAZARUS_MISSIONS'];
  if (variable) return { dir: resolve(variable), because: 'named by LAZARUS_MISSIONS' };
  const configured = configuredMissions(config);
  if (configured !== undefined && configured !== SYSTEM_WIDE)
    return { dir: configured, because: `missions_path of ${config.file}` };
  const dir = isUsable(SYSTEM_WIDE) ? SYSTEM_WIDE : resolve(LOCAL);
  if (dir === SYSTEM_WIDE) return { dir, because: 'the default' };
  return { dir, because: `${SYSTEM_WIDE} cannot be used by this user` };
}

/** For verbs that begin something. Throws INVALID_ARGUMENT when the folder cannot be made. */
export function makeMissions(option: string | undefined, config?: ConfigPlace): Missions {
  const missions = chooseMissions(option, config);
  try {
    mkdirSync(missions.dir, { recursive: true });
    return missions;
  } catch (cause) {
    throw new RuntimeError(`the missions folder ${missions.dir} cannot be made: ${String(cause)}`, {
      code: 'INVALID_ARGUMENT',
      cause,
      hint: 'Name a folder that this user may write to: --missions DIR',
    });
  }
}

/** Throws NOT_FOUND: there is nothing to look at. */
export function requireMissions(missions: Missions): void {
  if (statSync(missions.dir, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new RuntimeError(`there is no missions folder ${missions.dir} (${missions.because})`, {
    code: 'NOT_FOUND',
    hint: 'Begin one with `lazarus up`, or name another with --missions DIR.',
  });
}

/** It is there and ours to use, or we may make it. */
function isUsable(path: string): boolean {
  const { R_OK, W_OK, X_OK } = constants;
  if (isAllowed(path, R_OK | W_OK | X_OK)) return true;
  return (
    statSync(path, { throwIfNoEntry: false }) === undefined && isAllowed(dirname(path), W_OK | X_OK)
  );
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false; // whatever the reason: it is not to be used
  }
}
