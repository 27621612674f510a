/**
 * Traffic by both doors whose every part is either known to be stored or sent again: entries of the Redis stream under
 * entry ids of our own, so that one that was stored already is refused, and events for a mission under message ids, so that
 * NATS stores them once. And what of it arrived, in the journal and on the bus.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClientType } from '@redis/client';
import type { NatsConnection } from 'nats';
import { RecordReader } from '../../actors/outbox-records.ts';
import { REDIS_STREAM } from '../../actors/redis-door.ts';
import { seqOfLine } from '../../actors/records.ts';
import type { CommittedRecord } from '../../actors/system.ts';
import { readCellCopy } from '../../cells/journal-copy.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import { missionsLayout } from '../../cells/layout.ts';
import { SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { storedIn } from './bus.ts';
import { oneByOne, published } from './redis-bridge.ts';
import type { BridgeEvent } from '../../machines/bridge-context.ts';

const SERVICES = 4;
/** So that it does not matter how long the faults of a test take. */
const PAUSE_MS = 3;

/** How far both producers are: every number below these was acknowledged by its server. */
export interface Progress {
  entries: number;
  events: number;
}

/** Both producers, until they are told to stop. */
export class Traffic {
  readonly progress: Progress = { entries: 0, events: 0 };
  #isStopping = false;
  readonly #running: Promise<unknown>;

  constructor(redis: RedisClientType, nats: NatsConnection) {
    const { progress } = this;
    this.#running = Promise.all([
      this.#produce(async () => {
        await insist(() => add(redis, progress.entries));
        progress.entries += 1;
      }),
      this.#produce(async () => {
        await insist(() => inject(nats, progress.events));
        progress.events += 1;
      }),
    ]);
  }

  /** Resolves when all that was begun is acknowledged, with how much that is. */
  async stop(): Promise<Progress> {
    this.#isStopping = true;
    await this.#running;
    return this.progress;
  }

  async #produce(one: () => Promise<void>): Promise<void> {
    while (!this.#isStopping) {
      await one();
      await sleep(PAUSE_MS);
    }
  }
}

async function add(redis: RedisClientType, n: number): Promise<void> {
  const data = published(n, { service: `s${n % SERVICES}` });
  try {
    await redis.xAdd(REDIS_STREAM, `${n + 1}-0`, { data });
  } catch (error) {
    const isStored = String(error).includes('equal or smaller than the target');
    if (!isStored) throw error;
  }
}

/** They alternate, so that the mission takes each of them only if it took the one before. */
async function inject(nats: NatsConnection, n: number): Promise<void> {
  const event = { type: typeOf(n), id: `injected-${n}` };
  const options = { msgID: `injected-${n}`, timeout: 500 };
  await nats.jetstream().publish('ops.inject.m', JSON.stringify(event), options);
}

async function insist(store: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await store();
    } catch {
      await sleep(20); // its server is away
    }
  }
}

/** What arrived, in the order in which it stands there. */
export interface Arrived {
  /** Numbers of the entries, by service. */
  entries: Record<string, number[]>;
  /** Types of the events that the mission took. */
  events: string[];
}

/** What should have. */
export function sent({ entries, events }: Progress): Arrived {
  const arrived = new Arrivals();
  for (let n = 0; n < entries; n += 1) arrived.entry(`s${n % SERVICES}`, n);
  for (let n = 0; n < events; n += 1) arrived.events.push(typeOf(n));
  return arrived;
}

const typeOf = (n: number): string => (n % 2 === 0 ? 'cell.pause' : 'cell.resume');

class Arrivals implements Arrived {
  readonly entries: Record<string, number[]> = {};
  readonly events: string[] = [];

  entry(service: string, n: unknown): void {
    (this.entries[service] ??= []).push(Number(n));
  }

  event(source: unknown, type: unknown): void {
    if (source === 'cell/m' && (type === 'cell.pause' || type === 'cell.resume'))
      this.events.push(type);
  }
}

/** In all lives on this folder. */
export function inJournal(missions: string): Arrived {
  const arrived = new Arrivals();
  for (const { address, event, error } of history(missions)) {
    if (error !== undefined) continue;
    arrived.event(address, event.type);
    for (const heard of oneByOne(event as unknown as BridgeEvent))
      if (heard.type === 'bridge.heard')
        arrived.entry(heard.service, heard.event.data.payload['n']);
  }
  return arrived;
}

/** Actor by actor. What has left the shared journal is in the cells' own copies of it. */
function history(missions: string): CommittedRecord[] {
  const byActor = new Map<string, Map<number, string>>();
  const copies = ['m', SYSTEM_CELL_ID].flatMap((cell) => [...readCellCopy(join(missions, cell))]);
  for (const { address, line } of [...copies, ...readSegments(missionsLayout(missions).journal)]) {
    const lines = byActor.get(address) ?? new Map<number, string>();
    byActor.set(address, lines.set(seqOfLine(line), line));
  }
  return [...byActor].flatMap(([address, lines]) => {
    const reader = new RecordReader();
    const inOrder = [...lines].toSorted(([a], [b]) => a - b);
    const records = inOrder.flatMap(([lsn, line]) =>
      reader.next({ lsn, address, line, segment: 0 }),
    );
    return [...records, ...reader.end()];
  });
}

export async function onBus(client: NatsConnection): Promise<Arrived> {
  const arrived = new Arrivals();
  for (const { source, type, error } of await storedIn(client, 'MISSIONS'))
    if (error === undefined) arrived.event(source, type);
  for (const { data } of await storedIn(client, 'HOMELAB')) {
    const { service, payload } = data as { service: string; payload: JsonObject };
    arrived.entry(service, payload['n']);
  }
  return arrived;
}
