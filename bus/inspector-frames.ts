/**
 * The messages of @statelyai/inspect 0.7, made from committed records and committed state: there are no live XState actors
 * whose `inspect` hook could be asked.
 *
 * F1 A session is one life of an actor in one life of the node: `<address>@<epoch>`. It is the same for every watcher, asleep
 *    or awake, and no two nodes or starts share one.
 * F2 A cell is the root of its agents and of what Lazarus does for them; every other actor is its own root.
 * F3 No message is longer than `MAX_FRAME_BYTES`: what does not fit is shown in less detail.
 */
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { Redactor } from './inspector-redaction.ts';

/** The version of the messages, as the receivers know it. */
const WIRE_VERSION = '0.7.2';
export const MAX_FRAME_BYTES = 256 << 10;
/** Characters of contexts, events and inputs that are shown, in falling detail (F3). */
const DETAILS = [48_000, 6000, 500];

/** An actor as of the last commit. */
export interface InspectedActor {
  /** `agent@1`; empty when it is not known. */
  machine: string;
  /** The machine's configuration; undefined when it is not known. */
  config: object | undefined;
  /** `error`: it is held. */
  status: 'active' | 'done' | 'error' | 'stopped';
  value: unknown;
  context: unknown;
  tags: readonly string[];
  output: unknown;
  error: unknown;
  /** Effects and timers it waits for, by invoke id. */
  effects: Readonly<Record<string, { src: string; input: unknown }>>;
}

/** A committed record. */
export interface InspectedEvent {
  address: string;
  /** Epoch ms. */
  at: number;
  event: { type: string } & JsonObject;
  /** Address of the sender; undefined: it came from outside. */
  source?: string | undefined;
  /** Why its machine refused it. */
  error?: { message: string } | undefined;
}

/** The actor under which an actor is shown (F2). */
export function parentOf(address: string): string | undefined {
  const [kind, first, second, third] = address.split('/');
  if (kind === 'cell') return second === undefined ? undefined : `cell/${first}`;
  return kind === 'system' && first === 'lazarus' && third !== undefined
    ? `cell/${second}`
    : undefined;
}

export class InspectorFrames {
  readonly #epoch: number;
  readonly #redactor: Redactor;
  /** By machine; the text is long, and the same for all its actors. */
  readonly #definitions = new Map<string, string>();

  constructor({ epoch, redactor }: { epoch: number; redactor: Redactor }) {
    this.#epoch = epoch;
    this.#redactor = redactor;
  }

  sessionId(address: string): string {
    return `${address}@${this.#epoch}`; // F1
  }

  /** `hasParent`: the watcher knows the parent. */
  actor(address: string, actor: InspectedActor, hasParent: boolean): string {
    const parent = hasParent ? parentOf(address) : undefined;
    return JSON.stringify({
      type: '@xstate.actor',
      name: address,
      ...this.#common(address, Date.now()),
      parentId: parent === undefined ? undefined : this.sessionId(parent),
      definition: this.#definition(actor),
      snapshot: { status: actor.status, value: actor.value ?? null },
    });
  }

  event({ address, at, event, source, error }: InspectedEvent): string {
    return this.#fitting((chars) => ({
      type: '@xstate.event',
      event: this.#event(event, chars, error),
      sourceId: source === undefined ? undefined : this.sessionId(source),
      ...this.#common(address, at),
    }));
  }

  snapshot(address: string, actor: InspectedActor, event: { type: string } & JsonObject): string {
    const { status, value, context, tags, output, error, effects } = actor;
    return this.#fitting((chars) => ({
      type: '@xstate.snapshot',
      event: this.#event(event, chars / 8),
      snapshot: {
        status,
        value: value ?? null,
        context: this.#redactor.context(context ?? {}, chars),
        children: this.#children(effects, chars / 4),
        tags,
        ...(output !== undefined && { output: this.#redactor.value(output, chars / 8) }),
        ...(error !== undefined && { error: this.#redactor.value(error, chars / 8) }),
      },
      ...this.#common(address, Date.now()),
    }));
  }

  /** Events of this actor, or of others, were not shown: more came than can be. */
  skipped(address: string, count: number): string {
    return JSON.stringify({
      type: '@xstate.event',
      event: { type: 'inspector.skipped', count },
      ...this.#common(address, Date.now()),
    });
  }

  #common(address: string, at: number) {
    return {
      sessionId: this.sessionId(address),
      rootId: this.sessionId(parentOf(address) ?? address),
      createdAt: String(at),
      id: null,
      _version: WIRE_VERSION,
    };
  }

  #definition({ machine, config }: InspectedActor): string {
    const name = machine === '' ? 'unknown' : machine;
    if (config === undefined) return this.#definitions.get(name) ?? JSON.stringify({ id: name });
    const known = this.#definitions.get(name);
    if (known !== undefined) return known;
    const text = JSON.stringify(this.#redactor.definition(config));
    const definition =
      text.length > MAX_FRAME_BYTES / 4 ? JSON.stringify({ id: name, states: {} }) : text;
    this.#definitions.set(name, definition);
    return definition;
  }

  #event(event: { type: string } & JsonObject, chars: number, error?: { message: string }) {
    const { type, ...data } = event;
    const shown = this.#redactor.value(data, chars) as JsonObject;
    const refused = error && { refused: this.#redactor.text(error.message) };
    return { type: type.slice(0, 200), ...shown, ...refused };
  }

  /** Effects are no actors of their own here: their names and inputs are shown where XState shows children. */
  #children(effects: InspectedActor['effects'], chars: number): JsonObject {
    const entries = Object.entries(effects).map(([id, { src, input }]): [string, JsonValue] => [
      id,
      { xstate$$type: 1, id, src, input: this.#redactor.value(input, chars) },
    ]);
    return Object.fromEntries(entries);
  }

  /** F3. */
  #fitting(build: (chars: number) => object): string {
    let text = '';
    for (const chars of DETAILS) {
      text = JSON.stringify(build(chars));
      if (text.length * 3 <= MAX_FRAME_BYTES || Buffer.byteLength(text) <= MAX_FRAME_BYTES) break;
    }
    return text;
  }
}
