/**
 * MCP over the gateway: the streamable HTTP transport without sessions. Each POST is answered by itself, as JSON, and nothing
 * is kept between two of them, so there is nothing to bound or to lose at a restart. Token, Host, Origin and the size of the
 * body were checked by the gateway.
 */
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import type { IncomingMessage } from 'node:http';
import type { JsonValue } from '../machines/json.ts';
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
  return async (request, body) => {
    const server = service.server();
    const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true });
    await server.connect(transport);
    try {
      const response = await transport.handleRequest(webRequest(request), { parsedBody: body });
      return {
        status: response.status,
        contentType: response.headers.get('content-type'),
        body: await response.text(),
      };
    } finally {
      await server.close();
    }
  };
}

const HEADERS: readonly string[] = ['accept', 'content-type', 'mcp-protocol-version'];

/** What the transport looks at. The body was read already. */
function webRequest({ method = 'POST', headers }: IncomingMessage): Request {
  const given = HEADERS.flatMap((name): [string, string][] => {
    const value = headers[name];
    return typeof value === 'string' ? [[name, value]] : [];
  });
  return new Request('http://gateway.invalid/mcp', { method, headers: given });
}
