/**
 * Planner, actions, gate and executor on a runtime folder: opened together, for they share its policy. Without a folder there is
 * none of them.
 */
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { openActionsDoor } from '../actors/actions/actions-door.ts';
import { openExecutor } from '../actors/executor/executor.ts';
import type { OpenExecutor } from '../actors/executor/executor.ts';
import { openNatsHomelab } from '../actors/nats-homelab.ts';
import type { MissionNode, OpenDoor } from '../actors/node.ts';
import type { Bus } from '../bus/bus.ts';
import { openPlannerDoor } from '../actors/planner/planner-door.ts';
import type { PlannerDoorOptions } from '../actors/planner/planner-door.ts';
import { PolicySource } from '../actors/planner/policy-source.ts';
import { outputFolder, runtimeLayout } from '../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../cells/runtime-layout.ts';
import { HOMELAB_RUNTIME } from '../machines/daemon-config.ts';
import type { DaemonConfig } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Log } from './log.ts';

export interface RemediationOptions {
  config: DaemonConfig;
  router: PlannerDoorOptions['router'];
  /** Null: there is none. */
  bus: Bus | null;
  log: Log;
}

/** In the order in which they are to be closed. Throws RuntimeError INVALID_ARGUMENT when the folder cannot be had. */
export async function openRemediationDoors(
  node: MissionNode,
  { config, router, bus, log }: RemediationOptions,
): Promise<OpenDoor[]> {
  const layout = runtimeLayout(makeRuntime(config.runtime_path, log));
  const nodeName = config.node_name ?? hostname();
  const policy = await PolicySource.open({ layout, log });
  const { nodeId, cgroups } = node;
  const executor = await openExecutor({
    file: layout.executorFile,
    nodeId,
    localHosts: [...new Set([nodeName, hostname()])],
    cgroups,
    agents: bus,
    log,
  });
  const actions = await openActionsDoor(node, {
    layout,
    mode: config.executor,
    executor,
    escalate: (about, key, signal) => escalate(executor, { layout, about, key, signal }),
    loadPolicy: () => policy.current.policy,
    onPolicyChange: (listener) => policy.onChange(listener),
    log,
  });
  const planner = await openPlannerDoor(node, {
    layout,
    inventory: config.inventory_path ?? join(layout.root, 'inventory'),
    nodeName,
    cooldownSeconds: config.cooldown,
    router,
    policy,
    log,
  });
  const shared: OpenDoor = {
    nodeFile: {},
    async close() {
      await executor.close();
      await policy.close();
    },
  };
  const homelab = bus === null ? [] : [await openNatsHomelab(node, { bus, log })];
  return [...homelab, planner, actions, shared];
}

/** The usual place may belong to somebody else: then it is a folder of ours, and that is said. */
function makeRuntime(path: string, log: Log): string {
  try {
    mkdirSync(path, { recursive: true });
    return path;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    if (path !== HOMELAB_RUNTIME)
      throw new RuntimeError(`the runtime folder ${path} cannot be made: ${why}`, {
        code: 'INVALID_ARGUMENT',
        cause,
        hint: 'Name a folder that this user may write to: --runtime DIR',
      });
    const local = resolve(HOMELAB_RUNTIME.slice(1));
    mkdirSync(local, { recursive: true });
    log.warn({ wanted: path, taken: local, reason: why }, 'the runtime folder is another one');
    return local;
  }
}

/** Whoever is to be notified hears of an action that failed; the status and the log say it anyway. */
async function escalate(
  executor: OpenExecutor,
  {
    layout,
    about,
    key,
    signal,
  }: { layout: RuntimeLayout; about: JsonObject; key: string; signal: AbortSignal },
): Promise<void> {
  const text = (name: string): string => {
    const value = about[name];
    return typeof value === 'string' ? value : '';
  };
  const actionId = text('action_id');
  const run = {
    actionId,
    type: 'notify',
    host: text('host') || text('node'),
    service: text('service'),
    payload: about,
    content: about,
    sha256: '',
  };
  try {
    await executor.plan(run);
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'NOT_CONFIGURED') return;
    throw error;
  }
  const folder = join(outputFolder(layout, actionId), 'escalation');
  const outcome = await executor.run(run, { key, signal, outputFolder: folder });
  if (!outcome.ok)
    throw new RuntimeError(outcome.reason ?? 'nobody could be notified', { code: 'STEP_FAILED' });
}
