/**
 * Planner, actions, gate and executor on a runtime folder: opened together, for they share its policy, and by one node alone.
 * Without a folder there is none of them.
 */
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { openActionsDoor } from '../actors/actions/actions-door.ts';
import { failureNotice } from '../actors/executor/escalation.ts';
import { openExecutor } from '../actors/executor/executor.ts';
import type { OpenExecutor } from '../actors/executor/executor.ts';
import { natsHostsIn } from '../actors/nats-hosts.ts';
import type { NatsHosts } from '../actors/nats-hosts.ts';
import { openNatsHomelab } from '../actors/nats-homelab.ts';
import type { MissionNode, OpenDoor } from '../actors/node.ts';
import type { Bus } from '../bus/bus.ts';
import { askInventory } from '../actors/observer/known-hosts.ts';
import { openObserverDoor } from '../actors/observer/observer-door.ts';
import { openPlannerDoor } from '../actors/planner/planner-door.ts';
import type { PlannerDoorOptions } from '../actors/planner/planner-door.ts';
import { PolicySource } from '../actors/planner/policy-source.ts';
import { holdSupervisor } from '../actors/supervisor/hold.ts';
import { openSupervisorDoor } from '../actors/supervisor/supervisor-door.ts';
import { openHolding } from '../actors/runtime-holding.ts';
import { outputFolder, runtimeLayout } from '../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../cells/runtime-layout.ts';
import type { RuntimeOwner } from '../cells/runtime-owner.ts';
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
  /** Whom our own NATS server lets in. */
  hosts?: NatsHosts | undefined;
  log: Log;
}

/** In the order in which they are to be closed. Throws RuntimeError INVALID_ARGUMENT when the folder cannot be had. */
export async function openRemediationDoors(
  node: MissionNode,
  options: RemediationOptions,
): Promise<OpenDoor[]> {
  const { config, bus, log } = options;
  const layout = runtimeLayout(makeRuntime(config.runtime_path, log));
  const holding = await openHolding(node, {
    layout,
    open: (before) => openOnFolder(node, { layout, before }, options),
    log,
  });
  const homelab = bus === null ? [] : [await openNatsHomelab(node, { bus, log })];
  return [...homelab, holding];
}

/** In the order in which they are to be closed; all or none. `before`: who acted on the folder last. */
async function openOnFolder(
  node: MissionNode,
  { layout, before }: { layout: RuntimeLayout; before: RuntimeOwner | null },
  { config, router, bus, hosts, log }: RemediationOptions,
): Promise<OpenDoor[]> {
  const doors: OpenDoor[] = [];
  try {
    const policy = await PolicySource.open({ layout, log });
    doors.unshift({ nodeFile: {}, close: () => policy.close() });
    const nodeName = config.node_name ?? hostname();
    const inventory = config.inventory_path ?? join(layout.root, 'inventory');
    const executor = await openExecutor({
      file: layout.executorFile,
      nodeId: node.nodeId,
      localHosts: [...new Set([nodeName, hostname()])],
      cgroups: node.cgroups,
      agents: bus,
      onTaken: (config) => void hosts?.admit(natsHostsIn(config)),
      log,
    });
    doors.unshift({ nodeFile: {}, close: () => executor.close() });
    await holdSupervisor(node.kernel.system); // before what an earlier life began goes on
    const actions = await openActionsDoor(node, {
      layout,
      before,
      nodeName,
      mode: config.executor,
      executor,
      escalate: (about, key, signal) => escalate(executor, { layout, about, key, signal }),
      loadPolicy: () => policy.current.policy,
      onPolicyChange: (listener) => policy.onChange(listener),
      log,
    });
    doors.unshift(actions);
    const planner = await openPlannerDoor(node, {
      layout,
      inventory,
      nodeName,
      cooldownSeconds: config.cooldown,
      router,
      policy,
      log,
    });
    doors.unshift(planner);
    const observer = await openObserverDoor(node, {
      layout,
      mode: config.observer,
      aliases: config.node_aliases,
      inventory: askInventory(inventory, config.node_aliases),
      log,
    });
    doors.unshift(observer);
    const supervisor = await openSupervisorDoor(node, {
      layout,
      inventory,
      aliases: config.node_aliases,
      nodeName,
      policy,
      intervalMs: config.reconcile_interval * 1000,
      eventsLog: config.agent_events_log,
      checkpoint: config.supervisor_checkpoint,
      actions,
      log,
    });
    doors.unshift(supervisor);
    return doors;
  } catch (error) {
    for (const door of doors) await door.close();
    throw error;
  }
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
  const run = failureNotice(about);
  try {
    await executor.plan(run);
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'NOT_CONFIGURED') return;
    throw error;
  }
  const folder = join(outputFolder(layout, run.actionId), 'escalation');
  const outcome = await executor.run(run, { key, signal, outputFolder: folder });
  if (!outcome.ok)
    throw new RuntimeError(outcome.reason ?? 'nobody could be notified', { code: 'STEP_FAILED' });
}
