/**
 * The HTTP gateway: heartbeats, health, and the verbs for whoever shows the token. The socket is bound at once; the router
 * (fastify, a tenth of a second and some megabytes) is loaded with the first request, so that a runtime nobody calls stays small
 * and starts fast.
 *
 * G1 Closed by default: a route that does not say otherwise needs the token. On loopback `GET /health`, `GET /healthz`,
 *    `GET /agent/*` and `POST /heartbeat/*` are open; on any other address only `/healthz` is.
 * G2 Host and Origin are checked on every request (gateway-guard.ts).
 * G3 Connections, requests in flight, headers, bodies and waits are bounded (P8): a slow sender is cut off. Requests are
 *    begun in turns (turns.ts), so that one client with many does not keep the others, and the node, waiting.
 * G4 Every answer is JSON, errors included: `{"error": {code, message, hint, retryable, details}}`.
 */
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { RuntimeError } from '../machines/errors.ts';
import { closeServer } from './close-server.ts';
import { inBrackets, isLoopback } from './gateway-guard.ts';
import type { GatewayNames } from './gateway-guard.ts';
import { Mounts } from './gateway-mounts.ts';
import type { Mount } from './gateway-mounts.ts';
import type { GatewayLimits, GatewayOptions, Handler, RouterOptions } from './gateway-options.ts';
import { createServer } from './http.ts';
import { Turns } from './turns.ts';
import { toWireError } from './wire-error.ts';

export type {
  GatewayLimits,
  GatewayLog,
  GatewayOptions,
  HeartbeatPort,
} from './gateway-options.ts';

const DEFAULT_LIMITS: GatewayLimits = {
  connections: 256,
  requestsInFlight: 128,
  bodyBytes: 64 << 10,
  verbBodyBytes: 1 << 20,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 20_000,
  keepAliveMs: 5000,
};

/** Requests begun in one turn of the event loop. */
const PER_TURN = 8;

export interface Gateway {
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  readonly isLoopback: boolean;
  readonly names: GatewayNames;
  /** Hands a path and what is below it to somebody else; see gateway-mounts.ts. */
  mount(path: `/${string}`, mount: Mount): () => void;
  /** Answers what is under way, then closes. */
  close(): Promise<void>;
}

/** Throws RuntimeError CONFLICT when the port that was asked for cannot be had. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const mounts = new Mounts(options);
  const server = createServer({
    shouldUpgradeCallback: (request) => mounts.takesUpgrade(request),
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(1000, limits.headersTimeoutMs / 2),
  });
  server.maxConnections = limits.connections;
  server.on('clientError', answerBadRequest);
  const address = await bind(server, options);
  const open = isLoopback(address.address);
  const mounted = (): string[] => mounts.paths();
  server.on('request', front(server, { ...options, isLoopback: open, limits, mounted }, mounts));
  server.on('upgrade', (request, socket, head) => mounts.upgrade(request, socket, head));
  const url = `http://${inBrackets(reachable(address.address))}:${address.port}`;
  if (!open)
    options.log.warn(
      { http: url, bound: address.address },
      'the HTTP gateway can be reached from the network: everything but /healthz needs the token, and nothing is encrypted',
    );
  return {
    url,
    isLoopback: open,
    names: options,
    mount: (path, mount) => mounts.add(path, mount),
    close: () => closeServer(server),
  };
}

/** Bounds what is under way, and loads the router when it is first needed. */
function front(server: Server, options: RouterOptions, mounts: Mounts): Handler {
  const { requestsInFlight: most } = options.limits;
  // Bodies are read, and bounded, when their turn has come.
  const turns = new Turns({ most, mostBytes: Infinity, perTurn: PER_TURN });
  let loading: Promise<Handler> | undefined;
  let route: Handler | undefined;
  const load = async (): Promise<Handler> => {
    const { buildRouter } = await import('./gateway-routes.ts');
    return (route = await buildRouter(server, options));
  };
  const answer: Handler = (request, response) => {
    if (mounts.serve(request, response)) return;
    if (route) return route(request, response);
    (loading ??= load()).then(
      (loaded) => loaded(request, response),
      (error: unknown) => {
        options.log.warn({ error: String(error) }, 'HTTP router not loaded');
        loading = undefined;
        refuse(response, toWireError(error), 500);
      },
    );
  };
  return (request, response) => {
    const begin = async (): Promise<void> => {
      if (response.closed) return; // whoever asked is gone
      answer(request, response);
      await new Promise<void>((resolve) => response.once('close', resolve));
    };
    if (!turns.take(0, begin)) refuse(response, TOO_BUSY);
  };
}

/** Made once: in a flood it is said often. */
const TOO_BUSY = toWireError(
  new RuntimeError('too many requests are under way', { code: 'BUSY', retryable: true }),
);

/** An answer without the router. */
function refuse(
  response: ServerResponse,
  error: ReturnType<typeof toWireError>,
  status = 503,
): void {
  if (response.headersSent) return void response.destroy();
  const text = `${JSON.stringify({ error })}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'retry-after': '1',
    connection: 'close',
  });
  response.end(text);
}

/** G4, for what is no HTTP, and for who took too long (G3). */
function answerBadRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const [status, reason] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? [408, 'Request Timeout']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? [431, 'Request Header Fields Too Large']
        : [400, 'Bad Request'];
  const body = toWireError(new RuntimeError(reason.toLowerCase(), { code: 'INVALID_ARGUMENT' }));
  const text = `${JSON.stringify({ error: body })}\n`;
  const head = `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/json; charset=utf-8`;
  socket.end(`${head}\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`, () =>
    socket.destroy(),
  );
}

async function bind(server: Server, options: GatewayOptions): Promise<AddressInfo> {
  const { host, port, isAskedFor, log } = options;
  try {
    return await listen(server, host, port);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EADDRINUSE' || isAskedFor)
      throw new RuntimeError(`${inBrackets(host)}:${port} cannot be listened on: ${message}`, {
        code: 'CONFLICT',
        cause: error,
        hint: 'Name another with --http HOST:PORT, or --http off.',
      });
  }
  const address = await listen(server, host, 0);
  log.info({ wanted: port, port: address.port }, 'the port is taken: HTTP is served on a free one');
  return address;
}

function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve(server.address() as AddressInfo);
    });
  });
}

/** A wildcard is no address to connect to. */
const reachable = (address: string): string =>
  address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
