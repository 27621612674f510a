/** Whatever order people, programs, effects and restarts come in: nothing runs that was not approved, and nothing twice. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RuntimeError } from '../../machines/errors.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { ActionDriver, BADLY, hashOf, PLAN, proposal, WELL } from '../support/action.ts';

type Step =
  | { kind: 'person moves'; to: ActionStatus }
  | { kind: 'person edits'; service: string }
  | { kind: 'person removes' }
  | { kind: 'door looks' }
  | { kind: 'door cannot read' }
  | { kind: 'verb'; type: 'action.approve' | 'action.reject' | 'action.cancel'; door: string }
  | { kind: 'gate'; granted: boolean; dryRun: boolean }
  | { kind: 'effect'; pick: number; well: boolean }
  | { kind: 'time'; ms: number }
  | { kind: 'restart' }
  /** What comes next when nothing gets in the way. */
  | { kind: 'onward' };

const status = fc.constantFrom(...ACTION_STATUSES);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('person moves' as const), to: status }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('person edits' as const),
      service: fc.constantFrom('web', 'db'),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'person removes' as const }) },
  { weight: 8, arbitrary: fc.constant({ kind: 'door looks' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'door cannot read' as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('verb' as const),
      type: fc.constantFrom('action.approve', 'action.approve', 'action.reject', 'action.cancel'),
      door: fc.constantFrom('x', 'policy'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('gate' as const),
      granted: fc.boolean(),
      dryRun: fc.boolean(),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('effect' as const),
      pick: fc.nat(5),
      well: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('time' as const),
      ms: fc.constantFrom(1, 60_000, 3_600_000),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
  { weight: 40, arbitrary: fc.constant({ kind: 'onward' as const }) },
);

/** The world around one action. */
class World {
  readonly one = new ActionDriver();
  /** Contents that a person said yes to, each as often as it may be used. */
  readonly words = new Map<string, number>();
  readonly needsHuman: boolean;
  runs = 0;

  constructor(needsHuman: boolean) {
    this.needsHuman = needsHuman;
    this.#write('pending', proposal('a', { requires_human: needsHuman }));
  }

  #write(to: ActionStatus, content = this.one.disk?.content ?? proposal('a')): void {
    this.one.disk = { status: to, content };
  }

  #say(sha256: string): void {
    this.words.set(sha256, (this.words.get(sha256) ?? 0) + 1);
  }

  take(step: Step): void {
    const { one } = this;
    const before = one.driver.running.has('run');
    try {
      this.#carryOut(step);
    } catch (error) {
      assert(error instanceof RuntimeError); // refused, and nothing has changed
    }
    if (before || !one.driver.running.has('run')) return;
    this.runs += 1;
    this.#mayRun();
  }

  /** It has just begun. */
  #mayRun(): void {
    const { context, disk } = this.one;
    const { approval } = context;
    assert.equal(disk?.status, 'running'); // by our own move
    const from = context.move;
    assert.deepEqual([from?.kind, from?.from], ['claim', 'approved']);
    assert.equal(hashOf(disk.content), approval?.sha256);
    const left = this.words.get(approval?.sha256 ?? '') ?? 0;
    assert(left > 0); // a word is used once
    this.words.set(approval?.sha256 ?? '', left - 1);
    if (approval?.door === 'policy') assert(!this.needsHuman);
    const run = this.one.driver.running.get('run')?.input['run'] as { service: string };
    assert.equal(run.service, disk.content['service']);
  }

  #carryOut(step: Step): void {
    const { one } = this;
    const { driver } = one;
    switch (step.kind) {
      case 'person moves': {
        const { disk } = one;
        if (disk === null) return this.#write(step.to);
        if (step.to === 'approved' && disk.status !== 'approved') this.#say(hashOf(disk.content));
        return this.#write(step.to);
      }
      case 'person edits':
        if (one.disk) this.#write(one.disk.status, { ...one.disk.content, service: step.service });
        return;
      case 'person removes':
        one.disk = null;
        return;
      case 'door looks':
        if (one.disk === null) one.tell({ type: 'action.missing' });
        else one.found(one.disk.status);
        return;
      case 'door cannot read':
        one.tell({ type: 'action.unreadable', reason: 'garbage' });
        return;
      case 'verb': {
        const base = { by: 'p', door: step.door };
        if (step.type === 'action.approve') {
          one.tell({ type: step.type, ...base });
          this.#say(one.context.approval?.sha256 ?? '');
        } else one.tell({ type: step.type, ...base, reason: null });
        return;
      }
      case 'gate':
        one.tell(
          step.granted
            ? { type: 'gate.granted' }
            : { type: 'gate.refused', reason: 'r', until: null, dryRun: step.dryRun },
        );
        return;
      case 'effect':
        return this.#effect(step);
      case 'time':
        driver.pass(step.ms);
        return;
      case 'restart':
        driver.restore();
        return;
      case 'onward':
        return this.#carryOut(this.#next());
      default:
        step satisfies never;
    }
  }

  #next(): Step {
    const { state } = this.one;
    if (state === 'pending' || state === 'held')
      return { kind: 'verb', type: 'action.approve', door: 'x' };
    if (state === 'underway.waiting') return { kind: 'gate', granted: true, dryRun: false };
    const ids = [...this.one.driver.running.keys()];
    const pick = ids.findIndex((id) => id !== 'expiry' && id !== 'deadline');
    return pick < 0 ? { kind: 'door looks' } : { kind: 'effect', pick, well: true };
  }

  #effect({ pick, well }: Extract<Step, { kind: 'effect' }>): void {
    const { one } = this;
    const ids = [...one.driver.running.keys()];
    const id = ids[pick % Math.max(1, ids.length)];
    if (id === undefined) return;
    if (id === 'expiry' || id === 'deadline' || id === 'retry') {
      const { at = 0 } = (one.driver.running.get(id)?.input ?? {}) as { at?: number };
      one.driver.pass(Math.max(0, at - one.driver.clock.at)).done(id);
    } else if (!well && id !== 'run') one.driver.fails(id, 'no');
    else if (id === 'move') one.moves();
    else if (id === 'plan') one.driver.done(id, PLAN);
    else if (id === 'run') one.driver.done(id, well ? WELL : BADLY);
    else one.driver.done(id, { by: 'x' });
  }
}

test('nothing reaches running but by our claim of what a person approved, and each word is used once (A1, A5)', () => {
  let ran = 0;
  fc.assert(
    fc.property(fc.boolean(), fc.array(step, { maxLength: 60 }), (needsHuman, steps) => {
      const world = new World(needsHuman);
      for (const one of steps) world.take(one);
      ran += world.runs;
    }),
    { numRuns: 3000 },
  );
  expect(ran).toBeGreaterThan(20); // the property is about something
});

test('whatever happened, a restart changes nothing', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const world = new World(false);
      for (const one of steps) world.take(one);
      const before = world.one.driver.persisted();
      world.one.driver.restore();
      expect(world.one.driver.persisted()).toBe(before);
    }),
  );
});
