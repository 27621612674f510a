/**
 * Doors of their own on the gateway's port: whatever lies at a path and below it is theirs, WebSockets included, without the
 * router. The gateway checks `Host` (gateway-guard.ts Q1) and answers their errors in its own form; who may come in is theirs to check.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { RuntimeError } from '../machines/errors.ts';
import { checkHost } from './gateway-guard.ts';
import type { GatewayNames } from './gateway-guard.ts';
import { STATUS_CODES } from './http.ts';
import { httpStatusOf, toWireError } from './wire-error.ts';

export interface Mount {
  request(request: IncomingMessage, response: ServerResponse): void | Promise<void>;
  /** Must take the socket, or throw before it did. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void | Promise<void>;
}

export interface MountsOptions extends GatewayNames {
  log: { warn(fields: Record<string, unknown>, message: string): void };
}

export class Mounts {
  readonly #mounts = new Map<string, Mount>();
  readonly #options: MountsOptions;

  constructor(options: MountsOptions) {
    this.#options = options;
  }

  /** `path`: of one segment. Returns what takes it away again. */
  add(path: `/${string}`, mount: Mount): () => void {
    this.#mounts.set(path, mount);
    return () => void this.#mounts.delete(path);
  }

  paths(): string[] {
    return [...this.#mounts.keys()];
  }

  /** Every other wish to change the protocol is passed over, as HTTP allows (`curl --http2` has one). */
  takesUpgrade(request: IncomingMessage): boolean {
    return (
      this.#find(request) !== undefined && request.headers.upgrade?.toLowerCase() === 'websocket'
    );
  }

  /** False: it is nobody's. */
  serve(request: IncomingMessage, response: ServerResponse): boolean {
    const mount = this.#find(request);
    if (mount === undefined) return false;
    const work = async (): Promise<void> => {
      checkHost(request, this.#options);
      await mount.request(request, response);
    };
    work().catch((error: unknown) => {
      const { status, text } = this.#answer(request, error);
      if (response.headersSent) {
        response.destroy();
        return;
      }
      response.writeHead(status, {
        'content-type': 'application/json; charset=utf-8',
        'content-length': Buffer.byteLength(text),
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...(status === 401 && { 'www-authenticate': 'Bearer' }),
        connection: 'close', // a body may not have been read
      });
      response.end(text);
    });
    return true;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const onError = (): void => void socket.destroy();
    socket.on('error', onError);
    const work = async (): Promise<void> => {
      checkHost(request, this.#options);
      const mount = this.#find(request);
      if (mount === undefined)
        throw new RuntimeError('no WebSocket is served there', { code: 'NOT_FOUND' });
      await mount.upgrade(request, socket, head);
      socket.off('error', onError);
    };
    work().catch((error: unknown) => {
      const { status, text } = this.#answer(request, error);
      const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8`;
      const length = `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close`;
      socket.end(`${head}\r\n${length}\r\n\r\n${text}`, () => socket.destroy());
    });
  }

  #answer(request: IncomingMessage, error: unknown): { status: number; text: string } {
    const wire = toWireError(error);
    if (wire.code === 'INTERNAL') {
      const fields = { method: request.method, path: pathOf(request), error: String(error) };
      this.#options.log.warn(fields, 'request failed');
    }
    return { status: httpStatusOf(wire.code), text: `${JSON.stringify({ error: wire })}\n` };
  }

  #find(request: IncomingMessage): Mount | undefined {
    if (this.#mounts.size === 0) return undefined;
    return this.#mounts.get(`/${pathOf(request).split('/')[1]}`);
  }
}

/** Without parameters: they may hold a secret. */
export const pathOf = ({ url = '' }: IncomingMessage): string => url.split('?')[0] ?? '';
