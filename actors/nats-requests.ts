/**
 * Verbs as requests on the bus. On a server that several nodes use, whoever asks does not know which of them has a mission:
 *
 * R1 `svc.lazarus.<verb>` is answered by one of the nodes. What that one does not know it hands on to the others, one after
 *    the other, until one knows it: nothing was done where nothing was found.
 * R2 `svc.lazarus.node.<id>.<verb>` is answered by that node, from what it has itself.
 * R3 `svc.lazarus.each.<verb>` is answered by every node; only for verbs that change nothing.
 */
import { BusAnswer } from '../bus/bus.ts';
import type { Bus, ServedRequest, Way } from '../bus/bus.ts';
import type { ServedVerb } from '../bus/control-socket.ts';
import { SERVICE_PREFIX, subjectToken } from '../bus/subjects.ts';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { refuseCommands } from '../machines/remote-commands.ts';
import { findVerb } from './control.ts';
import type { Injection } from './injection.ts';
import type { MissionNode } from './node.ts';
import { HAS } from './peers.ts';
import type { Peers } from './peers.ts';
import { remoteVerbs } from './served-verbs.ts';

export interface ServeOptions {
  bus: Bus;
  peers: Peers;
  injection: Injection;
  /** Nobody else serves on this server. */
  isAlone: boolean;
}

/** How long another node may take. */
const HANDED_ON_MS = 10_000;
/** What a node says that does not know what is spoken of. */
const UNKNOWN: ReadonlySet<unknown> = new Set(['NOT_FOUND', 'ACTOR_UNKNOWN']);

/**
 * Each verb that makes sense remotely. On a server of our own nobody else serves verbs, and it does not tell an asker that
 * nobody listens (the asker is in another account): so what is no verb gets an answer too.
 */
export function serveVerbs(node: MissionNode, options: ServeOptions): Promise<void> {
  const { bus, isAlone } = options;
  const verbs = remoteVerbs(node, { door: 'nats', nobody: 'somebody on the bus' });
  const requests = verbs.map((verb) => requestOf(node, verb, options));
  const reading = requests.filter((_, i) => verbs[i]?.rights === 'read');
  return bus.serve({
    name: 'lazarus',
    version: node.version,
    description: 'The verbs of a Lazarus node, as requests',
    metadata: { node: node.nodeId, epoch: String(node.kernel.system.epoch), role: 'node' },
    prefix: SERVICE_PREFIX,
    node: subjectToken(node.nodeId),
    requests,
    each: [...reading, hasRequest(options.injection)],
    otherwise: refuseVerb,
    isAlone,
  });
}

function requestOf(node: MissionNode, verb: ServedVerb, options: ServeOptions): ServedRequest {
  const { name, summary } = verb;
  return {
    name,
    summary,
    metadata: { rights: verb.rights ?? 'read', input: JSON.stringify(verb.input) },
    async run(given: JsonValue, way: Way) {
      if (!node.config.values.remote_commands) refuseCommands(given, 'from the network');
      try {
        return await verb.run(given);
      } catch (error) {
        if (way !== 'any' || !isUnknown(error)) throw error;
        const answer = await handOn(name, given, options);
        if (answer === undefined) throw error;
        return answer;
      }
    },
  };
}

const isUnknown = (error: unknown): boolean =>
  error instanceof RuntimeError && UNKNOWN.has(error.code);

/** R1. Undefined: no other knows it either. */
async function handOn(
  name: string,
  given: JsonValue,
  { bus, peers }: ServeOptions,
): Promise<BusAnswer | undefined> {
  for (const other of await peers.others()) {
    const answer = await bus.ask(peers.subjectOf(other, name), given, HANDED_ON_MS);
    if (answer !== undefined && !(answer.error && UNKNOWN.has(answer.error['code']))) return answer;
  }
  return undefined;
}

/** Asked by other nodes (unclaimed.ts). */
function hasRequest(injection: Injection): Pick<ServedRequest, 'name' | 'run'> {
  return {
    name: HAS,
    async run(given) {
      const cell = isJsonObject(given) ? given['cell'] : undefined;
      if (typeof cell === 'string') return { ...injection.claimTo(cell) };
      throw new RuntimeError('whether a node has which mission?', {
        code: 'INVALID_ARGUMENT',
        hint: '{"cell": "<cell_id>"}',
      });
    },
  };
}

function refuseVerb(name: string): never {
  const [, node, , verb] = /^(node\.([^.]*)\.)?(.*)$/s.exec(name.slice(0, 200)) ?? [];
  const { name: known } = findVerb(verb ?? name);
  if (node !== undefined)
    throw new RuntimeError(`no such node answers here: ${node.slice('node.'.length, -1)}`, {
      code: 'NOT_FOUND',
      hint: 'List them: nats micro info lazarus',
    });
  throw new RuntimeError(`${known} is not done from another machine`, {
    code: 'FORBIDDEN',
    hint: `On the node's own machine: lazarus ${known.replaceAll('.', ' ')}`,
  });
}
