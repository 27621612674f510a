/**
 * A machine as the kernel sees it: a pure fold from (snapshot, event) to (snapshot, outputs).
 *
 * Nothing is ever "started" in XState's sense. `machine.transition()` with a scope of our own computes the next snapshot
 * and hands us the actions in order; what they ask for (an effect, a message, a timer) is the kernel's to carry out once
 * the event is durable. Live running and replay are this same call, so they cannot differ (P2), and a machine that throws
 * leaves its snapshot as it was. Measured: as fast as `actor.send`, and a quarter of its memory.
 *
 * L1 One scope a machine version, not one an actor: a snapshot and an index entry are all an idle actor costs.
 * L2 Only named logic: an inline actor or an unregistered `src` cannot be restored and is refused when registered.
 * L3 A context is plain JSON and passes XState by: it would search every value of it for references to actors, at a cost
 *    that rises with the context, and take a person's `{"xstate$$type": 1}` for one.
 */
import { createHash } from 'node:crypto';
import { createActor } from 'xstate';
import type {
  ActorScope,
  AnyActorRef,
  AnyMachineSnapshot,
  AnyStateMachine,
  EventObject,
} from 'xstate';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { SendParams, SpawnParams, StopParams } from '../machines/events.ts';

/** What one event made a machine ask for, in the order it asked. */
export type Output =
  | { kind: 'send'; params: SendParams }
  | { kind: 'spawn'; params: SpawnParams }
  | { kind: 'stop'; params: StopParams }
  | { kind: 'invoke'; id: string; src: string; input: JsonValue }
  | { kind: 'abort'; id: string };

export type MachineSnapshot = AnyMachineSnapshot;

export interface MachineLogic {
  /** `agent` */
  readonly name: string;
  readonly version: number;
  /** `agent@1` */
  readonly id: string;
  /** sha256 of the machine's structure: states, transitions and the names of what they use. */
  readonly hash: string;
  init(input: JsonObject, outputs: Output[]): MachineSnapshot;
  /** Throws what the machine throws; the given snapshot stays usable. */
  apply(snapshot: MachineSnapshot, event: EventObject, outputs: Output[]): MachineSnapshot;
  /** A JSON-safe value; stringify it at once, for it may share structure with the snapshot. */
  persist(snapshot: MachineSnapshot): JsonValue;
  /** Takes ownership of `persisted` (XState rewrites it in place). Throws RuntimeError CHECKPOINT_CORRUPT. */
  restore(persisted: JsonValue): MachineSnapshot;
}

export interface MachineVersion {
  machine: AnyStateMachine;
  /** Rewrites a persisted snapshot of the version before into this version's form. Needed from version 2 on. */
  migrate?: (persisted: JsonValue) => JsonValue;
  /** Rewrites a context in a form that this version stored once into the one that it stores now; leaves that as it is. */
  upcast?: Upcast;
}
type Upcast = (context: JsonValue) => JsonValue;

/** The versions of every machine this build can run. Old ones stay until no checkpoint can name them. */
export class MachineRegistry {
  readonly #byId = new Map<string, MachineLogic>();
  readonly #latest = new Map<string, MachineLogic>();
  readonly #migrations = new Map<string, (persisted: JsonValue) => JsonValue>();

  register({ machine, migrate, upcast }: MachineVersion): this {
    const logic = createLogic(machine, upcast ?? ((context) => context));
    this.#byId.set(logic.id, logic);
    const latest = this.#latest.get(logic.name);
    if (latest === undefined || latest.version < logic.version) this.#latest.set(logic.name, logic);
    if (migrate) this.#migrations.set(logic.id, migrate);
    return this;
  }

  latest(name: string): MachineLogic {
    const logic = this.#latest.get(name);
    if (logic) return logic;
    throw new RuntimeError(`no machine is named ${name}`, { code: 'MACHINE_MISMATCH' });
  }

