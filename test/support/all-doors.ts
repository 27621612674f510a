/** Every door that a node has to the world, on real servers, with short waits: in the process of a test, or in one to be killed. */
import { openControlDoor } from '../../actors/control-door.ts';
import { openHttpDoor } from '../../actors/http-door.ts';
import { openInspectorDoor } from '../../actors/inspector-door.ts';
import { openNatsDoor } from '../../actors/nats-door.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { openRedisDoor } from '../../actors/redis-door.ts';
import type { GatewayLog } from '../../bus/gateway.ts';
import { SOON } from './bus-intervals.ts';

export interface Servers {
  /** URL, or `embedded`. */
  nats: string;
  redis: string;
}

/** For `openDoors`. */
export const allDoors =
  ({ nats, redis }: Servers, log: GatewayLog) =>
  async (node: MissionNode): Promise<OpenDoor[]> => {
    const http = await openHttpDoor(node, { host: '127.0.0.1', port: 0, isAskedFor: true, log });
    return [
      http,
      openInspectorDoor(node, { mode: 'on', http, log }),
      await openRedisDoor(node, {
        url: redis,
        log,
        backoff: { firstMs: 20, mostMs: 100 },
        stream: { pollMs: 20 },
      }),
      await openNatsDoor(node, { nats, options: { context: false }, log, intervals: SOON }),
      await openControlDoor(node, log),
    ];
  };
