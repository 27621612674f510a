/**
 * The MCP server: tools and resources for programs that work with language models. What it can do is the list of verbs it is
 * handed; what carries its messages (stdio, streamable HTTP) is not its business, nor is the version of the protocol that they
 * are written in: the SDK's entries make one server for each connection, or each message, in the version that it speaks.
 *
 * M1 What only people decide (approvals, steps in doubt) is not offered, and is refused, unless the host allows it (P7).
 * M2 Commands are refused unless the configuration allows them from outside.
 * M3 Arguments are checked against the schema that was told; answers, calls at once and lists are bounded (P8).
 * M4 What a model can mend is an answer marked as an error, with code, message and hint; a defect is logged.
 * M5 It asks its client nothing and announces no changes: each request has one answer, and none waits for another.
 */
import {
  CLIENT_INFO_META_KEY,
  ProtocolError,
  ProtocolErrorCode,
  Server,
} from '@modelcontextprotocol/server';
import type { CallToolResult, ServerContext, Tool } from '@modelcontextprotocol/server';
import { Ajv } from 'ajv';
import type { ValidateFunction } from 'ajv';
import { RuntimeError } from '../machines/errors.ts';
import { refuseDeep } from '../machines/input-depth.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { findCommand, forbiddenCommand } from '../machines/remote-commands.ts';
import type { ServedVerb } from './control-socket.ts';
import { McpResources, TEMPLATES } from './mcp-resources.ts';
import { offeredTools } from './mcp-tools.ts';
import type { OfferedTool } from './mcp-tools.ts';
import { toWireError } from './wire-error.ts';

export interface McpHost {
  version: string;
  verbs: readonly ServedVerb[];
  /** M1. May change while it runs, as may the next. */
  approvals(): boolean;
  /** M2. */
  remoteCommands(): boolean | Promise<boolean>;
  log: { warn(fields: Record<string, unknown>, message: string): void };
}

/** Longest answer, as text. */
export const MAX_ANSWER = 1 << 20;
const MAX_CALLS = 64;
const MAX_CLIENT_NAME = 100;

const INSTRUCTIONS = `Lazarus runs missions: a mission cell has agents that work through its tasks, and what was acknowledged survives every crash.
Begin with list_cells, then get_cell. A task tells in blocked_reason why it waits; an agent that failed stands in list_revivals.
Resources lazarus://cell/{cell_id}/... have tasks and logs.`;

/** What all connections of one host share. */
export class McpService {
  readonly #host: McpHost;
  readonly #tools: ReadonlyMap<string, OfferedTool>;
  readonly #resources: McpResources;
  readonly #ajv = new Ajv({ allErrors: true, strict: false });
  readonly #checks = new Map<string, ValidateFunction>();
  #calls = 0;

  constructor(host: McpHost) {
    this.#host = host;
    this.#tools = new Map(offeredTools(host.verbs).map((offer) => [offer.tool.name, offer]));
    this.#resources = new McpResources(host.verbs);
  }

