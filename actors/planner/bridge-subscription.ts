/**
 * Brings what bridges hear to the planner, or to another actor. A subscription is kept in the bridge's own actor, so it outlives
 * restarts; here it is asked for where it is missing, and from bridges that appear later, before they have heard anything.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { bridgeAddress, OBSERVER, PLANNER } from '../../machines/addresses.ts';
import type { BridgeContext } from '../../machines/bridge-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import type { PlannerLog } from './planner-log.ts';

const BRIDGES = bridgeAddress('');
const AGAIN_MS = 1000;

export class BridgeSubscription {
  readonly #system: ActorSystem;
  readonly #log: PlannerLog;
  readonly #listener: string;
  readonly #stopping = new AbortController();

  /** `listener`: the address of the actor that is to hear it. */
  constructor(system: ActorSystem, log: PlannerLog, listener = PLANNER) {
    this.#system = system;
    this.#log = log;
    this.#listener = listener;
  }

  /** Resolves when every bridge that is there knows of the listener, or has been found not to answer. */
  async start(): Promise<void> {
    this.#system.on('committed', this.#committed);
    await Promise.all(bridgesOf(this.#system).map((address) => this.#subscribe(address)));
  }

  stop(): void {
    this.#stopping.abort();
    this.#system.off('committed', this.#committed);
  }

  readonly #committed = ({ address, event }: CommittedRecord): void => {
    if (event.type === 'actor.spawned' && address.startsWith(BRIDGES))
      void this.#subscribe(address);
  };

  async #subscribe(address: string): Promise<void> {
    try {
      if (!isSubscribed(this.#system, address, this.#listener))
        await this.#system.send(address, { type: 'bridge.subscribe', address: this.#listener });
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      const fields = { bridge: address, listener: this.#listener, error: error.message };
      this.#log.warn(fields, 'the bridge is not heard yet');
      void this.#again(address);
    }
  }

  async #again(address: string): Promise<void> {
    const { signal } = this.#stopping;
    await sleep(AGAIN_MS, null, { signal, ref: false }).catch(() => undefined);
    if (!signal.aborted && this.#system.has(address)) await this.#subscribe(address);
  }
}

/** What is heard while the listener is off is not for it: nobody would look at it. */
export async function unsubscribe(system: ActorSystem, listener: string): Promise<void> {
  for (const address of bridgesOf(system))
    if (isSubscribed(system, address, listener))
      await system.send(address, { type: 'bridge.unsubscribe', address: listener });
}

/** Of all that work on the runtime folder: none is in use. */
export async function unsubscribePlanner(system: ActorSystem): Promise<void> {
  for (const listener of [PLANNER, OBSERVER]) await unsubscribe(system, listener);
}

const bridgesOf = (system: ActorSystem): string[] =>
  [...system.actors.keys()].filter((address) => address.startsWith(BRIDGES) && system.has(address));

/** To all it hears: a subscription of somebody's that wants less is replaced. */
function isSubscribed(system: ActorSystem, address: string, listener: string): boolean {
  const { subscribers } = system.read(address).snapshot.context as BridgeContext;
  const wanted = subscribers[listener];
  return wanted !== undefined && Object.keys(wanted).length === 0;
}
