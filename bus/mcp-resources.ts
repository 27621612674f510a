/**
 * What can be read over MCP: missions, their tasks and agents, and the last lines of their logs. A URI is taken apart by one
 * pattern of ids; none becomes a path.
 */
import {
  ProtocolError,
  ProtocolErrorCode,
  ResourceNotFoundError,
} from '@modelcontextprotocol/server';
import type {
  ListResourcesResult,
  ReadResourceResult,
  Resource,
  ResourceTemplateType,
} from '@modelcontextprotocol/server';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { ServedVerb } from './control-socket.ts';
import { toWireError } from './wire-error.ts';

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain';
const PAGE_SIZE = 500;
const LOG_LINES = 500;
/** Longest content. */
const MAX_TEXT = 1 << 20;

const ID = '([A-Za-z0-9][A-Za-z0-9_-]{0,63})';
const URI = new RegExp(`^lazarus://cell/${ID}(?:/(log)|/(task|agent)/${ID}(/log)?)?$`);
const CELLS = 'lazarus://cells';

const template = (
  rest: string,
  { name, mimeType, description }: { name: string; mimeType: string; description: string },
): ResourceTemplateType => ({
  uriTemplate: `lazarus://cell/{cell_id}${rest}`,
  name,
  mimeType,
  description,
});

export const TEMPLATES: ResourceTemplateType[] = [
  template('', { name: 'cell', mimeType: JSON_TYPE, description: 'One mission in full.' }),
  template('/log', {
    name: 'cell-log',
    mimeType: TEXT_TYPE,
    description: `The last ${LOG_LINES} lines of what happened to a mission.`,
  }),
  template('/task/{task_id}', {
    name: 'task',
    mimeType: JSON_TYPE,
    description: 'One task: how far it is, what it waits for, its file.',
  }),
  template('/agent/{agent_id}', {
    name: 'agent',
    mimeType: JSON_TYPE,
    description: 'One agent: status, worker, policies, revivals.',
  }),
  template('/agent/{agent_id}/log', {
    name: 'agent-log',
    mimeType: TEXT_TYPE,
    description: `The last ${LOG_LINES} lines of what the steps of an agent did and said.`,
  }),
];

interface Asked {
  verb: string;
  input: JsonObject;
  isLog?: true;
}

/** What of the status is listed. */
interface ListedCell {
  cell_id: string;
  mission_name: string;
  tasks: { task_id: string; title: string }[];
  agents: { agent_id: string; name: string }[];
}

export class McpResources {
  readonly #verbs: readonly ServedVerb[];

  constructor(verbs: readonly ServedVerb[]) {
    this.#verbs = verbs;
  }

  /** In the order of their URIs, so that what comes and goes between two pages makes nothing appear twice. */
  async list(cursor?: string): Promise<ListResourcesResult> {
    const after = cursor === undefined ? '' : uriOf(cursor);
    const { cells } = (await this.#run('status', {})) as unknown as { cells: ListedCell[] };
    const rest = [listOfAll, ...cells.flatMap(resourcesOf)]
      .filter(({ uri }) => uri > after)
      .toSorted((a, b) => (a.uri < b.uri ? -1 : 1));
    const resources = rest.slice(0, PAGE_SIZE);
    const last = resources.at(-1);
    if (last === undefined || resources.length === rest.length) return { resources };
    return { resources, nextCursor: Buffer.from(last.uri).toString('base64url') };
  }

  async read(uri: string): Promise<ReadResourceResult> {
    const asked = parse(uri);
    try {
      if (asked === undefined)
        throw new RuntimeError(`there is no resource ${uri.slice(0, 200)}`, {
          code: 'NOT_FOUND',
          hint: 'resources/templates/list tells the forms there are.',
        });
      const result = await this.#run(asked.verb, asked.input);
      const text = asked.isLog
        ? (result as { lines: string[] }).lines.join('\n')
        : JSON.stringify(result);
      if (text.length > MAX_TEXT)
        throw new RuntimeError(`${uri} has ${text.length} characters`, { code: 'TOO_LARGE' });
      return { contents: [{ uri, mimeType: asked.isLog ? TEXT_TYPE : JSON_TYPE, text }] };
    } catch (error) {
      throw inProtocol(error, uri.slice(0, 200));
    }
  }

  #run(name: string, input: JsonObject): Promise<JsonValue> {
    const verb = this.#verbs.find((known) => known.name === name);
    if (verb === undefined) throw new Error(`the host has no verb ${name}`);
    return verb.run(input);
  }
}

function parse(uri: string): Asked | undefined {
  if (uri === CELLS) return { verb: 'cell.list', input: { limit: 1000 } };
  const [whole, cell = '', log, kind, id, agentLog] = URI.exec(uri) ?? [];
  if (whole === undefined || (kind === 'task' && agentLog)) return undefined;
  const logOf = (more: JsonObject): Asked => {
    return { verb: 'logs', input: { cell, ...more, lines: LOG_LINES }, isLog: true };
  };
  if (log !== undefined) return logOf({});
  if (id === undefined) return { verb: 'cell.show', input: { cell } };
  if (agentLog !== undefined) return logOf({ agent: id });
  return { verb: `${kind}.show`, input: { [kind ?? '']: `${cell}/${id}` } };
}

/** A resource that is not there has an error of the protocol's own, which has room for the URI only. */
function inProtocol(error: unknown, uri: string): ProtocolError {
  const { code, message, hint } = toWireError(error);
  if (code === 'NOT_FOUND')
    return new ResourceNotFoundError(uri, `${code}: ${message}${hint ? `\nTry: ${hint}` : ''}`);
  const data = { uri, code, hint };
  return new ProtocolError(ProtocolErrorCode.InternalError, `${code}: ${message}`, data);
}

function uriOf(cursor: string): string {
  const uri = Buffer.from(cursor.slice(0, 1000), 'base64url').toString('utf8');
  if (uri.startsWith('lazarus://')) return uri;
  throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'the cursor is none of this server');
}

const listOfAll: Resource = {
  uri: CELLS,
  name: 'cells',
  mimeType: JSON_TYPE,
  description: 'The missions, a line each.',
};

function resourcesOf({ cell_id: cellId, mission_name, tasks, agents }: ListedCell): Resource[] {
  const base = `lazarus://cell/${cellId}`;
  return [
    { uri: base, name: cellId, title: mission_name, mimeType: JSON_TYPE },
    { uri: `${base}/log`, name: `${cellId} log`, mimeType: TEXT_TYPE },
    ...tasks.map(({ task_id: id, title }) => {
      return { uri: `${base}/task/${id}`, name: `${cellId}/${id}`, title, mimeType: JSON_TYPE };
    }),
    ...agents.flatMap(({ agent_id: id, name: title }) => [
      { uri: `${base}/agent/${id}`, name: `${cellId}/${id}`, title, mimeType: JSON_TYPE },
      { uri: `${base}/agent/${id}/log`, name: `${cellId}/${id} log`, mimeType: TEXT_TYPE },
    ]),
  ];
}
