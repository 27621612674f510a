/** What a host says of itself, for tests of the observer. */
import type { ObservedEvent } from '../../machines/observed-event.ts';
import { freshHost, observed } from '../../machines/observed-host.ts';
import type { HostRecord } from '../../machines/observed-host.ts';
import { worldOf } from '../../machines/observed-world.ts';
import type { WorldEntries } from '../../machines/observed-world.ts';

/** Epoch ms of any afternoon. */
export const T0 = 1_790_000_000_000;
export const PIHA = 'piha';

/** `second`: after T0. */
export const said = (
  second: number,
  type: string,
  more: Partial<ObservedEvent> = {},
): ObservedEvent => ({
  id: null,
  type,
  at: T0 + Math.round(second * 1000),
  service: 'web',
  severity: 'error',
  ...more,
});

export const recordOf = (events: readonly ObservedEvent[], host = PIHA): HostRecord =>
  events.reduce(observed, freshHost(host));

/** As people read it a minute after the last of T0's hour. */
export const worldAfter = (events: readonly ObservedEvent[], now = T0 + 3_660_000): WorldEntries =>
  worldOf(recordOf(events), now);

/** What must not depend on the order; how often something was told twice may. */
export const worldText = (record: HostRecord, now = T0 + 3_660_000): string =>
  JSON.stringify(worldOf(record, now));
