/** The routes of the HTTP gateway, on fastify. Which of them are open is said beside each (gateway.ts G1). */
import { fastify } from 'fastify';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Server } from 'node:http';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { refuseCommands } from '../machines/remote-commands.ts';
import type { Handler, RouterOptions } from './gateway-options.ts';
import { checkHost, checkOrigin, checkToken } from './gateway-guard.ts';
import { parseBody } from './json-body.ts';
import type { McpHandler } from './mcp-http.ts';
import { httpStatusOf, toWireError } from './wire-error.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Without the token: everywhere, or on loopback. */
    open?: 'everywhere' | 'loopback';
  }
  interface FastifyRequest {
    /** `performance.now()` when its header had come. */
    receivedAt: number;
  }
}

const onLoopback = { config: { open: 'loopback' } } as const;
/** The time in which the health of all agents is told again from the last answer, as a multiple of what that one cost. */
const REST_SHARE = 4;

export async function buildRouter(server: Server, options: RouterOptions): Promise<Handler> {
  let handle: Handler | undefined;
  const app = fastify({
    serverFactory: (handler) => {
      handle = handler;
      return server;
    },
    bodyLimit: options.limits.bodyBytes,
    clientErrorHandler: () => {}, // gateway.ts has one
    routerOptions: { maxParamLength: 1000 },
    // No route has a schema of fastify's: its compilers need not be loaded.
    schemaController: {
      compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas },
    },
  });
  takeAnyBodyForJson(app);
  guard(app, options);
  answerErrors(app, options, routesOf(app));
  heartbeatRoutes(app, options);
  verbRoutes(app, options);
  mcpRoutes(app, options);
  metricsRoute(app, options);
  await app.ready();
  return (request, response) => {
    if (request.headers['content-type'] !== undefined)
      request.headers['content-type'] = 'application/json'; // json-body.ts
    handle?.(request, response);
  };
}

function noSchemas(): never {
  throw new Error('the gateway checks its input itself');
}

function takeAnyBodyForJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, parseBody(body as string));
    } catch (error) {
      done(error as Error);
    }
  });
}

function guard(app: FastifyInstance, options: RouterOptions): void {
  const { token, isLoopback } = options;
  app.decorateRequest('receivedAt', 0);
  app.addHook('onRequest', (request, _reply, done) => {
    request.receivedAt = performance.now();
    const { open } = request.routeOptions.config;
    try {
      checkHost(request.raw, options);
      checkOrigin(request.raw, options);
      if (open !== 'everywhere' && !(open === 'loopback' && isLoopback))
        checkToken(request.raw, token);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
    done(null, payload);
  });
}

/** `POST /verbs/<name>`, of every route that is added from now on. */
function routesOf(app: FastifyInstance): readonly string[] {
  const routes: string[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = url.replaceAll(/:(\w+)/g, '<$1>');
    for (const name of [method].flat()) if (name !== 'HEAD') routes.push(`${name} ${path}`);
  });
  return routes;
}

function answerErrors(
  app: FastifyInstance,
  { log, limits, mounted }: RouterOptions,
  routes: readonly string[],
): void {
  app.setNotFoundHandler((request) => {
    const beside = mounted().map((path) => `GET ${path}`);
    throw new RuntimeError(`there is no ${request.method} ${request.url.slice(0, 100)}`, {
      code: 'NOT_FOUND',
      hint: `There is ${[...routes, ...beside].join(', ')}.`,
    });
  });
  app.setErrorHandler((thrown: FastifyError, request, reply) => {
    const error = translated(thrown, request.routeOptions.bodyLimit ?? limits.bodyBytes);
    const wire = toWireError(error);
    if (wire.code === 'INTERNAL')
      log.warn(
        { method: request.method, url: request.url.split('?')[0], error: String(error) },
        'request failed',
      );
    if (wire.code === 'UNAUTHORIZED') reply.header('www-authenticate', 'Bearer');
    if (wire.retryable) reply.header('retry-after', '1');
    // What is left of a body that is too long is read and thrown away, within the request's time: were the connection
    // closed while the sender is still sending, the answer would be lost.
    reply.removeHeader('connection');
    reply.code(statusOf(wire.code, request)).send({ error: wire });
  });
}

/** fastify's own refusals, in our words. */
function translated(error: FastifyError, bodyBytes: number): unknown {
  if (error instanceof RuntimeError) return error;
  const { code, statusCode = 500, message } = error;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new RuntimeError(`the body has more than ${bodyBytes} bytes`, { code: 'TOO_LARGE' });
  if (statusCode < 400 || statusCode >= 500) return error;
  return new RuntimeError(message, { code: 'INVALID_ARGUMENT' });
}

/** A bound on what one may register is the sender's, not the node's. */
const statusOf = (code: string, { url }: FastifyRequest): number =>
  code === 'BUSY' && url.startsWith('/heartbeat/') ? 429 : httpStatusOf(code);

interface AgentRoute {
  Params: { agentId: string };
  Querystring: { cell?: string | string[] };
}

