/**
 * Who may use the HTTP gateway. Loopback is no protection by itself: every page that a browser on this machine shows can
 * send requests to it, and a name whose DNS answer is changed to 127.0.0.1 makes such a page look local.
 *
 * Q1 `Host` must be a name of loopback, the address that the connection came in on, or a name that the configuration lists
 *    (DNS rebinding).
 * Q2 A browser's `Origin` must be the gateway itself, as it was called or by a listed name; there is no other page of ours.
 * Q3 The token is compared in constant time.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';
import { hostName } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';

const LOOPBACK_NAMES: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

export function isLoopback(address: string): boolean {
  const plain = address.replace(/^::ffff:/i, '');
  return plain === '::1' || (isIPv4(plain) && plain.startsWith('127.'));
}

/** By what names a gateway may be called. */
export interface GatewayNames {
  /** Of `--http`, as it was written. */
  host: string;
  /** As the configuration lists them; may change while it runs. Default: none. */
  allowedHosts?: (() => readonly string[]) | undefined;
}

/** Throws RuntimeError FORBIDDEN. */
export function checkHost(request: IncomingMessage, names: GatewayNames): void {
  const { host = '' } = request.headers;
  const name = host.replace(/:\d{1,5}$/, '').toLowerCase();
  const local = request.socket.localAddress?.replace(/^::ffff:/i, '') ?? '';
  const own = [...LOOPBACK_NAMES, inBrackets(names.host.toLowerCase()), inBrackets(local)];
  if (own.includes(name) || isListed(name, names)) return;
  throw new RuntimeError(`the Host '${host.slice(0, 100)}' is none of this gateway's`, {
    code: 'FORBIDDEN',
    hint: 'Use the address that node.json has under "http", or name this one in "http_allowed_hosts".',
  });
}

/** Throws RuntimeError FORBIDDEN. */
export function checkOrigin({ headers }: IncomingMessage, names: GatewayNames): void {
  const { origin } = headers;
  if (origin === undefined || isOwnOrigin(headers, names)) return;
  throw new RuntimeError(`the Origin '${origin.slice(0, 100)}' is not this gateway's`, {
    code: 'FORBIDDEN',
    hint: 'Pages of other sites may not use it.',
  });
}

/**
 * Q2. By a listed name on the port that was asked for, or on a usual one, where a proxy may stand before us; what another port
 * serves is another site.
 */
export function isOwnOrigin({ origin, host }: IncomingHttpHeaders, names: GatewayNames): boolean {
  if (origin === undefined) return false;
  const called = host?.toLowerCase();
  if (origin.toLowerCase() === `http://${called}`) return true;
  const [, name = '', port] = /^https?:\/\/([^/]*?)(:\d{1,5})?$/.exec(origin.toLowerCase()) ?? [];
  return isListed(name, names) && (port === undefined || `${name}${port}` === called);
}

const isListed = (name: string, { allowedHosts }: GatewayNames): boolean =>
  allowedHosts?.().some((listed) => hostName(listed) === name) ?? false;

/** Throws RuntimeError UNAUTHORIZED. */
export function checkToken({ headers }: IncomingMessage, token: string): void {
  const given = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), digest(token))) return;
  throw new RuntimeError(given === undefined ? 'the token is missing' : 'the token is wrong', {
    code: 'UNAUTHORIZED',
    hint: 'Send "Authorization: Bearer <token>"; node.json names the file that holds it under "http_token_file".',
  });
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** As it stands in a URL. */
export const inBrackets = (host: string): string => (isIPv6(host) ? `[${host}]` : host);
