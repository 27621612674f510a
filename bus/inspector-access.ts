/**
 * Who may watch. The inspector shows what missions know, so loopback alone is no protection: any page of any site that the
 * browser on this machine shows can reach it.
 *
 * A1 `Origin` is none (no browser), the gateway itself, or `https://stately.ai`; `null` is a file or a sandbox and nobody's.
 * A2 Who comes shows the token, in a header, a parameter or a subprotocol (`bearer.<token>`), or a ticket; the gateway's own
 *    page may show its cookie instead. All are compared as digests.
 * A3 A ticket opens one door once, within `TICKET_MS`: it stands in URLs, and those are kept in histories and process lists.
 * A4 Unless the configuration says `network`, only this machine comes in, wherever the gateway listens.
 * A5 The page's cookie is signed with the token and kept nowhere, so that a page that is open goes on when the node was started
 *    anew. It ends after `SESSION_MS`, and with the token.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { RuntimeError } from '../machines/errors.ts';
import { isLoopback, isOwnOrigin } from './gateway-guard.ts';
import type { GatewayNames } from './gateway-guard.ts';

export const STATELY = 'https://stately.ai';
/** The subprotocol that is agreed on when the token comes as another one. */
export const SUBPROTOCOL = 'lazarus.inspect';

const TICKET_MS = 5 * 60_000;
const SESSION_MS = 12 * 3_600_000;
const MAX_TICKETS = 100;

export interface AccessOptions {
  token: string;
  /** A4. */
  isNetwork: boolean;
  /** Of the gateway: A1. */
  names: GatewayNames;
}

export class InspectorAccess {
  readonly #token: string;
  readonly #isNetwork: boolean;
  readonly #names: GatewayNames;
  readonly #tickets = new Tickets();
  readonly #signingKey: Buffer;

  constructor({ token, isNetwork, names }: AccessOptions) {
    this.#token = digest(token);
    this.#signingKey = createHmac('sha256', token).update('lazarus inspector session').digest();
    this.#isNetwork = isNetwork;
    this.#names = names;
  }

  /** Throws RuntimeError FORBIDDEN: whatever it shows, nothing may come from there (A1, A4). */
  checkPlace({ headers, socket }: IncomingMessage): void {
    if (!this.#isNetwork && !isLoopback(socket.remoteAddress ?? ''))
      throw new RuntimeError('the inspector serves this machine only', {
        code: 'FORBIDDEN',
        hint: 'Watch from the host itself, or say "inspector": "network" in the configuration.',
      });
    const { origin } = headers;
    if (origin === undefined || origin === STATELY || isOwnOrigin(headers, this.#names)) return;
    throw new RuntimeError(`the Origin '${origin.slice(0, 100)}' may not watch`, {
      code: 'FORBIDDEN',
      hint: 'Use the page that `lazarus inspect` opens.',
    });
  }

  /** A2. Throws RuntimeError UNAUTHORIZED. */
  checkWatcher(request: IncomingMessage): void {
    const { headers } = request;
    const given = [bearerOf(headers), ...protocolsOf(headers), parameter(request, 'token')];
    if (given.some((token) => token !== undefined && digest(token) === this.#token)) return;
    const isPage = headers.origin === undefined || isOwnOrigin(headers, this.#names);
    const session = cookieOf(request);
    if (isPage && session !== undefined && this.#isSession(session)) return;
    const ticket = parameter(request, 'ticket');
    if (ticket !== undefined && this.#tickets.take(ticket)) return;
    throw unauthorized();
  }

  /** A new ticket for whoever has the token itself. Throws RuntimeError UNAUTHORIZED. */
  mintTicket({ headers }: IncomingMessage): { ticket: string; expiresAt: number } {
    const token = bearerOf(headers);
    if (token === undefined || digest(token) !== this.#token) throw unauthorized();
    return { ticket: this.#tickets.add(), expiresAt: Date.now() + TICKET_MS };
  }

  /**
   * A `Set-Cookie` by which the page, once opened, can be loaded again (A5). One for each port: cookies know none. `Lax`: the
   * link may stand in another page, a terminal in a browser for example; what other pages could do with it, `Origin` forbids.
   */
  sessionCookie(request: IncomingMessage): string {
    const ends = String(Date.now() + SESSION_MS);
    const attributes = `Path=/inspect; HttpOnly; SameSite=Lax; Max-Age=${SESSION_MS / 1000}`;
    return `${cookieName(request)}=${ends}.${this.#signatureOf(ends)}; ${attributes}`;
  }

  /** Whether the URL holds a token or a ticket, good or not. */
  showsSecretInUrl(request: IncomingMessage): boolean {
    return SECRETS.some((name) => parameter(request, name) !== undefined);
  }

  #isSession(cookie: string): boolean {
    const [ends = '', signature = ''] = cookie.split('.');
    const good = Buffer.from(this.#signatureOf(ends));
    const given = Buffer.from(signature);
    return (
      given.length === good.length && timingSafeEqual(given, good) && Number(ends) > Date.now()
    );
  }

  #signatureOf(ends: string): string {
    return createHmac('sha256', this.#signingKey).update(ends).digest('base64url');
  }
}

/** Parameters of URLs. */
const SECRETS = ['token', 'ticket'];

/** A3. Bounded, the oldest go first. Only their digests are kept. */
class Tickets {
  readonly #until = new Map<string, number>();

  add(): string {
    const ticket = randomBytes(32).toString('base64url');
    this.#until.set(digest(ticket), performance.now() + TICKET_MS);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= MAX_TICKETS) break;
      this.#until.delete(oldest);
    }
    return ticket;
  }

  take(ticket: string): boolean {
    const isGood = (this.#until.get(digest(ticket)) ?? 0) > performance.now();
    this.#until.delete(digest(ticket));
    return isGood;
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64');

const unauthorized = (): RuntimeError =>
  new RuntimeError('the token or the ticket is missing, wrong or used up', {
    code: 'UNAUTHORIZED',
    hint: '`lazarus inspect` gives a new ticket; node.json names the file that holds the token under "http_token_file".',
  });

const bearerOf = ({ authorization }: IncomingMessage['headers']): string | undefined =>
  /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];

function protocolsOf(headers: IncomingMessage['headers']): string[] {
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  return offered.flatMap((name) => (name.startsWith('bearer.') ? [name.slice(7)] : []));
}

function parameter({ url = '' }: IncomingMessage, name: string): string | undefined {
  return new URLSearchParams(url.split('?')[1] ?? '').get(name) ?? undefined;
}

const cookieName = ({ socket }: IncomingMessage): string =>
  `lazarus_inspect_${socket.localPort ?? 0}`;

function cookieOf(request: IncomingMessage): string | undefined {
  const prefix = `${cookieName(request)}=`;
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(prefix))?.slice(prefix.length);
}
