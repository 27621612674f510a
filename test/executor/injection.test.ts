/** Whatever an event or a model calls a host, a service or an argument: no shell reads it, here or there. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planFor } from '../../actors/executor/drivers.ts';
import { quoted, sshArgv } from '../../actors/executor/reach.ts';
import type { Setting } from '../../actors/executor/reach.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { EMPTY_EXECUTOR_CONFIG, safeArgument } from '../../machines/executor-config.ts';
import { runnable } from '../support/fake-docker.ts';

/** Words that shells make something of. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
  fc.stringMatching(/^[-$`"'\\;|&<>(){}*?!#~ \n\t\0a-z/.=%@:]{0,20}$/),
  fc.constantFrom(
    '$(id)',
    '`id`',
    '--help',
    '-oProxyCommand=id',
    "'; id; '",
    'a\nid',
    '..',
    '../x',
    '{host}',
    '$0',
    "\\'",
  ),
);

const setting: Setting = {
  file: '/etc/executor.json',
  localHosts: ['here'],
  config: {
    ...EMPTY_EXECUTOR_CONFIG,
    hosts: {
      piha: { via: 'ssh', destination: 'lazarus@piha', compose: {} },
      nas: { via: 'nats' },
    },
    commands: {
      tidy: {
        argv: ['tidy', '--deep', '{what}', '--service={service}', '{host}', '{container}'],
        arguments: { what: { pattern: '.*' } },
        retry: 'safe',
      },
    },
  },
};

/** What a POSIX shell makes of a text: its words, one a line of hex. */
function wordsIn(text: string): string[] {
  const program = `for word in ${text}; do printf '%s' "$word" | od -An -v -tx1 | tr -d ' \\n'; echo; done`;
  const { stdout, status } = spawnSync('/bin/sh', ['-c', program], { encoding: 'utf8' });
  expect(status).toBe(0);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((hex) => Buffer.from(hex, 'hex').toString('utf8'));
}

describe('quoting', () => {
  test('property: a shell reads exactly the words that were quoted, or they are refused', () => {
    fc.assert(
      fc.property(fc.array(hostile, { minLength: 1, maxLength: 4 }), (words) => {
        const isPlain = words.every((word) => !/\p{Cc}/u.test(word) && word.isWellFormed());
        if (!isPlain) {
          if (words.some((word) => /\p{Cc}/u.test(word)))
            expect(() => quoted(words)).toThrow(RuntimeError);
          return;
        }
        expect(wordsIn(quoted(words))).toEqual(words);
      }),
      { numRuns: 150 },
    );
  });

  test('property: behind -- ssh gets the destination of the file and one text, whatever the words are', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme-ascii' }), { minLength: 1 }), (words) => {
        const argv = sshArgv({ via: 'ssh', destination: 'lazarus@piha' }, words, 5000);
        expect(argv.slice(argv.indexOf('--'))).toEqual(['--', 'lazarus@piha', quoted(words)]);
      }),
    );
  });
});

describe('names', () => {
  test('property: a name either is refused, or stands in the command as one harmless word', () => {
    const type = fc.constantFrom(
      'container_restart',
      'redeploy',
      'disk_cleanup',
      'command',
      'notify',
    );
    const host = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom('here', 'piha', 'nas') },
      { weight: 1, arbitrary: hostile },
    );
    fc.assert(
      fc.property(type, host, hostile, hostile, (kind, on, service, what) => {
        const payload = { command: 'tidy', arguments: { what } };
        const run = runnable({ type: kind, host: on, service, payload });
        try {
          const { steps } = planFor(run, setting);
          for (const { identity } of steps) {
            const { argv } = identity as { argv?: string[] };
            if (argv === undefined) continue;
            expect(argv.slice(1).every((word) => safeArgument(word) || word.startsWith('-'))).toBe(
              true,
            );
            expect(argv.filter((word) => word.startsWith('-'))).toEqual(
              argv[0] === 'tidy' ? ['--deep', `--service=${service}`] : [],
            );
          }
        } catch (error) {
          expect(error).toBeInstanceOf(RuntimeError);
          expect(['INVALID_ARGUMENT', 'NOT_CONFIGURED']).toContain((error as RuntimeError).code);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