  byId(id: string): MachineLogic {
    const logic = this.#byId.get(id);
    if (logic) return logic;
    throw new RuntimeError(
      `this build has no machine ${id}; it has ${[...this.#byId.keys()].join(', ')}`,
      {
        code: 'MACHINE_MISMATCH',
        hint: 'Run the version of Lazarus that wrote this state, or a newer one.',
      },
    );
  }

  /** The next version after `logic` and the function that leads there; undefined when `logic` is the newest. */
  upgrade(
    logic: MachineLogic,
  ): { logic: MachineLogic; migrate: (persisted: JsonValue) => JsonValue } | undefined {
    const next = this.#byId.get(`${logic.name}@${logic.version + 1}`);
    if (next === undefined) return undefined;
    const migrate = this.#migrations.get(next.id);
    if (migrate) return { logic: next, migrate };
    throw new RuntimeError(`${next.id} has no migration from ${logic.id}`, {
      code: 'MACHINE_MISMATCH',
    });
  }

  all(): MachineLogic[] {
    return [...this.#byId.values()];
  }
}

function createLogic(machine: AnyStateMachine, upcast: Upcast): MachineLogic {
  const match = /^([a-z][a-z-]*)@([1-9][0-9]*)$/.exec(machine.id);
  if (match === null)
    throw new RuntimeError(`machine id ${machine.id} is not of the form name@version`, {
      code: 'INVALID_ARGUMENT',
    });
  refuseInlineLogic(machine);
  let sink: Output[] = [];
  const scope = inertScope(machine, (output) => sink.push(output));
  const collect = <T>(outputs: Output[], run: () => T): T => {
    sink = outputs;
    return run();
  };
  return {
    name: match[1] ?? '',
    version: Number(match[2]),
    id: machine.id,
    hash: definitionHash(machine),
    init: (input, outputs) =>
      checked(
        machine,
        collect(outputs, () => machine.getInitialSnapshot(scope, input)),
      ),
    apply: (snapshot, event, outputs) =>
      checked(
        machine,
        collect(outputs, () => machine.transition(snapshot, event, scope)),
      ),
    persist: (snapshot) => persist(machine, snapshot),
    restore: (persisted) => restore(machine, persisted, { scope, upcast }),
  };
}

/** A transition can also *return* a failed snapshot (an error inside a nested computation); it counts as thrown. */
function checked(machine: AnyStateMachine, snapshot: MachineSnapshot): MachineSnapshot {
  if (snapshot.status !== 'error') return snapshot;
  const thrown: unknown = snapshot.error;
  throw thrown instanceof Error
    ? thrown
    : new RuntimeError(`${machine.id} failed: ${String(thrown)}`, { code: 'EVENT_REJECTED' });
}

type Scope = ActorScope<MachineSnapshot, EventObject>;

function inertScope(machine: AnyStateMachine, emit: (output: Output) => void): Scope {
  const self = createActor(machine, { input: {} }); // never started: it only lends its system and its reference
  return {
    self: self as Scope['self'],
    id: machine.id,
    sessionId: '',
    logger: () => undefined,
    defer: () => undefined,
    emit: () => undefined,
    system: self.system,
    stopChild: () => undefined,
    actionExecutor: (action) => {
      const output = toOutput(action.type, action.params);
      if (output) emit(output);
    },
  };
}

function toOutput(type: string, params: unknown): Output | undefined {
  switch (type) {
    case 'send':
      return { kind: 'send', params: params as SendParams };
    case 'spawn':
      return { kind: 'spawn', params: params as SpawnParams };
    case 'stop':
      return { kind: 'stop', params: params as StopParams };
    case 'xstate.spawnChild': {
      const { actorRef, src, input } = params as {
        actorRef: AnyActorRef;
        src: unknown;
        input?: JsonValue;
      };
      if (typeof src !== 'string')
        throw new RuntimeError('an effect must be named logic', { code: 'INVALID_ARGUMENT' });
      return { kind: 'invoke', id: actorRef.id, src, input: input ?? null };
    }
    case 'xstate.stopChild':
      return params === undefined ? undefined : { kind: 'abort', id: (params as AnyActorRef).id };
    case 'xstate.raise':
    case 'xstate.sendTo':
    case 'xstate.emit':
      // Undelayed raises are folded in by XState itself. Everything else would be lost in a replay.
      if ((params as { delay?: number }).delay === undefined && type === 'xstate.raise')
        return undefined;
      throw new RuntimeError(
        `${type} cannot be made durable: use the named action send or waitUntil`,
        {
          code: 'UNSUPPORTED',
        },
      );
    default:
      return undefined; // a named action without meaning to the kernel
  }
}

const NO_CONTEXT = Object.freeze({});

/** L3. */
function persist(machine: AnyStateMachine, snapshot: MachineSnapshot): JsonValue {
  const bare = { ...snapshot, context: NO_CONTEXT } as MachineSnapshot;
  const persisted = machine.getPersistedSnapshot(bare) as unknown as JsonObject;
  persisted['context'] = snapshot.context as JsonValue; // in its old place among the members
  return persisted;
}

function restore(
  machine: AnyStateMachine,
  persisted: JsonValue,
  { scope, upcast }: { scope: Scope; upcast: Upcast },
): MachineSnapshot {
  let snapshot: MachineSnapshot;
  try {
    const bare = { ...(persisted as JsonObject), context: {} }; // L3
    snapshot = machine.restoreSnapshot(
      bare as unknown as Parameters<typeof machine.restoreSnapshot>[0],
      scope,
    ) as MachineSnapshot;
    snapshot.context = upcast((persisted as JsonObject)['context'] ?? null);
  } catch (cause) {
    throw new RuntimeError(`stored snapshot does not fit ${machine.id}`, {
      code: 'CHECKPOINT_CORRUPT',
      cause,
    });
  }
  if (snapshot.status !== 'active' && snapshot.status !== 'done')
    throw new RuntimeError(`stored snapshot of ${machine.id} has the status ${snapshot.status}`, {
      code: 'CHECKPOINT_CORRUPT',
    });
  // XState accepts a snapshot whose active state lost its child: the machine would wait in that state for ever.
  for (const node of snapshot._nodes as { invoke: { id: string }[] }[])
    for (const { id } of node.invoke)
      if (snapshot.status === 'active' && !(id in snapshot.children))
        throw new RuntimeError(`stored snapshot of ${machine.id} lost its pending effect ${id}`, {
          code: 'CHECKPOINT_CORRUPT',
        });
  return snapshot;
}

function refuseInlineLogic(machine: AnyStateMachine): void {
  const named = new Set(Object.keys(machine.implementations.actors));
  const visit = (node: AnyStateMachine['root']): void => {
    for (const { src } of node.invoke)
      if (typeof src !== 'string' || !named.has(src) || src.startsWith('xstate.invoke.'))
        throw new RuntimeError(`${machine.id} invokes unnamed logic in ${node.id}`, {
          code: 'INVALID_ARGUMENT',
          hint: 'Name it in setup({ actors }).',
        });
    if (node.after.length > 0)
      throw new RuntimeError(
        `${machine.id} uses \`after\` in ${node.id}, which no restart survives`,
        {
          code: 'INVALID_ARGUMENT',
          hint: 'Invoke waitUntil instead.',
        },
      );
    for (const child of Object.values(node.states)) visit(child);
  };
  visit(machine.root);
}

/**
 * Hash of what decides whether a stored snapshot fits: states, transitions, and the names of guards, actions and effects.
 * Inline functions count as present, not by their text, so that reformatting a file changes nothing.
 */
function definitionHash(machine: AnyStateMachine): string {
  const text = JSON.stringify(machine.config, (_key, value: unknown) =>
    typeof value === 'function' ? 'ƒ' : value,
  );
  return createHash('sha256').update(text).digest('hex');
}
