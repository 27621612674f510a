/** A look while no node runs: against what the last one left standing. Reads alone. */
import { existsSync } from 'node:fs';
import { SUPERVISOR } from '../../machines/addresses.ts';
import type { PolicyReading } from '../../cells/policy-file.ts';
import { missionsLayout } from '../../cells/layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { JsonObject } from '../../machines/json.ts';
import { Reconciler } from '../../machines/reconcile.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import { freshSupervisor } from '../../machines/supervisor-context.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import { readOffline } from '../offline.ts';
import { lookView } from '../verbs/supervising.ts';
import { DesiredSource } from './desired-source.ts';
import { lookOnce } from './looker.ts';
import type { SourceLog } from './source-log.ts';
import { WorldSource } from './world-source.ts';

export interface RehearsalOptions {
  layout: RuntimeLayout;
  inventory: string;
  aliases: Readonly<Record<string, string>>;
  /** One that is no good counts as none. */
  policy: PolicyReading;
  /** Folder of the missions, whose journal says what stands; need not exist. */
  missions: string;
}

export { noRuntime } from '../policy/no-runtime.ts';

/** What is wrong with a file is in the answer. */
const SILENT: SourceLog = { info: () => {}, warn: () => {} };

export async function rehearseWithout(options: RehearsalOptions): Promise<JsonObject> {
  const { layout, inventory, aliases, policy, missions } = options;
  const desired = new DesiredSource(inventory, {
    log: SILENT,
    aliases: new Map(Object.entries(aliases)),
    settleMs: 0,
  });
  const result = await lookOnce({
    at: Date.now(),
    now: Date.now(),
    desired,
    world: new WorldSource(layout.world, { log: SILENT }),
    reconciler: new Reconciler(),
    policy: policy.ok ? policy.policy.supervisor : DEFAULT_SUPERVISOR_POLICY,
    context: await contextIn(missions),
    openActions: () => [],
  });
  return lookView(result, { dryRun: true, inventory: desired.view() });
}

async function contextIn(missions: string): Promise<SupervisorContext> {
  if (!existsSync(missionsLayout(missions).own)) return freshSupervisor();
  const reader = await readOffline(missions, { version: '' }, {});
  const actor = reader.actor(SUPERVISOR);
  if (actor === undefined || 'held' in actor) return freshSupervisor();
  return actor.context as SupervisorContext;
}
