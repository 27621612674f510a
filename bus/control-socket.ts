/**
 * The verbs on a unix domain socket: HTTP, so that `curl --unix-socket` and every language can speak it. Whoever may open
 * the socket may do what the user who runs the node may do, so only that user may.
 *
 *   POST /verbs/<name>   JSON in -> {"ok": true, "result": ...} | {"ok": false, "error": {code, message, hint, retryable}}
 *   GET /verbs           the verbs there are, each with the JSON Schema of its input
 *
 * U1 The socket has mode 0600 from the moment it exists, in a folder that nobody else can write to.
 * U2 The caller holds the lock of the missions folder, so a socket that is in the way and that nobody answers on is a dead
 *    node's and is replaced; one that answers is never taken away.
 * U3 Bodies, connections and waits are bounded; errors carry no stack (P8).
 */
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { closeServer } from './close-server.ts';
import { createServer } from './http.ts';
import { httpStatusOf, toWireError } from './wire-error.ts';

export interface ServedVerb {
  name: string;
  summary: string;
  /** JSON Schema. */
  input: JsonObject;
  /** JSON Schema of the result, where it is promised. */
  output?: JsonObject;
  /** What somebody must be allowed who asks for it: to look, to work with missions, to decide what people decide. */
  rights?: 'read' | 'operate' | 'approve';
  /** It ends something or takes it away. */
  destructive?: boolean;
  /** Asked for twice, it is done once. */
  idempotent?: boolean;
  run(input: JsonValue): Promise<JsonValue>;
}

export interface ControlSocketOptions {
  path: string;
  verbs: readonly ServedVerb[];
  log: { warn(fields: Record<string, unknown>, message: string): void };
}

export interface ControlSocket {
  readonly path: string;
  /** Answers what is under way, then closes and removes the socket. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 1 << 20;
const MAX_CONNECTIONS = 256;
const REQUEST_TIMEOUT_MS = 30_000;
/** `sun_path` holds 108 bytes on Linux and 104 on macOS. */
const MAX_PATH_BYTES = 100;

/** In the missions folder's own folder `own`, or, when that path is too long for a socket, in a private temporary one. */
export function controlSocketPath(own: string): string {
  const path = join(own, 'control.sock');
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return path;
  const name = createHash('sha256').update(own).digest('hex').slice(0, 16);
  return join(tmpdir(), `lazarus-${userInfo().uid}-${name}`, 'control.sock');
}

/** Throws RuntimeError CONFLICT when somebody else answers there, and what the file system throws. */
export async function openControlSocket(options: ControlSocketOptions): Promise<ControlSocket> {
  const { path } = options;
  requirePrivateFolder(dirname(path));
  if (await answers(path))
    throw new RuntimeError(`another process answers on ${path}`, {
      code: 'CONFLICT',
      hint: 'End that process, or name another missions folder with --missions.',
    });
  rmSync(path, { force: true }); // U2
  const server = createServer((request, response) => void serve(options, request, response));
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  await listen(server, path);
  return { path, close: () => closeServer(server) };
}

/** U1: the folder is ours, and writable for nobody else. */
function requirePrivateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const stats = lstatSync(folder);
  const { uid } = userInfo();
  if (stats.isDirectory() && (stats.mode & 0o022) === 0 && (uid === 0 || stats.uid === uid)) return;
  throw new RuntimeError(`${folder} is not a private folder of this user`, {
    code: 'CONFLICT',
    hint: `Make it one: chmod 700 ${folder}`,
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false)); // absent, or left by a dead node
  });
}

/** U1: bound under a umask, since a chmod afterwards would come too late. */
async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const before = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
  chmodSync(path, 0o600);
}

async function serve(
  { verbs, log }: ControlSocketOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = '', url = '' } = request;
  try {
    if (method === 'GET' && url === '/verbs') {
      return answer(response, 200, { ok: true, result: verbs });
    }
    const name = /^\/verbs\/([a-z.]{1,64})$/.exec(url)?.[1];
    const verb = verbs.find((known) => known.name === name);
    if (method !== 'POST' || verb === undefined)
      throw new RuntimeError(`there is no ${method} ${url.slice(0, 100)}`, {
        code: 'NOT_FOUND',
        hint: 'GET /verbs lists what there is; a verb is POST /verbs/<name>.',
      });
    const input = parse(await readBody(request));
    answer(response, 200, { ok: true, result: await verb.run(input) });
  } catch (error) {
    if (!(error instanceof RuntimeError))
      log.warn({ method, url: url.slice(0, 100), error: String(error) }, 'control verb failed');
    const wire = toWireError(error);
    if (!response.headersSent)
      answer(response, httpStatusOf(wire.code), { ok: false, error: wire });
  }
}

/** Throws RuntimeError INVALID_ARGUMENT when it is too long. */
async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Without destroying what is left of it: the answer still goes out by the same connection.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES)
      throw new RuntimeError(`the body has more than ${MAX_BODY_BYTES} bytes`, {
        code: 'INVALID_ARGUMENT',
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** An empty body means {}. */
function parse(body: string): JsonValue {
  if (body.trim() === '') return {};
  try {
    return JSON.parse(body) as JsonValue;
  } catch (cause) {
    throw new RuntimeError('the body is not JSON', { code: 'INVALID_ARGUMENT', cause });
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  const isRefusal = status === 400; // what is left of a body that is too long is not waited for
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...(isRefusal ? { connection: 'close' } : {}),
  });
  response.end(text);
}
