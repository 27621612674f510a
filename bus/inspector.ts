/**
 * The inspector on the HTTP gateway: `GET /inspect` is a page that shows every actor live (what it loads is below
 * `/inspect/page/`), `ws://.../inspect` the same as messages of @statelyai/inspect for any receiver that speaks them,
 * `POST /inspect/ticket` a ticket for either.
 *
 * What it needs (ws, the redaction, the page) is loaded with the first watcher; until then it costs an entry in a map.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { RuntimeError } from '../machines/errors.ts';
import type { Gateway } from './gateway.ts';
import { pathOf } from './gateway-mounts.ts';
import { InspectorAccess, SUBPROTOCOL } from './inspector-access.ts';
import type { HubCounts, InspectedSystem, InspectorHub } from './inspector-hub.ts';
import type { WatcherLimits } from './inspector-watcher.ts';

export interface InspectorOptions {
  gateway: Gateway;
  system: InspectedSystem;
  token: string;
  /** Whether others than this machine may watch. */
  isNetwork: boolean;
  /** Secrets of this process: shown nowhere. */
  secrets: () => readonly string[];
  log: { warn(fields: Record<string, unknown>, message: string): void };
  limits?: Partial<WatcherLimits & { watchers: number }>;
}

export interface Inspector {
  /** `http://127.0.0.1:8080/inspect`; receivers use it too. */
  readonly url: string;
  readonly counts: HubCounts;
  /** Says goodbye to the watchers. */
  close(): Promise<void>;
}

const PATH = '/inspect';
const PAGE_FILES = `${PATH}/page/`;
const MAX_WATCHERS = 16;
/** What a client says is not listened to. */
const MAX_MESSAGE_BYTES = 1024;
const NOBODY: HubCounts = { watchers: 0, dropped: 0, last_drop: null, skipped_events: 0 };

/** Takes in one who may watch. */
interface Entrance {
  hub: InspectorHub;
  admit(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export function openInspector(options: InspectorOptions): Inspector {
  const { gateway, token, isNetwork, limits } = options;
  const access = new InspectorAccess({ token, isNetwork, names: gateway.names });
  let entering: Promise<Entrance> | undefined;
  let hub: InspectorHub | undefined;
  let isClosed = false;
  const unmount = gateway.mount(PATH, {
    request: (request, response) => answer(access, request, response),
    async upgrade(request, socket, head) {
      access.checkPlace(request);
      access.checkWatcher(request);
      entering ??= openEntrance(options);
      entering.catch(() => (entering = undefined)); // the next one tries again
      const entrance = await entering;
      ({ hub } = entrance);
      if (isClosed) throw busy('the node stops');
      if (hub.counts.watchers >= (limits?.watchers ?? MAX_WATCHERS))
        throw busy(`${hub.counts.watchers} watch already`);
      entrance.admit(request, socket, head);
    },
  });
  return {
    url: `${gateway.url}${PATH}`,
    get counts() {
      return hub?.counts ?? NOBODY;
    },
    async close() {
      isClosed = true;
      unmount();
      await hub?.close();
    },
  };
}

const busy = (message: string): RuntimeError =>
  new RuntimeError(message, { code: 'BUSY', retryable: true });

async function openEntrance(options: InspectorOptions): Promise<Entrance> {
  const [{ WebSocketServer }, { InspectorHub: Hub }, { InspectorFrames }, { createRedactor }] =
    await Promise.all([
      import('ws'),
      import('./inspector-hub.ts'),
      import('./inspector-frames.ts'),
      import('./inspector-redaction.ts'),
    ]);
  const { system, token, secrets, log, limits } = options;
  const redactor = createRedactor([token, ...secrets()]);
  const frames = new InspectorFrames({ epoch: system.epoch, redactor });
  const hub = new Hub({ system, frames, log, ...(limits && { limits }) });
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false, // it would cost more than loopback does
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  return {
    hub,
    admit: (request, socket, head) =>
      server.handleUpgrade(request, socket, head, (client) => hub.join(client)),
  };
}

async function answer(
  access: InspectorAccess,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = pathOf(request);
  const what = `${request.method} ${path}`;
  access.checkPlace(request);
  if (what === `POST ${PATH}/ticket`) {
    const { ticket, expiresAt } = access.mintTicket(request);
    const expires_at = new Date(expiresAt).toISOString();
    return send(response, 200, 'application/json', `${JSON.stringify({ ticket, expires_at })}\n`);
  }
  if (what === `GET ${PATH}`) return showPage(access, request, response);
  if (what.startsWith(`GET ${PAGE_FILES}`)) {
    access.checkWatcher(request);
    const { pageFile } = await import('./inspector-page.ts');
    const file = pageFile(path.slice(PAGE_FILES.length));
    if (file !== undefined) return send(response, 200, file.type, file.text);
  }
  throw new RuntimeError(`there is no ${what.slice(0, 100)}`, { code: 'NOT_FOUND' });
}

async function showPage(
  access: InspectorAccess,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { inspectorPage, REFUSED_PAGE, REFUSED_POLICY } = await import('./inspector-page.ts');
  try {
    access.checkWatcher(request);
  } catch (error) {
    if (!request.headers.accept?.includes('text/html')) throw error;
    response.setHeader('content-security-policy', REFUSED_POLICY);
    return send(response, 401, 'text/html', REFUSED_PAGE);
  }
  response.setHeader('set-cookie', access.sessionCookie(request));
  if (access.showsSecretInUrl(request)) {
    // The browser goes on without it, so that it stays neither in the address bar nor in the history.
    response.setHeader('location', PATH);
    return send(response, 303, 'text/plain', '');
  }
  const { html, policy } = inspectorPage(request.headers.host ?? '');
  response.setHeader('content-security-policy', policy);
  response.setHeader('cross-origin-opener-policy', 'same-origin');
  send(response, 200, 'text/html', html);
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  });
  response.end(text);
}
