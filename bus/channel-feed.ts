/**
 * Messages of channels that nobody can ask to wait, between the socket that must be kept drained and the journal that
 * takes them one commit after the other.
 *
 * Q1 Bounded by count and bytes (P8). Once full it takes nothing until half of it is free: what is lost then is one span
 *    of time, of which both ends and the number are known, and not a message here and there.
 * Q2 Everything leaves in the order in which it came: messages, losses, and what happened to the connection.
 * Q3 A connection that comes and goes while nothing leaves is kept as one coming and going: it may do so for days.
 */
export interface FeedLimits {
  messages: number;
  bytes: number;
}

export const DEFAULT_FEED_LIMITS: FeedLimits = { messages: 50_000, bytes: 64 << 20 };

/** Times are epoch ms. */
export type FeedItem =
  /** `bytes`: of the whole message, of which `raw` may be the beginning. */
  | { kind: 'message'; channel: string; raw: Buffer; bytes: number; at: number }
  | { kind: 'up' }
  | { kind: 'down'; since: number; reason: string }
  | FeedGap;

/** Messages that nobody heard, or that found no room, by channel; null: nobody knows how many. */
export interface FeedGap {
  kind: 'gap';
  channels: Record<string, number | null>;
  since: number;
  until: number;
  reason: string;
}

export class ChannelFeed {
  readonly #limits: FeedLimits;
  #items: FeedItem[] = [];
  #head = 0;
  #messages = 0;
  #bytes = 0;
  /** What is being lost at present. */
  #loss: FeedGap | undefined;
  /** Q3: since when nobody has known what was published, of comings and goings that are kept as one. */
  #unknownSince: number | undefined;

  constructor(limits: FeedLimits = DEFAULT_FEED_LIMITS) {
    this.#limits = limits;
  }

  get waiting(): { messages: number; bytes: number } {
    return { messages: this.#messages, bytes: this.#bytes };
  }

  /** False when there was no room. Keeps `raw`. */
  hear({ channel, raw, bytes, at }: { channel: string; raw: Buffer; bytes: number; at: number }) {
    const { messages: most, bytes: mostBytes } = this.#limits;
    const isHalfFree = this.#messages <= most / 2 && this.#bytes <= mostBytes / 2;
    if (isHalfFree) this.#endLoss();
    const isFull = this.#messages >= most || this.#bytes + raw.length > mostBytes;
    if (this.#loss !== undefined || isFull) {
      this.#lose(channel, at);
      return false;
    }
    this.#messages += 1;
    this.#bytes += raw.length;
    this.#items.push({ kind: 'message', channel, raw, bytes, at });
    return true;
  }

  /** `missed`: since when nobody listened to these channels, and why; null: nobody ever did. */
  up(
    channels: readonly string[],
    missed: { since: number; reason: string } | null,
    until: number,
  ): void {
    this.#endLoss();
    this.#items.push({ kind: 'up' });
    if (missed === null) return;
    const since = Math.min(missed.since, this.#unknownSince ?? missed.since);
    const lost = Object.fromEntries(channels.map((name) => [name, null]));
    this.#items.push({ kind: 'gap', channels: lost, since, until, reason: missed.reason });
    this.#unknownSince = undefined;
  }

  down(since: number, reason: string): void {
    this.#endLoss();
    const tail = this.#items.slice(Math.max(this.#head, this.#items.length - 3));
    const [before, , gap] = tail;
    const isComingAndGoing = tail.map(({ kind }) => kind).join() === 'down,up,gap';
    if (!isComingAndGoing || before?.kind !== 'down' || gap?.kind !== 'gap')
      return void this.#items.push({ kind: 'down', since, reason });
    this.#items.splice(-2);
    before.reason = reason;
    this.#unknownSince = gap.since;
  }

  /** The oldest, which is gone from here then. */
  next(): FeedItem | undefined {
    if (this.#head === this.#items.length) this.#endLoss();
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (item.kind === 'message') {
      this.#messages -= 1;
      this.#bytes -= item.raw.length;
    }
    if (this.#head === this.#items.length || this.#head > 4096) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Q1. */
  #lose(channel: string, at: number): void {
    const reason = 'more came than the journal could take';
    this.#loss ??= { kind: 'gap', channels: {}, since: at, until: at, reason };
    const { channels } = this.#loss;
    channels[channel] = (channels[channel] ?? 0) + 1;
    this.#loss.until = at;
  }

  #endLoss(): void {
    if (this.#loss) this.#items.push(this.#loss);
    this.#loss = undefined;
  }
}
