/**
 * MCP over the gateway: the streamable HTTP transport without sessions, in every version of the protocol that the SDK has. Each
 * POST is answered by itself and at once, and nothing is kept between two of them, so there is nothing to bound or to lose at a
 * restart. Token, Host, Origin and the size of the body were checked by the gateway.
 *
 * Since 2026-07-28 each message says its version, who sends it, and in headers what it asks for; the SDK's handler holds headers
 * and message against each other. Older ones are answered as JSON here: that handler would open an event stream for each.
 */
import {
  createMcpHandler,
  isLegacyRequest,
  ProtocolErrorCode,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';
import type { IncomingMessage } from 'node:http';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { isTooDeep, TOO_DEEP } from './mcp-depth.ts';
import { McpService } from './mcp.ts';
import type { McpHost } from './mcp.ts';

export interface McpAnswer {
  status: number;
  contentType: string | null;
  body: string;
}

export type McpHandler = (request: IncomingMessage, body: JsonValue) => Promise<McpAnswer>;

export function mcpOverHttp(host: McpHost): McpHandler {
  const service = new McpService(host);
  const current = createMcpHandler(() => service.server(), {
    legacy: 'reject',
    onerror: ({ message }) =>
      host.log.warn({ error: message.slice(0, 500) }, 'MCP message not understood'),
  });
  return async (incoming, body) => {
    if (isTooDeep(body)) return tooDeep;
    const request = webRequest(incoming);
    const response = (await isLegacyRequest(request, body))
      ? await answerOlder(service, request, body)
      : await current.fetch(request, { parsedBody: body });
    return {
      status: response.status,
      contentType: response.headers.get('content-type'),
      body: await response.text(), // it ends: no stream is left open (mcp.ts M5)
    };
  };
}

const tooDeep: McpAnswer = {
  status: 400,
  contentType: 'application/json',
  body: JSON.stringify({
    jsonrpc: '2.0',
    id: null,
    error: { code: ProtocolErrorCode.InvalidRequest, message: TOO_DEEP },
  }),
};

async function answerOlder(
  service: McpService,
  request: Request,
  body: JsonValue,
): Promise<Response> {
  const server = service.server();
  const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true });
  await server.connect(transport);
  try {
    return await transport.handleRequest(request, { parsedBody: withoutCancels(body) });
  } finally {
    await server.close();
  }
}

/** A batch is answered when all in it is, so nothing in it may be cancelled: what is cancelled has no answer. */
const withoutCancels = (body: JsonValue): JsonValue =>
  Array.isArray(body)
    ? body.filter((item) => !(isJsonObject(item) && item['method'] === 'notifications/cancelled'))
    : body;

const HEADERS: readonly string[] = [
  'accept',
  'content-type',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
];

/** What the SDK looks at. The body was read already. */
function webRequest({ method = 'POST', headers }: IncomingMessage): Request {
  const given = HEADERS.flatMap((name): [string, string][] => {
    const value = headers[name];
    return typeof value === 'string' ? [[name, value]] : [];
  });
  return new Request('http://gateway.invalid/mcp', { method, headers: given });
}
