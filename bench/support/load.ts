/** Closed loops: a fixed number of events in flight, the next one sent when one is acknowledged. */
import { createActor } from 'xstate';
import type { ActorSystem } from '../../actors/system.ts';
import type { Count } from '../harness.ts';
import { stepEvent, tickMachine } from './machine.ts';

/** `inFlight` senders go round the addresses for `ms`; every event is durable when it counts. */
export async function durableLoad(
  system: ActorSystem,
  addresses: readonly string[],
  { inFlight, ms }: { inFlight: number; ms: number },
): Promise<Count> {
  const startedAt = performance.now();
  const endAt = startedAt + ms;
  let next = 0;
  let count = 0;
  const sender = async (): Promise<void> => {
    while (performance.now() < endAt) {
      const n = next;
      next += 1;
      await system.send(addresses[n % addresses.length] as string, stepEvent(n));
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, sender));
  return { count, ms: performance.now() - startedAt };
}

export type BareActor = ReturnType<typeof bareActor>;

function bareActor() {
  return createActor(tickMachine).start();
}

export function bareActors(count: number): BareActor[] {
  return Array.from({ length: count }, bareActor);
}

/** In-memory XState alone: the same machine, the same events, round and round. */
export function bareLoad(actors: readonly BareActor[], { ms }: { ms: number }): Count {
  const startedAt = performance.now();
  const endAt = startedAt + ms;
  let count = 0;
  while (performance.now() < endAt)
    for (let i = 0; i < 100; i += 1) {
      actors[count % actors.length]?.send(stepEvent(count));
      count += 1;
    }
  return { count, ms: performance.now() - startedAt };
}
