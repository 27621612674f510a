/** `lazarus doctor`: everything the runtime needs or can use of this host, each looked at by doing it. */
import { configurationProbes } from './configuration.ts';
import type { ConfigToExamine } from './configuration.ts';
import { examine } from './check.ts';
import type { Check } from './check.ts';
import { homelabProbes } from './homelab.ts';
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
  /** What a node that runs here was told. */
  running?: { runtime?: string | null; redis?: string | null };
}

export async function examineHost(what: Examined): Promise<Check[]> {
  const { missionsDir, because, environment, running = {} } = what;
  const told = await what.load().then(
    ({ values }) => values,
    () => undefined, // what is wrong with it is a line of its own
  );
  const { runtime_path: planned = 'off', node_name: nodeName = null } = told ?? {};
  const { inventory_path: inventory = null, node_aliases: aliases = {} } = told ?? {};
  const runtime = planned === 'off' ? (running.runtime ?? 'off') : planned;
  const nodePid = runningNode(missionsDir);
  return examine([
    ...hostProbes({ nodePid }),
    ...storageProbes(missionsDir, because),
    ...missionsStateProbes(missionsDir),
    ...configurationProbes(what),
    ...isolationProbes(),
    ...serviceProbes(environment, {
      ...told,
      bridged: running.redis ?? null,
      isRunning: nodePid !== null,
    }),
    ...homelabProbes({ runtime, nodeName, inventory, aliases }),
  ]);
}

/** Whether nothing that is needed is missing. */
export const isFit = (checks: readonly Check[]): boolean =>
  !checks.some((check) => check.needed && check.state === 'missing');
