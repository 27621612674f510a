/** The HTTP gateway of one node: its heartbeats, and those of its verbs that make sense from another machine. */
import { openGateway } from '../bus/gateway.ts';
import type { GatewayLimits, GatewayLog } from '../bus/gateway.ts';
import type { ServedVerb } from '../bus/control-socket.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { runVerb, VERBS } from './control.ts';
import { httpToken } from './http-token.ts';
import type { MissionNode, OpenDoor } from './node.ts';

export interface HttpDoorOptions {
  host: string;
  port: number;
  /** Somebody wants this port and no other. */
  isAskedFor: boolean;
  log: GatewayLog;
  limits?: Partial<GatewayLimits>;
}

/** Throws RuntimeError CONFLICT when the address that was asked for cannot be had. */
export async function openHttpDoor(
  node: MissionNode,
  { log, ...options }: HttpDoorOptions,
): Promise<OpenDoor> {
  const path = node.layout.httpToken;
  const { token, replaced } = await httpToken(path);
  if (replaced !== null) log.warn({ path, why: replaced }, 'the HTTP token was made anew');
  const gateway = await openGateway({
    ...options,
    token,
    log,
    heartbeats: node.health.heartbeats,
    verbs: remoteVerbs(node),
    remoteCommands: () => node.config.values.remote_commands,
    trouble: () => node.trouble,
  });
  log.info({ http: gateway.url, http_token_file: path }, 'HTTP gateway open');
  return {
    nodeFile: { http: gateway.url, http_token_file: path },
    close: () => gateway.close(),
  };
}

function remoteVerbs(node: MissionNode): ServedVerb[] {
  return VERBS.filter(({ remote }) => remote).map(({ name, summary, input }) => ({
    name,
    summary,
    input,
    run: (given) => runVerb(node, name, signed(given, input)),
  }));
}

/** What is recorded of who asked names the door too. */
function signed(given: JsonValue, schema: JsonObject): JsonValue {
  const { properties } = schema;
  if (!isJsonObject(given) || !isJsonObject(properties) || !('by' in properties)) return given;
  const { by = 'bearer of the token' } = given;
  return typeof by === 'string' ? { ...given, by: `${by.slice(0, 900)} (http)` } : given;
}
