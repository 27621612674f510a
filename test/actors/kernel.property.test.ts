/**
 * Whatever is sent to whom, in whatever order, with crashes and restarts in between: the disk says what memory says, every
 * event counts once, and an effect that may have run is not run again unless it may be. The model is a sum per actor.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, test } from 'vitest';
import type { Kernel } from '../../actors/kernel.ts';
import { MachineRegistry } from '../../actors/logic.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { counterAddress, counterMachine, folderStore, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';
import { compareWithDisk } from '../support/replay.ts';

/** Named by how the effect behaves; the middle word is its declared semantics. */
const JOBS = ['ok.idempotent', 'hang.idempotent', 'ok.verify', 'hang.verify', 'hang.at_most_once'];

const who = fc.nat({ max: 4 });
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('add' as const), who, n: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('addTwice' as const), who, n: fc.nat(9) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('forward' as const), who, to: who }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('chain' as const), who, to: fc.array(who) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('work' as const), who, job: fc.constantFrom(...JOBS) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('sleep' as const), who, ms: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('boom' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hold' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const), n: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('checkpoint' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('passivate' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stop' as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** A kernel, what it should amount to, and which effects ran how often. */
class World {
  readonly fixture: KernelFixture;
  readonly totals: number[];
  readonly runs = new Map<string, number>();
  #ids = 0;

  constructor(fixture: KernelFixture, actors: number) {
    this.fixture = fixture;
    this.totals = Array.from({ length: actors }, () => 0);
  }

  get kernel(): Kernel {
    return this.fixture.kernel;
  }

  address(n: number): string {
    return counterAddress(n % this.totals.length);
  }

  count(n: number, by: number): void {
    const at = n % this.totals.length;
    this.totals[at] = (this.totals[at] ?? 0) + by;
  }

  async begin(): Promise<void> {
    this.#bind();
    for (const n of this.totals.keys())
      await this.kernel.system.spawn(this.address(n), 'counter', { self: this.address(n) });
    await this.kernel.wakeBusy();
  }

  async apply(op: Operation): Promise<void> {
    const { system } = this.kernel;
    switch (op.do) {
      case 'add':
        if (await this.#send(op.who, { type: 'add', n: op.n })) this.count(op.who, op.n);
        return;
      case 'addTwice': {
        const id = `id-${(this.#ids += 1)}`;
        const event = { type: 'add', n: op.n };
        const both = [this.#send(op.who, event, id), this.#send(op.who, event, id)];
        if ((await Promise.all(both)).includes(true)) this.count(op.who, op.n);
        return;
      }
      case 'forward': {
        const event = { type: 'forward', to: this.address(op.to), n: 5 };
        if (await this.#send(op.who, event)) this.count(op.to, 5);
        return;
      }
      case 'chain': {
        const event = { type: 'chain', to: op.to.map((n) => this.address(n)) };
        if (await this.#send(op.who, event)) for (const n of [op.who, ...op.to]) this.count(n, 1);
        return;
      }
      case 'work':
        return void (await this.#send(op.who, { type: 'work', job: op.job }));
      case 'cancel':
        return void (await this.#send(op.who, { type: 'cancel' }));
      case 'sleep':
        return void (await this.#send(op.who, { type: 'sleep', ms: op.ms }));
      case 'boom':
        return void (await this.#send(op.who, { type: 'boom' }));
      case 'hold': {
        const actor = system.actors.get(this.address(op.who));
        if (actor && !actor.hold) system.holdActor(actor, { code: 'BUSY', reason: 'by the test' });
        return;
      }
      case 'release':
        return system.release(this.address(op.who));
      case 'settle':
        return this.#settleOne(op.n);
      case 'checkpoint':
        return this.kernel.checkpoint(this.address(op.who));
      case 'passivate':
        return this.kernel.passivateIdle();
      case 'compact':
        return this.kernel.compact();
      case 'crash':
      case 'stop':
        return this.restart(op.do === 'stop' ? 'clean' : 'crash');
      default:
        return op satisfies never;
    }
  }

  async restart(how: 'clean' | 'crash'): Promise<void> {
    await this.compare();
    const before = this.#seqs();
    await this.fixture.reopen(how);
    this.#bind();
    for (const [address, seq] of before)
      assert(this.kernel.system.read(address).seq >= seq, `${address} went back behind ${seq}`);
    await this.kernel.wakeBusy();
    await this.compare();
  }

  /** P2, and that no effect ran again that must not. */
  async compare(): Promise<void> {
    const { system } = this.kernel;
    for (const actor of system.actors.values()) if (!actor.hold) system.wake(actor);
    await nextTurn(); // what a held actor had asked for is sent in a turn of its own
    do await system.settled();
    while (system.pendingRecords > 0);
    const { folder } = this.fixture;
    const { problems } = compareWithDisk(system, {
      registry: new MachineRegistry().register({ machine: counterMachine }),
      store: folderStore(folder),
      journalFolder: join(folder, 'journal'),
      indexFile: join(folder, 'index.json'),
    });
    assert.deepEqual(problems, []);
    for (const [key, runs] of this.runs)
      if (key.endsWith('at_most_once')) assert.equal(runs, 1, key);
  }

  async finish(): Promise<void> {
    for (const n of this.totals.keys()) await this.kernel.system.release(this.address(n));
    await this.compare();
    const contexts = this.totals.map(
      (_, n) => this.kernel.system.read(this.address(n)).snapshot.context as { total: number },
    );
    assert.deepEqual(
      contexts.map(({ total }) => total),
      this.totals,
    );
  }

  /** False when the actor refused it, being held or by the machine's own word. */
  async #send(n: number, event: { type: string } & JsonObject, id?: string): Promise<boolean> {
    try {
      await this.kernel.system.send(this.address(n), event, id === undefined ? {} : { id });
      return true;
    } catch (error) {
      if (error instanceof RuntimeError && /ACTOR_HELD|EVENT_REJECTED/.test(error.code))
        return false;
      throw error;
    }
  }

  async #settleOne(n: number): Promise<void> {
    const [effect] = this.kernel.system.inDoubt();
    if (effect === undefined || this.kernel.system.actors.get(effect.address)?.hold) return;
    const error = { name: 'Error', message: 'settled' };
    const verdicts = [
      { kind: 'done' },
      { kind: 'failed', error },
      { kind: 'not_started' },
    ] as const;
    const verdict = verdicts[n] ?? verdicts[0];
    if (verdict.kind === 'not_started') this.runs.delete(`${effect.key} hang.at_most_once`); // a person said so
    await this.kernel.system.settle(effect.key, verdict, 'the test');
  }

  #seqs(): [string, number][] {
    const { system } = this.kernel;
    return [...system.actors.values()]
      .filter((actor) => !actor.hold)
      .map(({ address }) => [address, system.read(address).seq]);
  }

  #bind(): void {
    this.kernel.system.effects.register<{ job: string }>('counter', 'job', {
      semantics: ({ job }) => job.split('.')[1] as 'idempotent' | 'verify' | 'at_most_once',
      run: async ({ key, input: { job }, signal }) => {
        const counted = `${key} ${job}`;
        this.runs.set(counted, (this.runs.get(counted) ?? 0) + 1);
        if (job.startsWith('hang'))
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        return job;
      },
      recover: () => Promise.resolve({ kind: 'unknown' }),
      settledOutput: () => 'settled',
    });
  }
}

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.fixture.dispose();
});

describe('P2, P3, P4: given any order of events, holds, checkpoints and restarts', () => {
  test('then replay equals live, by the tail and by the whole history, and every event counts once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(operation, { minLength: 5, maxLength: 40 }),
        async (actors, operations) => {
          const limits = { snapshotEvery: 3 };
          const world = new World(await openKernel({ limits, segmentBytes: 4096 }), actors);
          worlds.push(world);
          await world.begin();
          for (const op of operations) await world.apply(op);
          await world.restart('crash');
          await world.finish();
          await world.fixture.dispose();
        },
      ),
      { numRuns: 40 },
    );
  }, 120_000);
});
