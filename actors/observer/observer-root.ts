/** The observer's actor, as its door sees it: started, told its configuration, subscribed to the bridges; and asked how it is. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OBSERVER } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { enrolled } from '../../machines/incident-roll.ts';
import { jsonEqual } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ObserverContext } from '../../machines/observer.machine.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import { BridgeSubscription } from '../planner/bridge-subscription.ts';
import type { ActorSystem } from '../system.ts';
import type { ObserverLog } from './observer-door.ts';

export interface ObserverRootOptions {
  aliases: Record<string, string>;
  /** Of this life of the node. */
  name: string;
  log: ObserverLog;
}

const AGAIN_MS = 1000;

export class ObserverRoot {
  readonly #system: ActorSystem;
  readonly #options: ObserverRootOptions;
  readonly #subscription: BridgeSubscription;
  readonly #stopping = new AbortController();
  #rebuilds = 0;
  aliases: Record<string, string>;
  #trouble: string | null = null;
  isUp = false;

  constructor(system: ActorSystem, options: ObserverRootOptions) {
    this.#system = system;
    this.#options = options;
    this.aliases = options.aliases;
    this.#subscription = new BridgeSubscription(system, options.log, OBSERVER);
  }

  async start(): Promise<void> {
    if (!(await this.#begin())) void this.#keepTrying();
  }

  stop(): void {
    this.#stopping.abort();
    this.#subscription.stop();
  }

  /** Undefined: it is held, or not there yet. */
  context(): ObserverContext | undefined {
    try {
      return this.#system.read(OBSERVER).snapshot.context as ObserverContext;
    } catch (error) {
      if (error instanceof RuntimeError) return undefined;
      throw error;
    }
  }

  /** Addresses of the records that there are. */
  hosts(): string[] {
    const context = this.context();
    return context === undefined ? [] : enrolled(context.roll);
  }

  /** What else hosts are called from now on; no news when it is known already. Throws as `system.send`. */
  async call(aliases: Record<string, string>): Promise<void> {
    this.aliases = aliases;
    if (this.isUp) await this.#configure();
  }

  /** Nothing is to be known of these any more. Throws as `system.send`. */
  async forget(hosts: readonly string[]): Promise<void> {
    const { aliases } = this;
    const gone = [...hosts];
    await this.#system.send(OBSERVER, { type: 'observer.configured', aliases, gone });
  }

  /** What is known is forgotten, unless no checkpoint of it was ever written: false. Throws as `system.send`. */
  async rebuild(reason: string): Promise<boolean> {
    const context = this.context();
    if (context === undefined || !context.isCheckpointed) return false;
    this.#rebuilds += 1;
    const generation = `${this.#options.name}.${this.#rebuilds}`;
    this.#options.log.warn({ reason }, 'the world is made anew from the event files');
    await this.#system.send(OBSERVER, { type: 'observer.rebuild', generation, reason });
    return true;
  }

  /** Throws as `system.send`. */
  async checkpointed(generation: string): Promise<void> {
    const context = this.context();
    if (context?.generation === generation && !context.isCheckpointed)
      await this.#system.send(OBSERVER, { type: 'observer.checkpointed', generation });
  }

  status(): JsonObject {
    const context = this.context();
    const refused = context?.lastRefused ?? null;
    return {
      state: this.isUp && context !== undefined ? 'up' : 'down',
      ...(this.#trouble === null ? {} : { reason: this.#trouble }),
      events: context?.events ?? 0,
      own: context?.own ?? 0,
      from_files: context?.fromFiles ?? 0,
      refused: context?.refused ?? 0,
      last_refused: refused && { ...refused, at: isoFromEpoch(refused.at) },
      gaps: context?.gaps ?? 0,
    };
  }

  async #begin(): Promise<boolean> {
    const system = this.#system;
    const { name: generation, log } = this.#options;
    const { aliases } = this;
    try {
      if (!system.has(OBSERVER)) await system.spawn(OBSERVER, 'observer', { generation, aliases });
      await this.#configure();
      await this.#subscription.start();
      this.#trouble = null;
      this.isUp = true;
      return true;
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      if (this.#trouble !== error.message)
        log.warn({ error: error.message }, 'the observer cannot begin yet');
      this.#trouble = error.message;
      return false;
    }
  }

  async #configure(): Promise<void> {
    const { aliases } = this;
    const known = this.context()?.aliases;
    if (known !== undefined && !jsonEqual({ ...known }, aliases))
      await this.#system.send(OBSERVER, { type: 'observer.configured', aliases });
  }

  async #keepTrying(): Promise<void> {
    const { signal } = this.#stopping;
    do await sleep(AGAIN_MS, null, { signal, ref: false }).catch(() => undefined);
    while (!signal.aborted && !(await this.#begin()));
  }
}
