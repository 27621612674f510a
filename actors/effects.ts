/**
 * Effects: what machines cause outside themselves, each under a key that no other effect will ever have.
 *
 * E1 An effect starts only after the record that caused it is durable (P1); the kernel calls `start` then.
 * E2 `pure` and `idempotent` effects run again after a crash, under the same key. `verify` and `at_most_once` ones write a
 *    `started` record first, so that "never started" is known; once started, only what `recover` finds out counts (P4).
 * E3 An effect whose outcome nobody knows is in doubt: it delivers nothing, stays listed, and waits for `settle`.
 * E4 An effect that its machine has left is aborted and delivers nothing, whatever it returns later.
 * E5 A cell that leaves this node has nothing of it started any more, and what runs is ended before its state is handed on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { faultPoint } from '../cells/durable.ts';
import { homeCell } from '../machines/addresses.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import type { PlainError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { patiently } from './patience.ts';
import { effectKey } from './records.ts';
import { withSignal } from './with-signal.ts';
import type { Invoke } from './records.ts';

export type EffectSemantics = 'pure' | 'idempotent' | 'verify' | 'at_most_once';

/** What can be found out about an effect that was cut off. */
export type Recovery =
  | { kind: 'done'; output: JsonValue }
  | { kind: 'failed'; error: PlainError }
  | { kind: 'not_started' }
  | { kind: 'unknown' };

export interface EffectContext<Input = JsonValue> {
  /** `<address>#<seq of the causing record>#<invoke id>`: hand it on as an idempotency key. */
  key: string;
  address: string;
  input: Input;
  /** Aborted when the machine leaves the state, and when the node stops. */
  signal: AbortSignal;
  /** True when an earlier life of the node may have run it already. */
  restarted: boolean;
  /** Sends an event to the effect's own actor while it is still pending: journaled like any other. */
  emit: (event: { type: string } & JsonObject) => void;
}

export interface EffectDefinition<Input = JsonValue> {
  semantics: EffectSemantics | ((input: Input) => EffectSemantics);
  /** Throw RuntimeError OUTCOME_UNKNOWN when it may or may not have happened; anything else thrown is a known failure. */
  run(context: EffectContext<Input>): Promise<JsonValue>;
  /** Finds out what became of an effect that was cut off. Without it the answer is `unknown`. */
  recover?(context: EffectContext<Input>): Promise<Recovery>;
  /** The output to deliver when a person settles an effect in doubt as done. */
  settledOutput?(input: Input): JsonValue;
}

export interface DoubtfulEffect {
  key: string;
  address: string;
  invoke: string;
  src: string;
  input: JsonValue;
  /** Epoch ms since it is known to be in doubt. */
  since: number;
}

export type Outcome = { kind: 'done'; output: JsonValue } | { kind: 'error'; error: PlainError };

export interface EffectHost {
  /** Writes the `started` record and resolves when it is durable. */
  recordStarted(address: string, invoke: string, seq: number): Promise<void>;
  /** False when the journal cannot take it now: it is offered again by `resume`. */
  deliver(address: string, invoke: string, seq: number, outcome: Outcome): boolean;
  emit(address: string, invoke: string, seq: number, event: { type: string } & JsonObject): void;
  now(): number;
  doubted(effect: DoubtfulEffect): void;
  log(message: string, fields: Record<string, unknown>): void;
}

interface Running {
  address: string;
  invokeId: string;
  invoke: Invoke;
  controller: AbortController;
  outcome: Outcome | undefined;
  /** Nobody does it yet. */
  isParked?: boolean;
}

export class EffectRunner {
  readonly #definitions = new Map<string, EffectDefinition>();
  readonly #running = new Map<string, Running>();
  readonly #doubtful = new Map<string, DoubtfulEffect>();
  readonly #host: EffectHost;
  /** With the address of each one's actor. */
  readonly #finished = new Map<Promise<void>, string>();
  readonly #withheld = new Set<string>();
  /** By definition: what waits for it to be bound. */
  readonly #parked = new Map<string, PromiseWithResolvers<void>>();
  #suspended = false;

  constructor(host: EffectHost) {
    this.#host = host;
  }

  /** `machine` is a name without version; `src` as in the machine's `setup({ actors })`. What was parked goes on. */
  register<Input>(machine: string, src: string, definition: EffectDefinition<Input>): void {
    const name = `${machine}.${src}`;
    this.#definitions.set(name, definition as unknown as EffectDefinition);
    this.#parked.get(name)?.resolve();
    this.#parked.delete(name);
  }

  /**
   * Nobody is there to do these: what is asked for waits, neither done nor given up, until they are bound, in this life of the
   * node or a later one. `settledOutput` as in a definition.
   */
  park(machine: string, sources: readonly string[], settledOutput?: () => JsonValue): void {
    const run = (): Promise<JsonValue> =>
      Promise.reject(new RuntimeError('it is parked', { code: 'UNSUPPORTED' })); // never asked: it waits before
    for (const src of sources) {
      this.register(machine, src, {
        semantics: 'pure',
        run,
        ...(settledOutput && { settledOutput }),
      });
      this.#parked.set(`${machine}.${src}`, Promise.withResolvers());
    }
  }

