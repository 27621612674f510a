/** Which messages become one event: see actors/join-heard.ts. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { joinHeard, MOST_JOINED } from '../../actors/join-heard.ts';
import type { Answer, Outgoing } from '../../actors/ordered-sender.ts';

interface Waiting {
  type: 'bridge.heard' | 'bridge.gap';
  channel: string;
  hasId: boolean;
}

const waiting = fc.record<Waiting>({
  type: fc.constantFrom('bridge.heard' as const, 'bridge.heard' as const, 'bridge.gap' as const),
  channel: fc.constantFrom('a', 'b'),
  hasId: fc.boolean(),
});

function queueOf(all: readonly Waiting[], answers: number[] = []): Outgoing[] {
  return all.map(({ type, channel, hasId }, n) => ({
    event: { type, channel, entry: `${n}-0`, id: String(n), host: 'h', service: 's', original: '' },
    ...(hasId ? { id: `own:${n}` } : {}),
    done: () => void answers.push(n),
  }));
}

/** All that was sent, as if it had been sent one by one. */
function sentOneByOne(queue: readonly Outgoing[]): { ids: unknown[]; sent: Outgoing[] } {
  const sent: Outgoing[] = [];
  for (let at = 0; at < queue.length;) {
    const joined = joinHeard(queue, at, false);
    sent.push(joined?.outgoing ?? (queue[at] as Outgoing));
    at += joined?.count ?? 1;
  }
  const ids = sent.flatMap(({ event }) =>
    event.type === 'bridge.heardMany'
      ? (event['messages'] as { id: string }[]).map(({ id }) => id)
      : [event['id']],
  );
  return { ids, sent };
}

const DURABLE: Answer = { kind: 'durable', isDuplicate: false };

describe('what waits to be sent', () => {
  test('property: nothing is lost, doubled or put into another order, and all are answered', () => {
    fc.assert(
      fc.property(fc.array(waiting, { maxLength: 200 }), (all) => {
        const answers: number[] = [];
        const { ids, sent } = sentOneByOne(queueOf(all, answers));
        expect(ids).toEqual(all.map((_, n) => String(n)));
        for (const outgoing of sent) outgoing.done(DURABLE);
        expect(answers).toEqual(all.map((_, n) => n));
      }),
    );
  });

  test('property: what has an id of its own, or is no message, goes alone; channels do not mix', () => {
    fc.assert(
      fc.property(fc.array(waiting, { maxLength: 200 }), (all) => {
        for (const { event } of sentOneByOne(queueOf(all)).sent) {
          if (event.type !== 'bridge.heardMany') continue;
          const members = (event['messages'] as { id: string }[]).map(({ id }) => all[Number(id)]);
          expect(members.length).toBeLessThanOrEqual(MOST_JOINED);
          for (const member of members)
            expect(member).toEqual({
              type: 'bridge.heard',
              channel: event['channel'],
              hasId: false,
            });
          expect(event['entry']).toBe(`${(event['messages'] as { id: string }[]).at(-1)?.id}-0`);
        }
      }),
    );
  });

  test('given somebody who is told of each, then they go one by one', () => {
    const queue = queueOf(
      Array.from({ length: 3 }, () => ({ type: 'bridge.heard', channel: 'a', hasId: false })),
    );
    expect(joinHeard(queue, 0, true)).toBeUndefined();
  });
});
