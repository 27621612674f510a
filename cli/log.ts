/**
 * Logs: `up` writes JSON lines to standard output, or a readable form when that is a terminal; every other verb writes to
 * standard error, so that standard output holds its result alone. What looks like a secret is not written; what cannot be seen,
 * or turns around what stands beside it, is written as `\uXXXX`.
 */
import { Writable } from 'node:stream';
import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import { escapeUnseen } from '../machines/plain-text.ts';

export type Log = Logger;

/** For help texts; machines/daemon-config.ts has all that are understood. */
export const LEVEL_NAMES = 'debug, info, warning, error, critical';

const SECRETS = ['token', 'password', 'authorization', 'api_key', 'apiKey', 'secret'];
const options = (level: string) => ({
  level,
  base: null,
  timestamp: pino.stdTimeFunctions.isoTime,
  formatters: { level: (label: string) => ({ level: label }) },
  redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
  hooks: { streamWrite: escapeUnseen },
});

export async function stdoutLog(level: string, { json = false } = {}): Promise<Log> {
  if (process.stdout.isTTY && !json) {
    const { default: pretty } = await import('pino-pretty');
    const colorize = process.stdout.hasColors() && !process.env['NO_COLOR'];
    const stream = pretty({
      colorize,
      sync: true,
      translateTime: 'SYS:HH:MM:ss',
      ignore: 'pid,hostname',
      destination: seen(),
    });
    return pino(options(level), survives(stream));
  }
  return pino(options(level), survives(pino.destination({ dest: 1, sync: true })));
}

export function stderrLog(
  level: string,
  to: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Log {
  return pino(options(level), survives(to));
}

/** Standard output. The readable form is made of values, which are no JSON any more. */
const seen = (): Writable => {
  survives(process.stdout);
  return new Writable({
    decodeStrings: false,
    write(text, _encoding, done) {
      process.stdout.write(escapeUnseen(String(text)));
      done();
    },
  });
};

/** A runtime does not end because nobody reads its log any more (`lazarus up | head`). */
function survives<T extends DestinationStream>(stream: T): T {
  const { on } = stream as { on?: (event: 'error', listener: () => void) => void };
  on?.call(stream, 'error', () => undefined);
  return stream;
}
