/** `lazarus doctor`: everything the runtime needs or can use of this host, each looked at by doing it. */
import { configurationProbes } from './configuration.ts';
import type { ConfigToExamine } from './configuration.ts';
import { examine } from './check.ts';
import type { Check } from './check.ts';
import { hostProbes } from './host.ts';
import { isolationProbes } from './isolation.ts';
import { missionsStateProbes, runningNode } from './missions-state.ts';
import { serviceProbes } from './services.ts';
import type { Environment } from './services.ts';
import { storageProbes } from './storage.ts';

export type { Check } from './check.ts';

export interface Examined extends ConfigToExamine {
  missionsDir: string;
  /** Why this folder: for people. */
  because: string;
  environment: Environment;
}

export function examineHost(what: Examined): Promise<Check[]> {
  const { missionsDir, because, environment } = what;
  return examine([
    ...hostProbes({ nodePid: runningNode(missionsDir) }),
    ...storageProbes(missionsDir, because),
    ...missionsStateProbes(missionsDir),
    ...configurationProbes(what),
    ...isolationProbes(),
    ...serviceProbes(environment),
  ]);
}

/** Whether nothing that is needed is missing. */
export const isFit = (checks: readonly Check[]): boolean =>
  !checks.some((check) => check.needed && check.state === 'missing');