  /** One connection. */
  server(): Server {
    const server = new Server(
      { name: 'lazarus', title: 'Lazarus', version: this.#host.version },
      {
        capabilities: { tools: {}, resources: {} },
        instructions: INSTRUCTIONS,
        jsonSchemaValidator: noElicitation,
      },
    );
    const by = (context: ServerContext): string =>
      clientName(nameInMessage(context) ?? server.getClientVersion()?.name);
    server.setRequestHandler('tools/list', () => ({ tools: this.tools() }));
    server.setRequestHandler('tools/call', ({ params }, context) =>
      this.#bounded(() => this.#call(params.name, params.arguments ?? {}, by(context))),
    );
    server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: TEMPLATES }));
    server.setRequestHandler('resources/list', ({ params }) =>
      this.#bounded(() => this.#resources.list(params?.cursor)),
    );
    server.setRequestHandler('resources/read', ({ params }) =>
      this.#bounded(() => this.#resources.read(params.uri)),
    );
    return server;
  }

  /** M1. */
  tools(): Tool[] {
    const offers = [...this.#tools.values()];
    const mayApprove = this.#host.approvals();
    return offers.filter(({ isApproval }) => mayApprove || !isApproval).map(({ tool }) => tool);
  }

  /** M3: by whatever connection. */
  async #bounded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#calls >= MAX_CALLS)
      throw new ProtocolError(
        ProtocolErrorCode.InternalError,
        `BUSY: ${MAX_CALLS} calls are under way`,
      );
    this.#calls += 1;
    try {
      return await work();
    } finally {
      this.#calls -= 1;
    }
  }

  async #call(name: string, args: Record<string, unknown>, by: string): Promise<CallToolResult> {
    const offer = this.#tools.get(name);
    if (offer === undefined)
      throw new ProtocolError(
        ProtocolErrorCode.InvalidParams,
        `there is no tool ${name.slice(0, 100)}`,
      );
    try {
      const input = await this.#admitted(offer, args as JsonObject);
      const result = await offer.verb.run(offer.inputOf(input, by));
      const text = JSON.stringify(result);
      if (text.length > MAX_ANSWER) throw tooLong(name, text.length);
      return {
        content: [{ type: 'text', text }],
        ...(isJsonObject(result) && { structuredContent: result }),
      };
    } catch (error) {
      return this.#failed(name, error);
    }
  }

  /** M1-M3. */
  async #admitted(offer: OfferedTool, args: JsonObject): Promise<JsonObject> {
    const { tool, isApproval } = offer;
    if (isApproval && !this.#host.approvals())
      throw new RuntimeError(`${tool.name} decides what only a person decides`, {
        code: 'FORBIDDEN',
        hint: 'A person can: see `lazarus status`. Or start the server with `lazarus mcp --allow-approvals`; over HTTP set "mcp_approvals": true.',
      });
    refuseDeep(args, 'the arguments are');
    this.#check(tool, args);
    const pointer = findCommand(args);
    if (pointer !== null && !(await this.#host.remoteCommands()))
      throw forbiddenCommand(pointer, 'over MCP');
    return args;
  }

  #check({ name, inputSchema }: Tool, args: JsonObject): void {
    let check = this.#checks.get(name);
    if (check === undefined) this.#checks.set(name, (check = this.#ajv.compile(inputSchema)));
    if (check(args)) return;
    const problems = (check.errors ?? []).slice(0, 10).map(({ instancePath, message, params }) => {
      const { additionalProperty: extra, allowedValues } = params as Record<string, JsonValue>;
      const which = extra ?? allowedValues;
      const what = which === undefined ? '' : `: ${JSON.stringify(which).slice(0, 200)}`;
      return `${instancePath || 'the arguments'} ${message ?? 'do not fit'}${what}`;
    });
    const known = Object.keys(inputSchema.properties ?? {}).join(', ');
    throw new RuntimeError(problems.join('; '), {
      code: 'INVALID_ARGUMENT',
      hint: known === '' ? `${name} takes no arguments.` : `${name} takes ${known}.`,
    });
  }

  /** M4. */
  #failed(tool: string, error: unknown): CallToolResult {
    const wire = toWireError(error);
    if (wire.code === 'INTERNAL')
      this.#host.log.warn({ tool, error: String(error) }, 'MCP tool failed');
    const hint = wire.hint === null ? '' : `\nTry: ${wire.hint}`;
    return {
      isError: true,
      content: [{ type: 'text', text: `${wire.code}: ${wire.message}${hint}` }],
      _meta: { 'lazarus.dev/error': wire },
    };
  }
}

/** M5. */
const noElicitation = {
  getValidator: (): never => {
    throw new Error('no elicitation is asked for');
  },
};

/** Of the client: since 2026-07-28 each message may say it; before, the first one did. */
function nameInMessage({ mcpReq }: ServerContext): string | undefined {
  const { [CLIENT_INFO_META_KEY]: client } = (mcpReq.envelope ?? {}) as JsonObject;
  return isJsonObject(client) && typeof client['name'] === 'string' ? client['name'] : undefined;
}

/** For the record. A client may call itself anything. */
function clientName(name = 'a client'): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const plain = name.replace(/[\0-\x1f\x7f-\x9f]/g, ' ').slice(0, MAX_CLIENT_NAME);
  return `${plain} over MCP`;
}

function tooLong(tool: string, length: number): RuntimeError {
  return new RuntimeError(`the answer has ${length} characters, more than ${MAX_ANSWER}`, {
    code: 'TOO_LARGE',
    hint: tool.startsWith('list_')
      ? 'Ask for fewer at a time with `limit`, and go on with `after`.'
      : 'Read its parts as resources: lazarus://cell/{cell_id}/task/{task_id}',
  });
}
