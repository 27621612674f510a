/**
 * The planner as one of the node's doors: opens on a runtime folder, listens to the bridges, gives the sign of life that
 * other programs watch, and shows what it is doing.
 *
 * D1 What was asked of it in an earlier life is finished: its incidents go on by themselves once their effects are bound.
 * D2 A journal that cannot be written just now keeps nothing from opening: the planner begins when it can.
 * D3 A watcher that is stopped for good is struck off the list.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { incidentAddress, PLANNER } from '../../machines/addresses.ts';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import { heardIn } from '../../machines/incident-context.ts';
import { enrolled } from '../../machines/incident-roll.ts';
import type { JsonObject } from '../../machines/json.ts';
import { serviceKey } from '../../machines/health-event.ts';
import type { PlannerContext } from '../../machines/planner-context.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import type { MissionNode, OpenDoor } from '../node.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import { BridgeSubscription } from './bridge-subscription.ts';
import { Heartbeat } from './heartbeat.ts';
import { bindIncidentEffects } from './incident-effects.ts';
import type { Router } from './incident-effects.ts';
import { incidentState, IncidentView } from './incident-view.ts';
import { logHeard } from './planner-log.ts';
import type { PlannerLog } from './planner-log.ts';
import { PolicySource } from './policy-source.ts';
import { Topology } from './topology.ts';

export interface PlannerDoorOptions {
  layout: RuntimeLayout;
  /** Folder of `topology.yaml` and `hosts/`. */
  inventory: string;
  /** What this machine is called in events of ours. */
  nodeName: string;
  cooldownSeconds: number;
  router: Router;
  log: PlannerLog;
  /** One that others use too; left out, the door opens one of its own. */
  policy?: PolicySource;
  /** Diagnoses at a time. Default 4. */
  atOnce?: number;
  /** Between two touches of the heartbeat, ms. Default 4000. */
  heartbeatMs?: number;
}

const AGAIN_MS = 1000;

export async function openPlannerDoor(
  node: MissionNode,
  options: PlannerDoorOptions,
): Promise<OpenDoor> {
  const { layout, log, nodeName } = options;
  const { system } = node.kernel;
  makeFolders(layout);
  const policy = options.policy ?? (await PolicySource.open({ layout, log }));
  const topology = new Topology(options.inventory, log);
  bindIncidentEffects(system.effects, {
    router: options.router,
    policy: () => policy.current,
    topology: () => topology.hosts(),
    nodeName,
    events: layout.events,
    heard: (host, service) => heardOf(system, incidentAddress(host, service)),
    log,
    ...(options.atOnce === undefined ? {} : { atOnce: options.atOnce }),
  }); // D1
  const view = new IncidentView(system, { root: layout.root, log });
  const heartbeat = new Heartbeat(layout.plannerHeartbeat, log);
  const root = new PlannerRoot(system, options);
  await root.start();
  void view.fill(root.incidents()).catch((error: unknown) => {
    log.warn({ error: toPlainError(error).message }, 'incidents of earlier lives are not counted');
  });
  await heartbeat.start(options.heartbeatMs);
  log.info({ channels: ['health_events', 'world_updates'], node: nodeName }, 'planner_started');
  return {
    nodeFile: { runtime: layout.root },
    parts: () => ({
      planner: {
        ...root.status(),
        ...view.counts(),
        heartbeat: heartbeat.view(),
        policy: policy.view(),
        inventory: topology.view(),
      },
    }),
    async close() {
      root.stop();
      view.close();
      await heartbeat.stop();
      if (options.policy === undefined) await policy.close();
      log.info({ node: nodeName }, 'planner_stopped');
    },
  };
}

function heardOf(system: ActorSystem, address: string): Readonly<Record<string, number>> {
  if (!system.has(address)) return {};
  const state = incidentState(system, address);
  return state === undefined ? {} : heardIn(state.context);
}

/** Those that other programs of the homelab expect. Throws what the file system throws. */
function makeFolders({ actions, events, state }: RuntimeLayout): void {
  for (const folder of [...Object.values(actions), events, state])
    mkdirSync(folder, { recursive: true });
}

