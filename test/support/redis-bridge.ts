/** A node with a Redis bridge, on real servers, with short waits; and what its bridge has committed. */
import { assign, setup } from 'xstate';
import { openRedisDoor, REDIS_BRIDGE } from '../../actors/redis-door.ts';
import type { RedisDoorOptions } from '../../actors/redis-door.ts';
import { machineRegistry } from '../../actors/registry.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import type { BridgeContext, BridgeEvent } from '../../machines/bridge-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from './eventually.ts';
import { startNode } from './node.ts';
import type { Options, TestNode } from './node.ts';

export type Heard = Extract<BridgeEvent, { type: 'bridge.heard' }>;

/** Remembers of what it is told: ids, hosts with types, and losses. */
export const listenerMachine = setup({
  types: {
    context: {} as { ids: string[]; gaps: number },
    events: {} as
      { type: 'homelab.event'; event: { id: string } } | { type: 'homelab.gap'; reason: string },
  },
}).createMachine({
  id: 'listener@1',
  context: { ids: [], gaps: 0 },
  on: {
    'homelab.event': {
      actions: assign({ ids: ({ context, event }) => [...context.ids, event.event.id] }),
    },
    'homelab.gap': { actions: assign({ gaps: ({ context }) => context.gaps + 1 }) },
  },
});

export const SHORT: Partial<RedisDoorOptions> = {
  backoff: { firstMs: 20, mostMs: 100 },
  connection: { connectMs: 1000, pingMs: 100 },
  stream: { pollMs: 50 },
};

/** For a server that goes silent. A machine that is busy looks the same, so that messages are lost there: for no other test. */
export const HASTY = { connectMs: 1000, pingMs: 100, silentMs: 500 };

/** For `openDoors`. */
export async function openBridge(
  node: MissionNode,
  url: string,
  more: Partial<RedisDoorOptions> = {},
  lines: [string, object][] = [],
): Promise<OpenDoor> {
  const note = (fields: object, message: string): void => void lines.push([message, fields]);
  const log = { info: note, warn: note };
  const stream = { ...SHORT.stream, ...more.stream };
  return openRedisDoor(node, { ...SHORT, ...more, stream, url, log });
}

export class BridgeFixture {
  readonly test: TestNode;
  /** In the order of the journal, of this life; each message by itself. */
  readonly events: BridgeEvent[];
  readonly logged: [string, object][];

  constructor(test: TestNode, events: BridgeEvent[], logged: [string, object][]) {
    this.test = test;
    this.events = events;
    this.logged = logged;
  }

  get context(): BridgeContext {
    return this.test.node.kernel.system.read(REDIS_BRIDGE).snapshot.context as BridgeContext;
  }

  get status(): JsonObject {
    return this.test.node.status().parts['redis'] as JsonObject;
  }

  of<T extends BridgeEvent['type']>(type: T): Extract<BridgeEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as Extract<
      BridgeEvent,
      { type: T }
    >[];
  }

  /** What the numbers `n` in the payloads of heard events are. */
  numbers(): unknown[] {
    return this.of('bridge.heard').map(({ event }) => event.data.payload['n']);
  }

  async is(
    state: 'up' | 'down' | 'absent',
    part: 'channels' | 'stream' = 'channels',
  ): Promise<void> {
    await eventually(
      () => {
        const view = part === 'stream' ? (this.status['stream'] as JsonObject) : this.status;
        if (view['state'] !== state) throw new Error(`${part}: ${JSON.stringify(this.status)}`);
      },
      { timeoutMs: 10_000 },
    );
  }

  /** Until so many were heard or refused, in this life and before. */
  async took(count: number, timeoutMs = 10_000): Promise<void> {
    await eventually(
      () => {
        const { heard, refused } = this.context;
        if (heard + refused >= count) return;
        const { held } = this.test.node.status();
        throw new Error(
          `${heard} heard, ${refused} refused; ${JSON.stringify({ held, status: this.status })}`,
        );
      },
      { timeoutMs },
    );
  }
}

/** What came in together as if it had come one by one; only the last of a stream's entries is named. */
export function oneByOne(event: BridgeEvent): BridgeEvent[] {
  if (event.type !== 'bridge.heardMany') return [event];
  const { channel, entry, messages } = event;
  return messages.map((message, at) => ({
    type: 'bridge.heard',
    channel,
    ...(at === messages.length - 1 && entry !== undefined ? { entry } : {}),
    ...message,
  }));
}

export interface BridgeOptions {
  url: string;
  door?: Partial<RedisDoorOptions>;
  node?: Options;
  missions?: string;
}

export async function startBridge(options: BridgeOptions): Promise<BridgeFixture> {
  const { url, door, node, missions } = options;
  const events: BridgeEvent[] = [];
  const logged: [string, object][] = [];
  const kernel = {
    registry: machineRegistry().register({ machine: listenerMachine }),
    ...node?.kernel,
  };
  const openDoors = (mine: MissionNode): Promise<OpenDoor[]> => {
    mine.kernel.system.on('committed', ({ address, event, error }) => {
      if (address === REDIS_BRIDGE && error === undefined)
        events.push(...oneByOne(event as unknown as BridgeEvent));
    });
    return openBridge(mine, url, door, logged).then((opened) => [opened]);
  };
  const test = await startNode({ ...node, kernel, openDoors }, missions);
  return new BridgeFixture(test, events, logged);
}

/** As a node agent publishes it. */
export const published = (n: number, more: JsonObject = {}): string =>
  JSON.stringify({
    type: 'service_unhealthy',
    node: 'piha',
    service: 's',
    payload: { n },
    ...more,
  });