function heartbeatRoutes(app: FastifyInstance, { heartbeats, trouble }: RouterOptions): void {
  app.get('/healthz', { config: { open: 'everywhere' } }, (_request, reply) => {
    const reason = trouble();
    if (reason === undefined) return reply.send({ status: 'ok' });
    return reply.code(503).send({ status: 'unavailable', reason });
  });
  const allHealth = rarely(() => JSON.stringify(heartbeats.all()));
  app.get('/health', onLoopback, async (_request, reply) => {
    await heartbeats.ready();
    return reply.type('application/json; charset=utf-8').send(allHealth());
  });
  app.get<AgentRoute>('/agent/:agentId', onLoopback, async ({ params, query }) => {
    await heartbeats.ready();
    return heartbeats.agent(params.agentId, cellOf(query));
  });
  app.post<AgentRoute>('/heartbeat/:agentId', onLoopback, async (request, reply) => {
    const { params, query, body, receivedAt } = request;
    const metadata = metadataOf(body);
    await heartbeats.ready();
    const { atMs, intervalMs } = heartbeats.beat(params.agentId, {
      cellId: cellOf(query),
      responseTimeMs: performance.now() - receivedAt,
      ...(metadata && { metadata }),
    });
    return answerBeat(reply, params.agentId, { atMs, intervalMs });
  });
}

const answerBeat = (
  reply: FastifyReply,
  agentId: string,
  { atMs, intervalMs }: { atMs: number; intervalMs: number },
): FastifyReply =>
  reply.send({
    status: 'ok',
    agent_id: agentId,
    timestamp: atMs / 1000,
    next_heartbeat: intervalMs / 1000,
  });

/** Many agents are many megabytes: asking again and again may take a fifth of the processor, not all of it. */
function rarely(make: () => string): () => string {
  let last = '';
  let until = 0;
  return () => {
    const startedAt = performance.now();
    if (startedAt < until) return last;
    last = make();
    const endedAt = performance.now();
    until = endedAt + (endedAt - startedAt) * REST_SHARE;
    return last;
  };
}

function cellOf({ cell }: AgentRoute['Querystring']): string | undefined {
  if (cell === undefined || typeof cell === 'string') return cell;
  throw new RuntimeError('?cell= stands there more than once', { code: 'INVALID_ARGUMENT' });
}

function metadataOf(body: unknown): JsonObject | undefined {
  if (body !== undefined && !isJsonObject(body)) throw noObject('the body');
  const metadata = body?.['metadata'] ?? undefined;
  if (metadata !== undefined && !isJsonObject(metadata)) throw noObject('metadata');
  return metadata;
}

const noObject = (what: string): RuntimeError =>
  new RuntimeError(`${what} is no JSON object`, {
    code: 'INVALID_ARGUMENT',
    hint: 'For example {"metadata": {"role": "write"}}.',
  });

function verbRoutes(
  app: FastifyInstance,
  { verbs, remoteCommands, limits: { verbBodyBytes: bodyLimit } }: RouterOptions,
): void {
  app.get('/verbs', () => ({ ok: true, result: verbs }));
  app.post<{ Params: { name: string } }>(
    '/verbs/:name',
    { bodyLimit },
    async ({ params, body }) => {
      const verb = verbs.find(({ name }) => name === params.name);
      if (verb === undefined)
        throw new RuntimeError(`there is no verb ${params.name.slice(0, 100)} for this door`, {
          code: 'NOT_FOUND',
          hint: 'GET /verbs lists what there is.',
        });
      const input = (body ?? {}) as JsonValue;
      if (!remoteCommands()) refuseCommands(input, 'from the network');
      return { ok: true, result: await verb.run(input) };
    },
  );
}

/** Loaded with the first message: few nodes have MCP clients. */
function mcpRoutes(app: FastifyInstance, options: RouterOptions): void {
  const { version = 'unknown', verbs, remoteCommands, mcpApprovals, log, limits } = options;
  const approvals = mcpApprovals ?? (() => false);
  let handler: Promise<McpHandler> | undefined;
  const load = async (): Promise<McpHandler> => {
    const { mcpOverHttp } = await import('./mcp-http.ts');
    return mcpOverHttp({ version, verbs, remoteCommands, approvals, log });
  };
  app.post('/mcp', { bodyLimit: limits.verbBodyBytes }, async (request, reply) => {
    const handle = await (handler ??= load().catch((error: unknown) => {
      handler = undefined;
      throw error;
    }));
    const answer = await handle(request.raw, (request.body ?? {}) as JsonValue);
    if (answer.contentType !== null) reply.type(answer.contentType);
    return reply.code(answer.status).send(answer.body);
  });
  for (const method of ['GET', 'DELETE'] as const)
    app.route({
      method,
      url: '/mcp',
      handler: (_request, reply) =>
        reply
          .code(405)
          .header('allow', 'POST')
          .send({ error: toWireError(withoutSessions()) }),
    });
}

const withoutSessions = (): RuntimeError =>
  new RuntimeError('MCP has no sessions and no streams here', {
    code: 'UNSUPPORTED',
    hint: 'POST each message to /mcp; its answer is the answer of the POST.',
  });

/** Loaded with the first scrape. */
function metricsRoute(app: FastifyInstance, { metrics }: RouterOptions): void {
  if (metrics === undefined) return;
  app.get('/metrics', async (_request, reply) => {
    const { metricsText } = await import('./metrics.ts');
    const { contentType, text } = await metricsText(await metrics());
    return reply.type(contentType).send(text);
  });
}