  /** From now on nothing is started; intents stay in the journal for the next life. */
  suspend(): void {
    this.#suspended = true;
  }

  /** E5. As `suspend` for the actors of one cell; intents stay in its checkpoints for whoever goes on with it. */
  withhold(cellId: string): void {
    this.#withheld.add(cellId);
  }

  isWithheld(cellId: string): boolean {
    return this.#withheld.has(cellId);
  }

  /** The cell stays: what its actors wait for is started by `goLive`. */
  unwithhold(cellId: string): void {
    this.#withheld.delete(cellId);
  }

  /** Resolves when no effect of this kind (of this cell, if named) runs any more, or after `timeoutMs`. */
  async drained(src: string, timeoutMs: number, cellId?: string): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    const isRunning = (): boolean =>
      [...this.#running.values()].some(
        ({ invoke, address, isParked }) =>
          invoke.src === src &&
          isParked !== true &&
          (cellId === undefined || homeCell(address) === cellId),
      );
    while (isRunning() && performance.now() < deadline) await sleep(10);
  }

  inDoubt(): DoubtfulEffect[] {
    return [...this.#doubtful.values()];
  }

  /** Lists one that an earlier life began: for a node that starts no effects and so finds nothing out by itself. */
  listDoubtful(effect: DoubtfulEffect): void {
    this.#doubtful.set(effect.key, effect);
  }

  /** E1. An effect that is running already (its actor was dropped and restored) is only attached again. */
  start(
    machine: string,
    address: string,
    { invokeId, invoke, restarted }: { invokeId: string; invoke: Invoke; restarted: boolean },
  ): void {
    const key = effectKey(address, invoke.seq, invokeId);
    if (this.#suspended || this.#withheld.has(homeCell(address))) return;
    const already = this.#running.get(key);
    if (already) return this.#offer(key, already);
    const name = `${machine}.${invoke.src}`;
    const controller = new AbortController();
    const running: Running = { address, invokeId, invoke, controller, outcome: undefined };
    this.#running.set(key, running);
    const context: EffectContext = {
      key,
      address,
      input: invoke.input,
      signal: controller.signal,
      restarted,
      emit: (event) => {
        if (this.#running.get(key) === running)
          this.#host.emit(address, invokeId, invoke.seq, event);
      },
    };
    const parked = this.#parked.get(name);
    const drive = (): Promise<Outcome | 'in_doubt'> =>
      this.#drive(this.#definitions.get(name), context, running);
    const bound = parked && untilBound(running, parked.promise);
    const finished = (bound ? bound.then((isBound) => (isBound ? drive() : 'in_doubt')) : drive())
      .then((outcome) => {
        if (outcome === 'in_doubt' || controller.signal.aborted) return;
        running.outcome = outcome;
        this.#offer(key, running);
      })
      .finally(() => this.#finished.delete(finished));
    this.#finished.set(finished, address);
  }

  /** E4. */
  abort(key: string): void {
    this.#doubtful.delete(key);
    const running = this.#running.get(key);
    if (running === undefined) return;
    this.#running.delete(key);
    running.controller.abort(
      new RuntimeError('the effect was withdrawn', { code: 'CONFLICT', details: { key } }),
    );
  }

  /** Offers again the outcomes that the journal could not take. */
  resume(): void {
    for (const [key, running] of this.#running) this.#offer(key, running);
  }

  /** Ends everything that runs and waits until each effect has returned. Their intents stay in the journal. */
  async close(): Promise<void> {
    for (const key of this.#running.keys()) this.abort(key);
    while (this.#finished.size > 0) await Promise.allSettled(this.#finished.keys());
  }

  /** E5. As `close`, for the actors of one cell. */
  async endAll(cellId: string): Promise<void> {
    for (const effects of [this.#running, this.#doubtful])
      for (const [key, { address }] of effects) if (homeCell(address) === cellId) this.abort(key);
    const left = (): Promise<void>[] =>
      [...this.#finished].filter(([, of]) => homeCell(of) === cellId).map(([promise]) => promise);
    while (left().length > 0) await Promise.allSettled(left());
  }

  /** The `output` a settlement as done delivers. */
  settledOutput(machine: string, effect: DoubtfulEffect): JsonValue {
    const definition = this.#definitions.get(`${machine}.${effect.src}`);
    return definition?.settledOutput?.(effect.input) ?? null;
  }

  takeDoubtful(key: string): DoubtfulEffect {
    const effect = this.#doubtful.get(key);
    if (effect === undefined)
      throw new RuntimeError(`no effect in doubt has the key ${key}`, {
        code: 'NOT_FOUND',
        hint: 'List them with `lazarus doubt list`.',
      });
    return effect;
  }

  #offer(key: string, running: Running): void {
    if (running.outcome === undefined || this.#running.get(key) !== running) return;
    const { address, invokeId, invoke, outcome } = running;
    if (this.#host.deliver(address, invokeId, invoke.seq, outcome)) {
      this.#running.delete(key);
      this.#doubtful.delete(key);
    }
  }

  async #drive(
    definition: EffectDefinition | undefined,
    context: EffectContext,
    running: Running,
  ): Promise<Outcome | 'in_doubt'> {
    try {
      if (definition === undefined)
        throw new RuntimeError(`no effect ${running.invoke.src} is bound`, { code: 'UNSUPPORTED' });
      const semantics = semanticsOf(definition, context.input);
      const guarded = semantics === 'verify' || semantics === 'at_most_once';
      const mayHaveRun = guarded ? running.invoke.started === true : context.restarted;
      if (mayHaveRun) {
        const known = await this.#findOut(definition, context, running, guarded);
        if (known) return known;
      }
      if (guarded && !mayHaveRun) {
        faultPoint('effect.before-started');
        await this.#recordStarted(context, running); // E2
        faultPoint('effect.after-started');
      }
      return await this.#attempt(definition, context, running, guarded);
    } catch (thrown) {
      return { kind: 'error', error: toPlainError(thrown) };
    }
  }

  /** A journal that is held for a while is no failure of the effect, which has not begun. */
  #recordStarted({ key, signal }: EffectContext, running: Running): Promise<void> {
    const { address, invokeId, invoke } = running;
    return patiently(() => this.#host.recordStarted(address, invokeId, invoke.seq), {
      signal,
      onWait: (error) =>
        this.#host.log('an effect waits for the journal', { key, error: toPlainError(error) }),
    });
  }

  async #attempt(
    definition: EffectDefinition,
    context: EffectContext,
    running: Running,
    guarded: boolean,
  ): Promise<Outcome | 'in_doubt'> {
    for (;;) {
      if (context.signal.aborted) return 'in_doubt'; // nobody waits for it any more
      try {
        faultPoint(`effect.${running.invoke.src}.before-run`);
        const output = await definition.run(context);
        faultPoint(`effect.${running.invoke.src}.after-run`);
        return { kind: 'done', output };
      } catch (thrown) {
        const unknown = thrown instanceof RuntimeError && thrown.code === 'OUTCOME_UNKNOWN';
        if (!unknown || context.signal.aborted)
          return { kind: 'error', error: toPlainError(thrown) };
        const known = await this.#findOut(definition, context, running, guarded);
        if (known) return known;
      }
    }
  }

  /** What cannot be found out is unknown, never failed (P4). */
  async #askRecovery(definition: EffectDefinition, context: EffectContext): Promise<Recovery> {
    try {
      return (await definition.recover?.(context)) ?? { kind: 'unknown' };
    } catch (thrown) {
      const { key, address } = context;
      const error = toPlainError(thrown);
      this.#host.log('what became of an effect cannot be found out', { key, address, error });
      return { kind: 'unknown' };
    }
  }

  /** undefined: it did not happen, or may be repeated; so run it. */
  async #findOut(
    definition: EffectDefinition,
    context: EffectContext,
    running: Running,
    guarded: boolean,
  ): Promise<Outcome | 'in_doubt' | undefined> {
    const found = await this.#askRecovery(definition, context);
    switch (found.kind) {
      case 'done':
        return { kind: 'done', output: found.output };
      case 'failed':
        return { kind: 'error', error: found.error };
      case 'not_started':
        return undefined;
      case 'unknown':
        return guarded ? this.#enterDoubt(context, running) : undefined;
      default:
        return found satisfies never;
    }
  }

  /** E3. */
  #enterDoubt(context: EffectContext, { address, invokeId, invoke }: Running): 'in_doubt' {
    if (context.signal.aborted) return 'in_doubt';
    this.#running.delete(context.key);
    const { src, input } = invoke;
    const since = this.#doubtful.get(context.key)?.since ?? this.#host.now();
    const effect = { key: context.key, address, invoke: invokeId, src, input, since };
    this.#doubtful.set(context.key, effect);
    this.#host.log('effect in doubt', { key: context.key, address, src });
    this.#host.doubted(effect);
    return 'in_doubt';
  }
}

/** False: nobody waits for the effect any more. */
async function untilBound(running: Running, bound: Promise<void>): Promise<boolean> {
  const { signal } = running.controller;
  running.isParked = true;
  await withSignal(signal, bound).catch(() => undefined);
  running.isParked = false;
  return !signal.aborted;
}

function semanticsOf(definition: EffectDefinition, input: JsonValue): EffectSemantics {
  return typeof definition.semantics === 'function'
    ? definition.semantics(input)
    : definition.semantics;
}
