/**
 * What homelab agents publish on NATS (`homelab.<channel>.<host>.<service>`), on its way to a bridge's actor, `system/bridge/nats`:
 * what was published while no node ran is there when one does.
 *
 * N1 Acknowledged after the journal's commit; each message counts once, by where it stands in the stream.
 * N2 What a node published itself, or another node, is no news: it came from a journal.
 * N3 On the very first start only what comes from then on counts: nobody waits for a proposal about last week.
 */
import type { Bus, Handled, Incoming, StreamPlace } from '../bus/bus.ts';
import { HOMELAB } from '../bus/streams.ts';
import { nameOfToken } from '../bus/subjects.ts';
import { NATS_BRIDGE } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { asJsonObject, isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { BridgeActor } from './bridge-actor.ts';
import type { BridgeLog } from './bridge-actor.ts';
import { keptOf, takeMessage } from './bridge-messages.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { readerName } from './peers.ts';

const DAY_MS = 24 * 3600 * 1000;

export async function openNatsHomelab(
  node: MissionNode,
  { bus, log }: { bus: Bus; log: BridgeLog },
): Promise<OpenDoor> {
  const { system } = node.kernel;
  const instance = `${node.nodeId}.${system.epoch}`;
  const actor = new BridgeActor({ system, address: NATS_BRIDGE, instance, log });
  const intake = new HomelabIntake(actor);
  await actor.ensure().catch((error: unknown) => {
    if (!(error instanceof RuntimeError)) throw error; // the journal cannot be written just now: it is tried again
  });
  bus.consume(HOMELAB.name, {
    durable: readerName(node.nodeId),
    subject: HOMELAB.subjects[0] ?? '',
    forgottenAfterMs: 14 * DAY_MS,
    begin: (place) => Promise.resolve(intake.begin(place)),
    handle: (message) => intake.take(message),
  });
  return {
    nodeFile: {},
    parts: () => ({
      homelab: { state: bus.isUp && intake.isReading ? 'up' : 'down', ...intake.view() },
    }),
    close: () => Promise.resolve(), // the bus ends the reading
  };
}

class HomelabIntake {
  readonly #actor: BridgeActor;
  /** The server knows of us: what is published from now on is heard. */
  isReading = false;

  constructor(actor: BridgeActor) {
    this.#actor = actor;
  }

  view(): JsonObject {
    const { heard = 0, refused = 0, subscribers = {} } = this.#actor.context() ?? {};
    return { heard, refused, subscribers: Object.keys(subscribers).length };
  }

  /** N3. A server that forgot us tells us everything again: what was taken before is known by its place (N1). */
  begin({ lastSeq }: StreamPlace): number {
    const { heard = 0, refused = 0 } = this.#actor.context() ?? {};
    this.isReading = true;
    return heard + refused > 0 ? 1 : lastSeq + 1;
  }

  async take(message: Incoming): Promise<Handled> {
    if (message.writer !== null) return 'done'; // N2
    const { system, address } = this.#actor;
    try {
      await this.#actor.ensure();
      const event = this.#eventOf(message);
      const { stream, created, seq } = message.position;
      await system.send(address, event, { stream: { stream, created, seq } }); // N1
      return 'done';
    } catch (error) {
      if (error instanceof RuntimeError && !error.retryable && error.code !== 'ACTOR_HELD') {
        this.#actor.log.warn({ error: error.message }, 'an event of the homelab was not taken');
        return 'done';
      }
      return 'later';
    }
  }

  #eventOf({ subject, data, at, position }: Incoming): { type: string } & JsonObject {
    const [, channel = '', host = '', service = ''] = subject
      .split('.')
      .map((token) => nameOfToken(token) ?? token);
    const { stream, created, seq } = position;
    const raw = withPlace(Buffer.from(data), { host, service });
    const id = `${stream}:${created}:${seq}`;
    const { event } = takeMessage(keptOf(raw), raw.length, { channel, id, at });
    return { ...asJsonObject(event), type: event.type };
  }
}

/** A body that names no host is about the one of its subject. */
function withPlace(raw: Buffer, { host, service }: { host: string; service: string }): Buffer {
  let body: JsonValue;
  try {
    body = JSON.parse(raw.toString()) as JsonValue;
  } catch {
    return raw; // said where it is read
  }
  if (!isJsonObject(body) || body['node'] !== undefined || host === '') return raw;
  const place = service === '' || service === '_' ? { node: host } : { node: host, service };
  return Buffer.from(JSON.stringify({ ...place, ...body }));
}
