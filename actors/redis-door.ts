/**
 * The Redis bridge as one of the node's doors. Opening it waits for no server: only for the bridge's actor, so that others
 * can subscribe to it as soon as the node accepts work.
 *
 * D1 An earlier life that did not end cleanly is `down` since it last listened, before anything is read.
 * D2 A subscriber that is stopped for good is struck off the list.
 */
import { DEFAULT_FEED_LIMITS } from '../bus/channel-feed.ts';
import { bridgeAddress } from '../machines/addresses.ts';
import type { BridgeContext } from '../machines/bridge-context.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { redisPlace } from '../machines/redis-url.ts';
import { isoFromEpoch } from '../machines/time.ts';
import { BridgeActor } from './bridge-actor.ts';
import type { BridgeLog } from './bridge-actor.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { RedisBridge } from './redis-bridge.ts';
import type { Missed, RedisBridgeOptions } from './redis-bridge.ts';
import type { CommittedRecord } from './system.ts';

export const REDIS_BRIDGE = bridgeAddress('redis');
export const REDIS_CHANNELS: readonly string[] = ['health_events', 'world_updates'];
export const REDIS_STREAM = 'homelab:events';
export const REDIS_GROUP = 'lazarus';

export interface RedisDoorOptions extends Partial<
  Pick<RedisBridgeOptions, 'limits' | 'backoff' | 'connection'>
> {
  url: string;
  log: BridgeLog;
  stream?: Partial<RedisBridgeOptions['stream']>;
}

/** Throws RuntimeError INVALID_ARGUMENT for a URL that is none. */
export async function openRedisDoor(
  node: MissionNode,
  { url, log, stream, ...more }: RedisDoorOptions,
): Promise<OpenDoor> {
  const where = redisPlace(url)?.shown;
  if (where === undefined)
    throw new RuntimeError('redis_url is no redis:// or rediss:// URL', {
      code: 'INVALID_ARGUMENT',
      hint: 'Give for example redis://127.0.0.1:6379, or off.',
    });
  const { system } = node.kernel;
  const instance = `${node.nodeId}.${system.epoch}`;
  const actor = new BridgeActor({ system, address: REDIS_BRIDGE, instance, log });
  const missed = await prepare(actor);
  const bridge = new RedisBridge(
    actor,
    {
      limits: DEFAULT_FEED_LIMITS,
      ...more,
      url,
      where,
      nodeId: node.nodeId,
      channels: REDIS_CHANNELS,
      stream: { stream: REDIS_STREAM, group: REDIS_GROUP, ...stream },
    },
    missed,
  );
  const strike = (record: CommittedRecord): void => strikeOff(actor, record);
  system.on('committed', strike);
  bridge.start();
  return {
    nodeFile: { redis: where },
    parts: () => ({ redis: { url: where, ...bridge.status(), ...committedView(actor) } }),
    async close() {
      await bridge.close();
      system.off('committed', strike);
    },
  };
}

/** D1. What earlier lives left unheard. A journal that cannot be written just now is no hindrance: it is tried again. */
async function prepare(actor: BridgeActor): Promise<Missed | null> {
  const { system, address, log } = actor;
  try {
    await actor.ensure();
    const { value, context } = system.read(address).snapshot;
    const { listenedAt: since } = context as BridgeContext;
    if (since === null) return null;
    const reason = 'this node was not running';
    if (value === 'up') await system.send(address, { type: 'bridge.down', reason, since });
    return { since, reason };
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    log.warn({ error: error.message }, 'the Redis bridge has no actor yet');
    return null;
  }
}

/** D2. */
function strikeOff(actor: BridgeActor, { address: gone, event }: CommittedRecord): void {
  if (event.type !== 'actor.stopped') return;
  const subscribers = actor.context()?.subscribers ?? {};
  if (!Object.hasOwn(subscribers, gone)) return;
  const { system, address, log } = actor;
  system
    .send(address, { type: 'bridge.unsubscribe', address: gone })
    .catch((error: unknown) =>
      log.warn({ gone, error: String(error) }, 'subscriber not struck off'),
    );
}

function committedView(actor: BridgeActor): JsonObject {
  const context = actor.context();
  if (context === undefined) return {};
  const { heard, refused, dropped, gaps, lastGap, subscribers } = context;
  const last = lastGap && {
    ...lastGap,
    since: isoFromEpoch(lastGap.since),
    until: isoFromEpoch(lastGap.until),
  };
  const listening = Object.keys(subscribers).length;
  return { heard, refused, dropped, gaps, last_gap: last, subscribers: listening };
}
