import { expect, test } from 'vitest';
import { redisPlace, withoutSecrets } from '../../machines/redis-url.ts';

test.each([
  ['redis://127.0.0.1:6379', 'redis://127.0.0.1:6379/0', []],
  ['redis://piha', 'redis://piha:6379/0', []],
  ['rediss://u:p%40ss@h:1/3', 'rediss://h:1/3', ['p%40ss', 'p@ss']],
  ['redis://:secret@[::1]:7', 'redis://[::1]:7/0', ['secret']],
  ['redis://h/?password=x', 'redis://h:6379/0', []],
])('%s is shown as %s', (text, shown, secrets) => {
  expect(redisPlace(text)).toEqual({ shown, secrets });
});

test.each(['off', '', 'piha:6379', 'http://h', 'redis://', 'redis://h/x', 'redis://:%E0%A4%A@h'])(
  '%j is none',
  (text) => {
    expect(redisPlace(text)).toBeUndefined();
  },
);

test('secrets are taken out of any text', () => {
  const secrets = redisPlace('redis://:hun%20ter@h')?.secrets ?? [];
  expect(withoutSecrets("ERR unknown command 'AUTH hun ter', hun%20ter", secrets)).toBe(
    "ERR unknown command 'AUTH [redacted]', [redacted]",
  );
});
