/** What came over a bridge, as the event that the bridge's actor takes: heard, or refused with the reason. */
import { isUtf8 } from 'node:buffer';
import type { BridgeEvent } from '../machines/bridge-context.ts';
import { MAX_MESSAGE_BYTES, readEntry, readMessage } from '../machines/homelab-events.ts';
import type { About, Reading } from '../machines/homelab-events.ts';
import { utf8Text } from './utf8-text.ts';

/** How much of a refused message is kept, in bytes. */
export const REFUSED_BYTES = 16 << 10;

export interface Taken {
  event: Extract<BridgeEvent, { type: 'bridge.heard' | 'bridge.refused' }>;
  /** The producer gave the event an id of its own. */
  hasOwnId: boolean;
}

/** What is worth keeping of a message: all of it, unless it is too long to be accepted anyway. */
export const keptOf = (raw: Buffer): Buffer =>
  raw.length > MAX_MESSAGE_BYTES ? Buffer.from(raw.subarray(0, REFUSED_BYTES)) : raw;

/** `raw`: as `keptOf` left it; `bytes`: of the whole. */
export function takeMessage(raw: Buffer, bytes: number, about: About): Taken {
  return taken(
    reading([raw], bytes, ([text = '']) => readMessage(text, about)),
    raw,
    bytes,
    about,
  );
}

/** `entry`: where it stands in its stream; left out, it says nothing about how far the stream was read. */
export function takeEntry(
  fields: readonly (readonly [Buffer, Buffer])[],
  bytes: number,
  about: About,
  entry?: string,
): Taken {
  const raws = fields.flat();
  const read = reading(raws, bytes, (texts) =>
    readEntry(
      fields.map((_, i) => [texts[2 * i] ?? '', texts[2 * i + 1] ?? '']),
      about,
    ),
  );
  const { event, hasOwnId } = taken(read, beginningOf(raws), bytes, about);
  return { event: entry === undefined ? event : { ...event, entry }, hasOwnId };
}

function reading(
  raws: readonly Buffer[],
  bytes: number,
  read: (texts: string[]) => Reading,
): Reading {
  if (bytes > MAX_MESSAGE_BYTES)
    return { kind: 'refused', reason: `it has ${bytes} bytes; ${MAX_MESSAGE_BYTES} are allowed` };
  if (!raws.every((raw) => isUtf8(raw))) return { kind: 'refused', reason: 'it is no UTF-8 text' };
  return read(raws.map((raw) => raw.toString()));
}

function taken(read: Reading, raw: Buffer, bytes: number, { channel }: About): Taken {
  if (read.kind === 'refused') {
    const { reason } = read;
    const event = { type: 'bridge.refused' as const, channel, reason, bytes, ...shown(raw) };
    return { event, hasOwnId: false };
  }
  const { event: inner, hasOwnId, original } = read;
  const { host, service } = inner.data;
  const about = { channel, id: inner.id, host, service };
  return { event: { type: 'bridge.heard', ...about, event: inner, original }, hasOwnId };
}

/** Text as text, if it is; a character that the cut goes through is left out. */
function shown(raw: Buffer): { raw: string; encoding: 'utf8' | 'base64' } {
  const start = raw.subarray(0, REFUSED_BYTES);
  const text = utf8Text(start, { isCut: raw.length >= REFUSED_BYTES });
  if (text !== undefined) return { raw: text, encoding: 'utf8' };
  return { raw: start.toString('base64'), encoding: 'base64' };
}

/** For a refused entry: its fields, a line each. */
function beginningOf(raws: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  let bytes = 0;
  for (const raw of raws) {
    if (bytes >= REFUSED_BYTES) break;
    parts.push(raw.subarray(0, REFUSED_BYTES), NEWLINE);
    bytes += raw.length + 1;
  }
  return Buffer.concat(parts).subarray(0, REFUSED_BYTES);
}
const NEWLINE = Buffer.from('\n');
