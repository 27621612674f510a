/**
 * MCP over standard input and output: one client, which started this process. Nothing but the protocol goes to standard output;
 * a message that is too long ends the connection.
 */
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import type { Readable, Writable } from 'node:stream';
import { McpService } from './mcp.ts';
import type { McpHost } from './mcp.ts';

const MAX_MESSAGE_BYTES = 4 << 20;

export interface StdioEnd {
  /** Why it is over though the client did not end it. */
  error?: Error;
}

/** Resolves when the client has closed its end, or said more than is taken. What is under way is answered first. */
export async function mcpOverStdio(
  host: McpHost,
  { input, output }: { input: Readable; output: Writable },
): Promise<StdioEnd> {
  const transport = new StdioServerTransport(input, output, { maxBufferSize: MAX_MESSAGE_BYTES });
  const service = new McpService(host);
  const server = service.server();
  const ended = Promise.withResolvers<StdioEnd>();
  let last: Error | undefined;
  Object.assign(server, {
    onerror(error: Error): void {
      last = error;
      host.log.warn({ error: error.message.slice(0, 500) }, 'MCP message not understood');
    },
    onclose: () => ended.resolve(last === undefined ? {} : { error: last }),
  });
  input.once('end', () => ended.resolve({}));
  input.once('close', () => ended.resolve({}));
  await server.connect(transport);
  const end = await ended.promise;
  await service.idle();
  await server.close();
  return end;
}
