/**
 * Brings what bridges hear to the planner. A subscription is kept in the bridge's own actor, so it outlives restarts; here it
 * is asked for where it is missing, and from bridges that appear later, before they have heard anything.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { bridgeAddress, PLANNER } from '../../machines/addresses.ts';
import type { BridgeContext } from '../../machines/bridge-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import type { PlannerLog } from './planner-log.ts';

const BRIDGES = bridgeAddress('');
const AGAIN_MS = 1000;

export class BridgeSubscription {
  readonly #system: ActorSystem;
  readonly #log: PlannerLog;
  readonly #stopping = new AbortController();

  constructor(system: ActorSystem, log: PlannerLog) {
    this.#system = system;
    this.#log = log;
  }

  /** Resolves when every bridge that is there knows of the planner, or has been found not to answer. */
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
      if (!isSubscribed(this.#system, address))
        await this.#system.send(address, { type: 'bridge.subscribe', address: PLANNER });
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      this.#log.warn({ bridge: address, error: error.message }, 'the planner does not hear it yet');
      void this.#again(address);
    }
  }

  async #again(address: string): Promise<void> {
    const { signal } = this.#stopping;
    await sleep(AGAIN_MS, null, { signal, ref: false }).catch(() => undefined);
    if (!signal.aborted && this.#system.has(address)) await this.#subscribe(address);
  }
}

/** What is heard while the planner is off is not for it: nobody would look at it. */
export async function unsubscribePlanner(system: ActorSystem): Promise<void> {
  for (const address of bridgesOf(system))
    if (isSubscribed(system, address))
      await system.send(address, { type: 'bridge.unsubscribe', address: PLANNER });
}

const bridgesOf = (system: ActorSystem): string[] =>
  [...system.actors.keys()].filter((address) => address.startsWith(BRIDGES) && system.has(address));

/** To all it hears: a subscription of somebody's that wants less is replaced. */
function isSubscribed(system: ActorSystem, address: string): boolean {
  const { subscribers } = system.read(address).snapshot.context as BridgeContext;
  const wanted = subscribers[PLANNER];
  return wanted !== undefined && Object.keys(wanted).length === 0;
}
