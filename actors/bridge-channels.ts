/** From the feed of the channels to the bridge's actor: messages are read only when it is their turn. */
import type { ChannelFeed, FeedItem } from '../bus/channel-feed.ts';
import type { BridgeActor } from './bridge-actor.ts';
import { takeMessage } from './bridge-messages.ts';
import { joinHeard, MOST_JOINED } from './join-heard.ts';
import type { Outgoing, Source } from './ordered-sender.ts';

export class ChannelIntake implements Source {
  readonly #actor: BridgeActor;
  readonly #feed: ChannelFeed;
  readonly #where: string;
  /** Read and not yet sent: what is joined must be looked at, and a loss counts for each channel by itself. */
  #ready: Outgoing[] = [];

  constructor(actor: BridgeActor, feed: ChannelFeed, where: string) {
    this.#actor = actor;
    this.#feed = feed;
    this.#where = where;
  }

  next(): Outgoing | undefined {
    const isHeardBySome = this.#actor.isHeardBySome();
    while (this.#ready.length < (isHeardBySome ? 1 : MOST_JOINED)) {
      const item = this.#feed.next();
      if (item === undefined) break;
      this.#ready.push(...this.#eventsOf(item));
    }
    const joined = joinHeard(this.#ready, 0, isHeardBySome);
    const [first] = this.#ready.splice(0, joined?.count ?? 1);
    return joined?.outgoing ?? first;
  }

  waitMs(outgoing: Outgoing): number {
    return this.#actor.waitMs(outgoing);
  }

  #eventsOf(item: FeedItem): Outgoing[] {
    const actor = this.#actor;
    switch (item.kind) {
      case 'message': {
        const { channel, raw, bytes, at } = item;
        const { event, hasOwnId } = takeMessage(raw, bytes, {
          channel,
          at,
          id: actor.nextId(channel),
        });
        const id = hasOwnId && event.type === 'bridge.heard' ? `own:${event.id}` : undefined;
        return [actor.outgoing(event, undefined, id)];
      }
      case 'up':
        return [
          actor.outgoing({ type: 'bridge.up', instance: actor.instance, where: this.#where }),
        ];
      case 'down': {
        const { since, reason } = item;
        return [actor.outgoing({ type: 'bridge.down', since, reason })];
      }
      case 'gap': {
        const { channels, since, until, reason } = item;
        return Object.entries(channels).map(([channel, dropped]) =>
          actor.outgoing({ type: 'bridge.gap', channel, since, until, reason, dropped }),
        );
      }
      default:
        return item satisfies never;
    }
  }
}
