/**
 * MCP over standard input and output: one client, which started this process. Nothing but the protocol goes to standard output.
 * The client's first message decides the version of the protocol: `initialize` is older than 2026-07-28, since when each message
 * says it.
 */
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import type { Readable, Writable } from 'node:stream';
import { McpService } from './mcp.ts';
import type { McpHost } from './mcp.ts';
import { LineTransport } from './mcp-lines.ts';
import type { ConnectionEnd } from './mcp-lines.ts';

/** They are never told anything (mcp.ts M5): a bound for a client that asks nevertheless. */
const MAX_SUBSCRIPTIONS = 16;

/** Resolves when the client has closed its end, or said more than is taken. What is under way is answered first. */
export async function mcpOverStdio(
  host: McpHost,
  { input, output }: { input: Readable; output: Writable },
): Promise<ConnectionEnd> {
  const service = new McpService(host);
  const transport = new LineTransport(input, output);
  const connection = serveStdio(() => service.server(), {
    transport,
    maxSubscriptions: MAX_SUBSCRIPTIONS,
    onerror: ({ message }) =>
      host.log.warn({ error: message.slice(0, 500) }, 'MCP message not understood'),
  });
  const end = await transport.ended;
  await connection.close();
  return end;
}
