/** A node with its bus, and what a client of that bus sees. */
import { readFileSync } from 'node:fs';
import { connect } from 'nats';
import type { JetStreamManager, NatsConnection } from 'nats';
import { expect, onTestFinished } from 'vitest';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { openNatsDoor } from '../../actors/nats-door.ts';
import { RecordReader } from '../../actors/outbox-records.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import type { JournalRecordLine } from '../../cells/journal-reader.ts';
import type { BusRole } from '../../bus/nats-users.ts';
import type { JsonObject } from '../../machines/json.ts';
import { SOON } from './bus-intervals.ts';
import { eventually } from './eventually.ts';

const quiet = { info: () => undefined, warn: () => undefined };

/** For `startNode({ openDoors: withBus() })`. */
export const withBus =
  (nats = 'embedded') =>
  async (node: MissionNode): Promise<OpenDoor[]> => [
    await openNatsDoor(node, { nats, options: { context: false }, log: quiet, intervals: SOON }),
  ];

/**
 * Streams and service are there. Before that nobody keeps what is published, and the server answers nothing to a request that
 * comes from another account than the runtime's.
 */
export async function busIsUp(node: MissionNode): Promise<void> {
  await eventually(() => expect(node.status().parts['nats']).toMatchObject({ state: 'up' }), {
    timeoutMs: 20_000,
  });
}

interface NatsEntry {
  url: string;
  user: string | null;
  token_file: string | null;
}

/** A client with the credentials of a role, closed with the test. */
export async function busClient(
  node: MissionNode,
  role: BusRole = 'operator',
): Promise<NatsConnection> {
  const { nats } = JSON.parse(readFileSync(node.layout.node, 'utf8')) as { nats: NatsEntry };
  const file = (nats.token_file ?? '').replace('operator', role);
  const client = await connect({
    servers: nats.url.replace('nats://', ''),
    user: role,
    pass: readFileSync(file, 'utf8').trim(),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  onTestFinished(() => client.close());
  return client;
}

/** What each message of a stream says, oldest first. */
export async function storedIn(client: NatsConnection, stream: string): Promise<JsonObject[]> {
  const manager: JetStreamManager = await client.jetstreamManager({ checkAPI: false });
  const { state } = await manager.streams.info(stream);
  const found: JsonObject[] = [];
  for (let seq = state.first_seq; seq > 0 && seq <= state.last_seq; seq += 1) {
    const message = await manager.streams.getMessage(stream, { seq });
    found.push(message.json<JsonObject>());
  }
  return found;
}

/** Ids of everything in the journal that a bus is told of, oldest first. */
export function journaled(node: MissionNode): string[] {
  const reader = new RecordReader();
  const lines: JournalRecordLine[] = [...readSegments(node.layout.journal)];
  const records = [...lines.flatMap((line) => reader.next(line)), ...reader.end()];
  return records.map(({ address, seq }) => `${address}#${seq}`);
}
