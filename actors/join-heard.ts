/**
 * Messages that wait one behind the other, as one event: a record, a transition and an answer are then paid once for all of
 * them. Only those are joined that nobody else is told of (a listener has its own pace) and that have no id of their own to
 * be known by.
 */
import type { BridgeEvent, Heard } from '../machines/bridge-context.ts';
import { asJsonObject } from '../machines/json.ts';
import type { Answer, Outgoing } from './ordered-sender.ts';

export const MOST_JOINED = 64;
const MOST_CHARS = 256 << 10;

/** The longest run from `from` on, when it is more than one. */
export function joinHeard(
  queue: readonly Outgoing[],
  from: number,
  isHeardBySome: boolean,
): { outgoing: Outgoing; count: number } | undefined {
  if (isHeardBySome) return undefined;
  const messages: Heard[] = [];
  let chars = 0;
  let last: Extract<BridgeEvent, { type: 'bridge.heard' }> | undefined;
  const run: Outgoing[] = [];
  for (
    let at = from;
    at < queue.length && run.length < MOST_JOINED && chars < MOST_CHARS;
    at += 1
  ) {
    const outgoing = queue[at] as Outgoing;
    const heard = outgoing.event as unknown as BridgeEvent;
    if (heard.type !== 'bridge.heard' || outgoing.id !== undefined) break;
    if (last !== undefined && heard.channel !== last.channel) break;
    const { id, host, service, event, original } = heard;
    messages.push({ id, host, service, event, original });
    chars += original.length;
    last = heard;
    run.push(outgoing);
  }
  if (last === undefined || run.length < 2) return undefined;
  const { channel, entry } = last;
  const event = asJsonObject({
    type: 'bridge.heardMany',
    channel,
    ...(entry === undefined ? {} : { entry }),
    messages,
  });
  const done = (answer: Answer): void => {
    for (const outgoing of run) outgoing.done(answer);
  };
  return { outgoing: { event: { ...event, type: 'bridge.heardMany' }, done }, count: run.length };
}
