/**
 * What a bridge to another message system remembers, and how its events change that. Small and bounded: it is written into
 * snapshots and checkpoints again and again (P8).
 */
import { RuntimeError } from './errors.ts';
import type { SendParams, Stamp } from './events.ts';
import type { HomelabEvent } from './homelab-events.ts';
import { asJsonObject } from './json.ts';

/** Messages that were lost, or may have been, without anybody having read them. Times are epoch ms. */
export interface Gap {
  channel: string;
  since: number;
  until: number;
  reason: string;
  /** How many; null: nobody knows. */
  dropped: number | null;
}

/** Whose events an actor wants; left out: all. */
export interface Wanted {
  hosts?: string[];
  types?: string[];
}

/** A message that was understood. */
export interface Heard {
  id: string;
  host: string;
  service: string;
  event: HomelabEvent;
  /** The text as it came; of a stream's entry with many fields, its fields. */
  original: string;
}

export type BridgeEvent =
  /** It listens from now on. `instance`: of the bridge, for ids; `where`: without secrets. */
  | { type: 'bridge.up'; instance: string; where: string }
  | { type: 'bridge.down'; reason: string; since: number }
  | ({
      type: 'bridge.heard';
      channel: string;
      /** Its id as `<milliseconds>-<number>` when it came from a stream that this bridge reads in order. */
      entry?: string;
    } & Heard)
  /** Several at once, in order: what one costs besides is paid once. `entry`: of the last. */
  | { type: 'bridge.heardMany'; channel: string; entry?: string; messages: Heard[] }
  /** A dead letter. */
  | {
      type: 'bridge.refused';
      channel: string;
      entry?: string;
      reason: string;
      bytes: number;
      /** The message, or its beginning. */
      raw: string;
      encoding: 'utf8' | 'base64';
    }
  | ({ type: 'bridge.gap' } & Gap)
  /** Entries of the stream up to this one count as read. */
  | { type: 'bridge.stream'; stream: string; after: string }
  /** From other actors of this node. */
  | ({ type: 'bridge.subscribe'; address: string } & Wanted)
  | { type: 'bridge.unsubscribe'; address: string };

export interface BridgeContext {
  instance: string | null;
  where: string | null;
  /** Since when it is up or down, epoch ms. */
  since: number;
  /** The last time it is known to have listened, epoch ms; null: never. */
  listenedAt: number | null;
  /** Why it is down. */
  reason: string | null;
  heard: number;
  refused: number;
  gaps: number;
  /** Messages that are known to be lost. */
  dropped: number;
  lastGap: Gap | null;
  /** Stream to the last entry read. */
  streams: Record<string, string>;
  subscribers: Record<string, Wanted>;
}

export const MAX_SUBSCRIBERS = 64;
const MAX_WANTED = 100;
const ADDRESS = /^[A-Za-z0-9_./%-]{1,300}$/;

export function freshBridge({ at }: Pick<Stamp, 'at'>): BridgeContext {
  return {
    instance: null,
    where: null,
    since: at,
    listenedAt: null,
    reason: null,
    heard: 0,
    refused: 0,
    gaps: 0,
    dropped: 0,
    lastGap: null,
    streams: {},
    subscribers: {},
  };
}

/** Where an entry of this channel leaves the bridge in its stream. */
export function readTo(
  { streams }: BridgeContext,
  channel: string,
  entry: string | undefined,
): Pick<BridgeContext, 'streams'> {
  return { streams: entry === undefined ? streams : { ...streams, [channel]: entry } };
}

export function noteGap(
  { gaps, dropped }: BridgeContext,
  { channel, since, until, reason, dropped: lost }: Gap,
): Pick<BridgeContext, 'gaps' | 'dropped' | 'lastGap'> {
  const lastGap = { channel, since, until, reason, dropped: lost };
  return { gaps: gaps + 1, dropped: dropped + (lost ?? 0), lastGap };
}

/** Subscribing again replaces what was wanted. Throws RuntimeError INVALID_ARGUMENT, and BUSY at the bound. */
export function subscribe(
  { subscribers }: BridgeContext,
  { address, hosts, types }: { address: string } & Wanted,
): Pick<BridgeContext, 'subscribers'> {
  if (!ADDRESS.test(address))
    throw new RuntimeError('a subscriber needs an address', { code: 'INVALID_ARGUMENT' });
  const isNew = !Object.hasOwn(subscribers, address);
  if (isNew && Object.keys(subscribers).length >= MAX_SUBSCRIBERS)
    throw new RuntimeError(`the bridge has ${MAX_SUBSCRIBERS} subscribers`, { code: 'BUSY' });
  const wanted = { ...listed('hosts', hosts), ...listed('types', types) };
  return { subscribers: { ...subscribers, [address]: wanted } };
}

function listed(name: keyof Wanted, names: unknown): Wanted {
  if (names === undefined) return {};
  const isList =
    Array.isArray(names) &&
    names.length <= MAX_WANTED &&
    names.every((item) => typeof item === 'string' && item.length <= 200);
  if (isList) return { [name]: [...(names as string[])] };
  throw new RuntimeError(`${name} must be at most ${MAX_WANTED} names`, {
    code: 'INVALID_ARGUMENT',
  });
}

export function unsubscribe(
  { subscribers }: BridgeContext,
  address: string,
): Pick<BridgeContext, 'subscribers'> {
  const { [address]: _, ...rest } = subscribers;
  return { subscribers: rest };
}

/** Who gets an event of this host and type. */
export function listeners(
  { subscribers }: BridgeContext,
  { host, type }: { host: string; type: string },
): string[] {
  return Object.entries(subscribers)
    .filter(
      ([, { hosts, types }]) => (hosts?.includes(host) ?? true) && (types?.includes(type) ?? true),
    )
    .map(([address]) => address);
}

/** The messages of an event that brings some, in order. */
export const heardIn = (
  event: Extract<BridgeEvent, { type: 'bridge.heard' | 'bridge.heardMany' }>,
): readonly Heard[] => (event.type === 'bridge.heard' ? [event] : event.messages);

export const hasListeners = ({ subscribers }: BridgeContext): boolean => {
  for (const _ in subscribers) return true;
  return false;
};

/** What subscribers are told. One that is gone is told nothing, and nobody minds. */
export function toListener(to: string, event: { type: string } & object): SendParams {
  return { to, event: { ...asJsonObject(event), type: event.type }, ifThere: true };
}

/** Negative when entry `a` comes before `b`. Their numbers have 64 bits: they are compared as text. */
export function compareEntries(a: string, b: string): number {
  const [aMs = '', aSeq = ''] = a.split('-');
  const [bMs = '', bSeq = ''] = b.split('-');
  return compareDigits(aMs, bMs) || compareDigits(aSeq, bSeq);
}

function compareDigits(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
