import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { compareEntries, MAX_SUBSCRIBERS } from '../../machines/bridge-context.ts';
import type { BridgeContext, BridgeEvent } from '../../machines/bridge-context.ts';
import { bridgeMachine } from '../../machines/bridge.machine.ts';
import { MachineDriver } from '../support/machine-driver.ts';

let bridge: MachineDriver;
const context = (): BridgeContext => bridge.snapshot.context as BridgeContext;
const tell = (event: BridgeEvent) => bridge.deliver(event);

function heard(
  host: string,
  type: string,
  more: { channel?: string; entry?: string } = {},
): BridgeEvent {
  const channel = more.channel ?? 'health_events';
  const data = { host, service: 's', severity: 'info' as const, payload: {}, channel };
  const event = { id: 'i', type, at: '2026-01-01T00:00:00.000Z', source: 'x', data };
  return {
    type: 'bridge.heard',
    channel,
    id: 'i',
    host,
    service: 's',
    event,
    original: '{}',
    ...more,
  };
}

beforeEach(() => {
  bridge = new MachineDriver(bridgeMachine, {});
});

describe('what it knows of itself', () => {
  test('up, heard, down: since when, how much, and when it last listened', () => {
    tell({ type: 'bridge.up', instance: 'n.1', where: 'redis://h:1/0' });
    expect([bridge.snapshot.value, context().listenedAt]).toEqual(['up', bridge.clock.at]);
    bridge.clock.at += 1000;
    tell(heard('h', 't'));
    const listened = bridge.clock.at;
    bridge.clock.at += 9000;
    tell({ type: 'bridge.down', reason: 'closed', since: listened + 500 });
    expect(bridge.snapshot.value).toBe('down');
    expect(context()).toMatchObject({ heard: 1, reason: 'closed', since: listened + 500 });
    expect(context().listenedAt).toBe(listened + 500);
  });

  test('down while it is down only names the newest reason', () => {
    tell({ type: 'bridge.down', reason: 'refused', since: 5 });
    expect(context()).toMatchObject({ reason: 'refused', listenedAt: null });
  });

  test('losses are counted where they can be, and the last is kept', () => {
    const gap = { channel: 'health_events', since: 1, until: 2, reason: 'away' };
    tell({ type: 'bridge.gap', ...gap, dropped: null });
    tell({ type: 'bridge.gap', ...gap, dropped: 12 });
    expect(context()).toMatchObject({ gaps: 2, dropped: 12, lastGap: { ...gap, dropped: 12 } });
  });

  test('how far a stream was read moves with the entry itself, refused ones too (B3)', () => {
    tell({ type: 'bridge.stream', stream: 's', after: '0-0' });
    tell(heard('h', 't', { channel: 's', entry: '5-1' }));
    expect(context().streams).toEqual({ s: '5-1' });
    const bad = { channel: 's', entry: '5-2', reason: 'r', bytes: 1, raw: 'x' };
    tell({ type: 'bridge.refused', ...bad, encoding: 'utf8' });
    tell(heard('h', 't', { channel: 's' })); // taken over from elsewhere
    expect(context()).toMatchObject({ streams: { s: '5-2' }, heard: 2, refused: 1 });
  });
});

describe('subscribers', () => {
  test.each<[string, { hosts?: string[]; types?: string[] }, string[]]>([
    ['everything', {}, ['a/x', 'a/y', 'b/x']],
    ['one host', { hosts: ['a'] }, ['a/x', 'a/y']],
    ['one type', { types: ['x'] }, ['a/x', 'b/x']],
    ['both', { hosts: ['b'], types: ['x', 'z'] }, ['b/x']],
    ['nothing', { hosts: [] }, []],
  ])('get %s they want, in order (B2)', (_name, wanted, expected) => {
    tell({ type: 'bridge.subscribe', address: 'system/planner', ...wanted });
    const sent = ['a/x', 'a/y', 'b/x'].flatMap((name) => {
      const [host = '', type = ''] = name.split('/');
      return tell(heard(host, type)).sent;
    });
    expect(sent.map(({ to, ifThere }) => [to, ifThere])).toEqual(
      expected.map(() => ['system/planner', true]),
    );
    const got = sent.map(
      ({ event }) => event as unknown as { host: string; event: { type: string } },
    );
    expect(got.map(({ host, event }) => `${host}/${event.type}`)).toEqual(expected);
  });

  test('all are told of a loss, whatever they want', () => {
    tell({ type: 'bridge.subscribe', address: 'a', hosts: ['only'] });
    tell({ type: 'bridge.subscribe', address: 'b' });
    const gap = { channel: 'c', since: 1, until: 2, reason: 'away', dropped: null };
    const { sent } = tell({ type: 'bridge.gap', ...gap });
    expect(sent.map(({ to }) => to)).toEqual(['a', 'b']);
    expect(sent[0]?.event).toEqual({ type: 'homelab.gap', ...gap });
  });

  test('subscribing again replaces what was wanted; unsubscribing ends it', () => {
    tell({ type: 'bridge.subscribe', address: 'a', hosts: ['h'] });
    tell({ type: 'bridge.subscribe', address: 'a', types: ['t'] });
    expect(context().subscribers).toEqual({ a: { types: ['t'] } });
    tell({ type: 'bridge.unsubscribe', address: 'a' });
    tell({ type: 'bridge.unsubscribe', address: 'never' });
    expect(context().subscribers).toEqual({});
    expect(tell(heard('h', 't')).sent).toEqual([]);
  });

  test('are bounded, and who is one already may change what it wants', () => {
    for (let n = 0; n < MAX_SUBSCRIBERS; n += 1)
      tell({ type: 'bridge.subscribe', address: `a${n}` });
    expect(() => tell({ type: 'bridge.subscribe', address: 'one-more' })).toThrow(/64 subscribers/);
    tell({ type: 'bridge.subscribe', address: 'a0', hosts: ['h'] });
    expect(Object.keys(context().subscribers)).toHaveLength(MAX_SUBSCRIBERS);
  });

  test.each<[string, object]>([
    ['an address with a blank', { address: 'a b' }],
    ['no address', { address: '' }],
    ['too many hosts', { address: 'a', hosts: Array.from({ length: 101 }, () => 'h') }],
    ['hosts that are no list', { address: 'a', hosts: 'h' }],
    ['a type that is no text', { address: 'a', types: [7] }],
  ])('with %s are refused', (_name, wrong) => {
    expect(() => tell({ type: 'bridge.subscribe', ...wrong } as BridgeEvent)).toThrow(
      /address|names/,
    );
    expect(context().subscribers).toEqual({});
  });
});

describe('entries of a stream', () => {
  const number = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  test('are compared as the pairs of 64-bit numbers that they are', () => {
    fc.assert(
      fc.property(number, number, number, number, (a, b, c, d) => {
        const expected = a === c ? (b < d ? -1 : b > d ? 1 : 0) : a < c ? -1 : 1;
        const said = compareEntries(`${a}-${b}`, `${c}-${d}`);
        expect(Math.sign(said)).toBe(expected);
      }),
    );
  });
});