const NO_CONTEXT: Partial<PlannerContext> = {};

/** The planner's actor, as the door sees it. */
class PlannerRoot {
  readonly #system: ActorSystem;
  readonly #log: PlannerLog;
  readonly #cooldownSeconds: number;
  readonly #subscription: BridgeSubscription;
  readonly #stopping = new AbortController();
  #trouble: string | null = null;

  constructor(system: ActorSystem, { log, cooldownSeconds }: PlannerDoorOptions) {
    this.#system = system;
    this.#log = log;
    this.#cooldownSeconds = cooldownSeconds;
    this.#subscription = new BridgeSubscription(system, log);
  }

  async start(): Promise<void> {
    this.#system.on('committed', this.#committed);
    if (!(await this.#begin())) void this.#keepTrying();
  }

  stop(): void {
    this.#stopping.abort();
    this.#subscription.stop();
    this.#system.off('committed', this.#committed);
  }

  context(): PlannerContext {
    return this.#system.read(PLANNER).snapshot.context as PlannerContext;
  }

  incidents(): string[] {
    const { roll } = this.#contextIfThere();
    return roll ? enrolled(roll) : [];
  }

  status(): JsonObject {
    const { events, benign, refused, lastRefused, gaps, watchers } = this.#contextIfThere();
    const state = this.#trouble === null && events !== undefined ? 'up' : 'down';
    return {
      state,
      ...(this.#trouble === null ? {} : { reason: this.#trouble }),
      cooldown_seconds: this.#cooldownSeconds,
      events: events ?? 0,
      benign: benign ?? 0,
      refused: refused ?? 0,
      last_refused: lastRefused ? { ...lastRefused, at: isoFromEpoch(lastRefused.at) } : null,
      gaps: gaps ?? 0,
      watchers: Object.keys(watchers ?? {}).length,
    };
  }

  #contextIfThere(): Partial<PlannerContext> {
    try {
      return this.context();
    } catch (error) {
      if (error instanceof RuntimeError) return NO_CONTEXT; // held, or not there yet
      throw error;
    }
  }

  /** D2. */
  async #begin(): Promise<boolean> {
    const system = this.#system;
    const cooldownSeconds = this.#cooldownSeconds;
    try {
      if (!system.has(PLANNER)) await system.spawn(PLANNER, 'planner', { cooldownSeconds });
      if (this.context().cooldownSeconds !== cooldownSeconds)
        await system.send(PLANNER, { type: 'planner.configured', cooldownSeconds });
      await this.#subscription.start();
      this.#trouble = null;
      return true;
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      if (this.#trouble !== error.message)
        this.#log.warn({ error: error.message }, 'the planner cannot begin yet');
      this.#trouble = error.message;
      return false;
    }
  }

  async #keepTrying(): Promise<void> {
    const { signal } = this.#stopping;
    do await sleep(AGAIN_MS, null, { signal, ref: false }).catch(() => undefined);
    while (!signal.aborted && !(await this.#begin()));
  }

  readonly #committed = (record: CommittedRecord): void => {
    logHeard(this.#log, record);
    this.#tellRefused(record);
    if (record.event.type === 'actor.stopped') this.#strikeOff(record.address);
  };

  /** Nobody looks into it: there are too many incidents. */
  #tellRefused({ address, at, event }: CommittedRecord): void {
    if (address !== PLANNER || event.type !== 'homelab.event') return;
    const { lastRefused, refused } = this.#contextIfThere();
    if (lastRefused?.at !== at) return;
    const svc_key = serviceKey(lastRefused.host, lastRefused.service);
    this.#log.warn({ svc_key, refused }, 'too_many_incidents');
  }

  /** D3. */
  #strikeOff(gone: string): void {
    const { watchers } = this.#contextIfThere();
    if (watchers === undefined || !Object.hasOwn(watchers, gone)) return;
    this.#system
      .send(PLANNER, { type: 'planner.unwatch', address: gone })
      .catch((error: unknown) =>
        this.#log.warn({ gone, error: toPlainError(error).message }, 'watcher not struck off'),
      );
  }
}
