/** Names in subjects: any name becomes one token and comes back, and no name of anybody's reaches another one's subject. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  eventsSubject,
  homelabSubject,
  injectTarget,
  nameOfToken,
  subjectToken,
} from '../../bus/subjects.ts';
import { streamOf } from '../../bus/streams.ts';
import { agentAddress, cellAddress, SYSTEM_CELL_ID } from '../../machines/addresses.ts';

const PLAIN_TOKEN = /^(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+$/;
/** Any text that can be written down: names of hosts and services come from outside. */
const anyName = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom(
    '',
    '.',
    '..',
    '*',
    '>',
    ' ',
    '%',
    '%2E',
    '_',
    '-',
    '/',
    '\0',
    '\r\n',
    '$JS',
    'é',
  ),
);
const isSubject = (subject: string): boolean =>
  subject.split('.').every((token) => PLAIN_TOKEN.test(token));

describe('a name as a token', () => {
  test('is one token without wildcards, and comes back as it was', () => {
    fc.assert(
      fc.property(anyName, (name) => {
        const token = subjectToken(name);
        expect(token).toMatch(PLAIN_TOKEN);
        expect(nameOfToken(token)).toBe(name === '' ? '_' : name);
      }),
      { numRuns: 1000 },
    );
  });

  test('differs from that of every other name, but for the empty one and `_`', () => {
    fc.assert(
      fc.property(anyName, anyName, (one, other) => {
        fc.pre((one || '_') !== (other || '_'));
        expect(subjectToken(one)).not.toBe(subjectToken(other));
      }),
      { numRuns: 1000 },
    );
  });

  test.each(['', '.', 'a b', 'a%', 'a%G0', '%FF', '%C3', '*', '>', 'é', 'a.b', '%ED%A0%80'])(
    '%j is no token of ours',
    (token) => expect(nameOfToken(token)).toBeUndefined(),
  );

  test('any text is either no token or the name of one', () => {
    fc.assert(
      fc.property(anyName, (text) => {
        const name = nameOfToken(text);
        if (name !== undefined) expect(nameOfToken(subjectToken(name))).toBe(name);
      }),
    );
  });
});

describe('the subject of what an actor took in', () => {
  test.each([
    ['cell/c', 'missions.c.events'],
    ['cell/c/agent/a', 'missions.c.agents.a.events'],
    ['system/lazarus/c/a', `missions.${SYSTEM_CELL_ID}.lazarus.c.a.events`],
    ['system/bridge/redis', `missions.${SYSTEM_CELL_ID}.bridge.redis.events`],
    ['system/planner/nas/a b.c', `missions.${SYSTEM_CELL_ID}.planner.nas.a%20b%2Ec.events`],
  ])('%s: %s', (address, subject) => expect(eventsSubject(address)).toBe(subject));

  test('has no wildcard and no empty token, whatever the address, and goes to one stream', () => {
    const address = fc
      .array(anyName, { minLength: 1, maxLength: 6 })
      .map((names) => names.join('/'));
    const kinds = fc.constantFrom('cell/', 'system/', '');
    fc.assert(
      fc.property(kinds, address, (kind, rest) => {
        const subject = eventsSubject(`${kind}${rest}`);
        expect(isSubject(subject), subject).toBe(true);
        expect(subject).toMatch(/^missions\..*\.?events$/);
        expect(streamOf(subject)?.name).toBe('MISSIONS');
      }),
      { numRuns: 1000 },
    );
  });

  test('of a homelab event too', () => {
    fc.assert(
      fc.property(anyName, anyName, anyName, (channel, host, service) => {
        const subject = homelabSubject({ channel, host, service });
        expect(isSubject(subject), subject).toBe(true);
        expect(subject.split('.').length).toBe(4);
        expect(streamOf(subject)?.name).toBe('HOMELAB');
      }),
    );
  });
});

describe('to whom an injected event goes', () => {
  test('is what its subject names', () => {
    const name = anyName.filter((text) => text !== '');
    fc.assert(
      fc.property(name, fc.option(name), (cellId, agentId) => {
        const subject = ['ops.inject', cellId, ...(agentId === null ? [] : [agentId])]
          .map((part, n) => (n === 0 ? part : subjectToken(part)))
          .join('.');
        expect(injectTarget(subject)).toEqual({ cellId, agentId });
      }),
    );
  });

  test('is nobody for any other subject', () => {
    for (const subject of ['ops.inject', 'ops.inject.', 'ops.inject.a.', 'ops.inject..a'])
      expect(injectTarget(subject)).toBeUndefined();
    for (const subject of ['ops.inject.a.b.c', 'ops.injected.a', 'missions.a.events', ''])
      expect(injectTarget(subject)).toBeUndefined();
  });

  test('the addresses of a mission and of its agent have subjects that do not meet', () => {
    expect(eventsSubject(cellAddress('agents'))).toBe('missions.agents.events');
    expect(eventsSubject(agentAddress('c', 'events'))).toBe('missions.c.agents.events.events');
  });
});
