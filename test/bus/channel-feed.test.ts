import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChannelFeed } from '../../bus/channel-feed.ts';
import type { FeedItem } from '../../bus/channel-feed.ts';

const message = (n: number, size = 10) => {
  const raw = Buffer.alloc(size, n);
  return { channel: n % 2 === 0 ? 'even' : 'odd', raw, bytes: size, at: n };
};

function drain(feed: ChannelFeed): FeedItem[] {
  const items: FeedItem[] = [];
  for (let item = feed.next(); item !== undefined; item = feed.next()) items.push(item);
  return items;
}
const kinds = (feed: ChannelFeed): string =>
  drain(feed)
    .map(({ kind }) => kind)
    .join(' ');

describe('when it is full (Q1)', () => {
  test('what is lost is one span, counted by channel, and stands where it happened', () => {
    const feed = new ChannelFeed({ messages: 4, bytes: 1000 });
    for (let n = 1; n <= 9; n += 1) feed.hear(message(n));
    feed.next();
    expect(feed.hear(message(10))).toBe(false); // there is a place, but not yet half of all
    feed.next();
    expect(feed.hear(message(11))).toBe(true);
    expect(drain(feed)).toMatchObject([
      { at: 3 },
      { at: 4 },
      { kind: 'gap', channels: { odd: 3, even: 3 }, since: 5, until: 10 },
      { at: 11 },
    ]);
  });

  test('bytes count as well, and one message that is too large for all of it is lost', () => {
    const feed = new ChannelFeed({ messages: 100, bytes: 50 });
    expect(feed.hear(message(1, 51))).toBe(false);
    expect(feed.hear(message(2, 50))).toBe(true);
    expect(feed.waiting).toEqual({ messages: 1, bytes: 50 });
    expect(kinds(feed)).toBe('gap message');
  });

  test('a loss is told when all else has left, though nothing comes any more', () => {
    const feed = new ChannelFeed({ messages: 1, bytes: 100 });
    feed.hear(message(1));
    feed.hear(message(2));
    expect(kinds(feed)).toBe('message gap');
  });
});

describe('the connection (Q2, Q3)', () => {
  test('the very first subscription has missed nothing that anybody knows of', () => {
    const feed = new ChannelFeed();
    feed.up(['c'], null, 5);
    expect(kinds(feed)).toBe('up');
  });

  test('what happens to it stands between the messages', () => {
    const feed = new ChannelFeed();
    feed.hear(message(1));
    feed.down(2, 'away');
    feed.up(['c', 'd'], { since: 2, reason: 'away' }, 7);
    feed.hear(message(8));
    expect(drain(feed)).toMatchObject([
      { at: 1 },
      { kind: 'down', since: 2, reason: 'away' },
      { kind: 'up' },
      { kind: 'gap', channels: { c: null, d: null }, since: 2, until: 7, reason: 'away' },
      { at: 8 },
    ]);
  });

  test('given it comes and goes a thousand times while nothing leaves, then it is kept as once', () => {
    const feed = new ChannelFeed();
    feed.hear(message(1));
    for (let at = 10; at < 10_010; at += 10) {
      feed.down(at, `reason ${at}`);
      feed.up(['c'], { since: at, reason: `reason ${at}` }, at + 5);
    }
    expect(drain(feed)).toMatchObject([
      { at: 1 },
      { kind: 'down', since: 10, reason: 'reason 10000' },
      { kind: 'up' },
      { kind: 'gap', since: 10, until: 10_005 },
    ]);
  });
});

test('any order of coming and leaving: bounded, in order, and nothing lost that is not counted', () => {
  const command = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('hear'), size: fc.nat(40) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('next'), size: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('flap'), size: fc.nat() }) },
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
      const feed = new ChannelFeed({ messages: 6, bytes: 150 });
      const left: FeedItem[] = [];
      let n = 0;
      for (const { do: what, size } of commands) {
        n += 1;
        if (what === 'hear') feed.hear(message(n, size));
        else if (what === 'flap') {
          feed.down(n, 'away');
          feed.up(['even'], { since: n, reason: 'away' }, n);
        } else {
          const item = feed.next();
          if (item) left.push(item);
        }
        expect(feed.waiting.messages).toBeLessThanOrEqual(6);
        expect(feed.waiting.bytes).toBeLessThanOrEqual(150);
      }
      left.push(...drain(feed));
      const times = left.flatMap((item) => (item.kind === 'message' ? [item.at] : []));
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      const lost = left
        .flatMap((item) => (item.kind === 'gap' ? Object.values(item.channels) : []))
        .reduce<number>((sum, count) => sum + (count ?? 0), 0);
      expect(times.length + lost).toBe(commands.filter((one) => one.do === 'hear').length);
      expect(feed.waiting).toEqual({ messages: 0, bytes: 0 });
    }),
  );
});
