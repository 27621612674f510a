/**
 * The other nodes on the same server: who they are, and which of them has a mission. Each node reads the stream of events
 * from outside under a name of its own, which the server keeps while the node is away: those names are the list of nodes.
 */
import type { Bus } from '../bus/bus.ts';
import { OPS } from '../bus/streams.ts';
import { SERVICE_PREFIX, subjectToken } from '../bus/subjects.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';

/** What a node says of a mission. */
export interface Claim {
  node: string;
  /** Null: it does not know yet, it has just begun. */
  has: boolean | null;
  /** Messages before this one were never its concern. */
  from: number;
  /** Up to here it has dealt with everything for this mission. */
  upTo: number;
}

export interface Claims {
  claims: Claim[];
  /** Nodes that did not answer. */
  silent: string[];
}

const READER = 'lazarus-';
const ANSWER_MS = 1000;
const COME_BACK_MS = 3600 * 1000;
/** P8: more nodes than these on one server are not asked. */
const MAX_NODES = 256;
/** Asked of each node: `svc.lazarus.each.has {"cell": ...}`. */
export const HAS = 'has';

export const readerName = (nodeId: string): string => `${READER}${nodeId}`;

export class Peers {
  readonly #bus: Bus;
  readonly #nodeId: string;
  readonly #isShared: boolean;
  #known: readonly string[] = [];
  #expected: { nodes: readonly string[]; until: number } = { nodes: [], until: 0 };

  /** `isShared`: other nodes may use the server too. */
  constructor(bus: Bus, { nodeId, isShared }: { nodeId: string; isShared: boolean }) {
    this.#bus = bus;
    this.#nodeId = nodeId;
    this.#isShared = isShared;
  }

  /** As the server last said. */
  get known(): readonly string[] {
    return this.#known;
  }

  /** The server has lost its list with the stream: these were on it, and are given some time to come back. */
  expect(nodes: readonly string[]): void {
    this.#expected = { nodes, until: performance.now() + COME_BACK_MS };
    this.noteReaders(this.#known.map(readerName));
  }

  /** Ids of the others, also of those that do not run at present. */
  async others(): Promise<readonly string[]> {
    if (this.#isShared) this.noteReaders(await this.#bus.readers(OPS.name));
    return this.#known;
  }

  /** The same from what the server said to somebody else of us. */
  noteReaders(readers: readonly string[]): readonly string[] {
    if (!this.#isShared) return this.#known;
    const nodes = readers
      .filter((name) => name.startsWith(READER))
      .map((name) => name.slice(READER.length));
    const { nodes: expected, until } = this.#expected;
    const all = performance.now() < until ? [...nodes, ...expected] : nodes;
    this.#known = [...new Set(all)].filter((node) => node !== this.#nodeId).slice(0, MAX_NODES);
    return this.#known;
  }

  /** What the others say of a mission. */
  async claimsTo(cellId: string): Promise<Claims> {
    const others = await this.others();
    if (others.length === 0) return { claims: [], silent: [] };
    const answers = await this.#bus.askAll(
      `${SERVICE_PREFIX}.each.${HAS}`,
      { cell: cellId },
      { answers: others.length + 1, timeoutMs: ANSWER_MS }, // we are asked too
    );
    const claims = answers.flatMap(({ body }) => (isClaim(body) ? [body] : []));
    const heard = new Set(claims.map(({ node }) => node));
    return {
      claims: claims.filter(({ node }) => node !== this.#nodeId),
      silent: others.filter((node) => !heard.has(node)),
    };
  }

  /** Where one node alone is asked for something. */
  subjectOf(node: string, request: string): string {
    return `${SERVICE_PREFIX}.node.${subjectToken(node)}.${request}`;
  }
}

const isClaim = (body: unknown): body is Claim & JsonObject =>
  isJsonObject(body) &&
  typeof body['node'] === 'string' &&
  (body['has'] === null || typeof body['has'] === 'boolean') &&
  typeof body['from'] === 'number' &&
  typeof body['upTo'] === 'number';
