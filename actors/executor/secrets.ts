/**
 * Secrets of notifications: read from files when they are needed, never kept, never shown.
 *
 * S1 A file that others can read, that belongs to somebody else, or that is a link, is refused with the command that mends it.
 * S2 Whatever is handed on to people or the journal is searched for every secret of the configuration first.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { createRedactor } from '../../bus/inspector-redaction.ts';
import { isPlainUrl, URL_FIX, URL_PROBLEM } from '../../machines/executor-config.ts';
import type { ExecutorConfig, HttpPlace, NotifyTarget } from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { Redact } from './output.ts';

const MAX_BYTES = 16 * 1024;
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/** Throws NOT_CONFIGURED. */
export function readSecret(file: string): string {
  const fd = open(file);
  try {
    const { mode, uid, size } = fstatSync(fd);
    const own = process.getuid?.() ?? uid;
    if ((mode & 0o170000) !== 0o100000) throw refused(file, 'it is not a file');
    if (uid !== own && uid !== 0) throw refused(file, 'it belongs to another user');
    if ((mode & 0o077) !== 0) throw refused(file, 'other users can read it', `chmod 600 ${file}`);
    if (size > MAX_BYTES) throw refused(file, `it has more than ${MAX_BYTES} bytes`);
    const text = readFileSync(fd, 'utf8').trim();
    if (text === '') throw refused(file, 'it is empty');
    return text;
  } finally {
    closeSync(fd);
  }
}

function open(file: string): number {
  try {
    return openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw refused(file, code === 'ELOOP' ? 'it is a symbolic link' : (code ?? String(error)));
  }
}

function refused(file: string, why: string, fix = `See that it is there, with mode 600.`) {
  return new RuntimeError(`the secret in ${file} cannot be used: ${why}`, {
    code: 'NOT_CONFIGURED',
    details: { file },
    hint: fix,
  });
}

export function urlOf({ url, url_file: file }: HttpPlace): string {
  if (file === undefined) return url ?? '';
  const secret = readSecret(file);
  if (!isPlainUrl(secret)) throw refused(file, URL_PROBLEM, URL_FIX);
  return secret;
}

/** Without its path, which may be the secret. */
export const shownUrl = (place: HttpPlace): string =>
  place.url_file === undefined ? `${new URL(place.url ?? '').origin}/…` : `the URL in a file`;

/** Names that are for us, or for the connection, to say. */
const NOT_THEIRS =
  /^(?:host|content-length|content-type|transfer-encoding|connection|upgrade|idempotency-key|expect|te|trailer)$/i;

/** The file holds an object from name to value. */
export function headersOf(file: string | undefined): Record<string, string> {
  if (file === undefined) return {};
  const value = jsonOf(file);
  if (!isJsonObject(value)) throw refused(file, 'it holds no JSON object', HEADERS_FIX);
  const headers: Record<string, string> = {};
  for (const [name, text] of Object.entries(value)) {
    const isGood = typeof text === 'string' && /^[\x20-\x7e]{0,4000}$/.test(text);
    if (!isGood || !/^[A-Za-z0-9-]{1,100}$/.test(name) || NOT_THEIRS.test(name))
      throw refused(
        file,
        `header ${JSON.stringify(name.slice(0, 60))} cannot be sent`,
        HEADERS_FIX,
      );
    headers[name] = text;
  }
  return headers;
}

const HEADERS_FIX =
  'Write {"Authorization": "Bearer ..."}; Host, Content-Type and the like are ours.';

function jsonOf(file: string): unknown {
  try {
    return JSON.parse(readSecret(file));
  } catch (error) {
    // Not quoted: JSON's complaints show what they choke on.
    if (error instanceof SyntaxError) throw refused(file, 'it is not JSON', HEADERS_FIX);
    throw error;
  }
}

/** S2. */
export function redactorOf({ notify }: ExecutorConfig): Redact {
  const known = notify.flatMap(secretsOf).filter((secret) => secret.length >= 8);
  const redactor = createRedactor(known);
  const redactLine = (line: string): string => redactor.text(line);
  return (text) => {
    const whole = known.reduce((left, secret) => left.replaceAll(secret, '[redacted]'), text);
    return whole.replaceAll(KEY_BLOCK, '[redacted]').split('\n').map(redactLine).join('\n');
  };
}

const KEY_BLOCK =
  /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}-----|$)/g;

/** Those of files that cannot be read are known to nobody here. */
function secretsOf(target: NotifyTarget): string[] {
  if (target.kind === 'command') return [];
  const url = orNothing(() => (target.url_file === undefined ? [] : [urlOf(target)]));
  if (target.kind === 'ntfy')
    return [...url, ...orNothing(() => (target.token_file ? [readSecret(target.token_file)] : []))];
  const headers = orNothing(() => Object.values(headersOf(target.headers_file)));
  const bare = headers.flatMap((value) => [value, value.replace(/^\S+\s+/, '')]);
  return [...url, ...bare];
}

function orNothing(read: () => string[]): string[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof RuntimeError) return []; // said when it is needed
    throw error;
  }
}
