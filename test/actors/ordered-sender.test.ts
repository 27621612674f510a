/** Many in flight, and still each once and in order, whatever refuses them for a while. */
import { afterEach, describe, expect, test } from 'vitest';
import { OrderedSender } from '../../actors/ordered-sender.ts';
import type { Answer, Outgoing, Source } from '../../actors/ordered-sender.ts';
import type { ActorSystem } from '../../actors/system.ts';
import { eventually } from '../support/eventually.ts';
import { failingIo } from '../support/failing-io.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const A = counterAddress(1);

const fixtures: KernelFixture[] = [];
async function open(options: Parameters<typeof openKernel>[0] = {}): Promise<KernelFixture> {
  const fixture = await openKernel(options);
  fixtures.push(fixture);
  await fixture.kernel.system.spawn(A, 'counter', { self: A });
  return fixture;
}
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

/** Numbers from 1 on, as events; what came of each. */
class Numbers implements Source {
  readonly answers: Answer['kind'][] = [];
  readonly last: number;
  /** Taken and not yet answered. */
  most = 0;
  #n = 0;

  constructor(last: number) {
    this.last = last;
  }

  next(): Outgoing | undefined {
    if (this.#n === this.last) return undefined;
    const n = (this.#n += 1);
    this.most = Math.max(this.most, n - this.answers.length);
    const done = ({ kind }: Answer): void => void this.answers.push(kind);
    return { event: { type: n % 1000 === 7 ? 'boom' : 'add', n }, done };
  }
}

/** What the journal has of them, in its order. */
function committed(system: ActorSystem): number[] {
  const numbers: number[] = [];
  system.on('committed', ({ event }) => {
    if (typeof event['n'] === 'number') numbers.push(event['n']);
  });
  return numbers;
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

function sendAll(system: ActorSystem, last: number, window: number) {
  const source = new Numbers(last);
  const troubles: (string | undefined)[] = [];
  const sender = new OrderedSender({
    system,
    address: A,
    source,
    window,
    onTrouble: (reason) => troubles.push(reason),
  });
  sender.wake();
  return { source, sender, troubles };
}

describe('each once and in order (O1, O3)', () => {
  test('given a window wider than what the actor takes, then what was BUSY comes again', async () => {
    const { kernel } = await open({ limits: { softBound: 50 } });
    const seen = committed(kernel.system);
    const { source, sender, troubles } = sendAll(kernel.system, 3000, 300);
    await eventually(() => expect(source.answers).toHaveLength(3000), { timeoutMs: 20_000 });
    expect(seen).toEqual(upTo(3000));
    expect(troubles.length).toBeGreaterThan(0);
    expect(troubles.at(-1)).toBeUndefined();
    expect(sender.unanswered).toBe(0);
  });

  test('given an event that the machine throws on, then it is refused for good and the rest goes on', async () => {
    const { kernel } = await open();
    const { source } = sendAll(kernel.system, 100, 16);
    await eventually(() => expect(source.answers).toHaveLength(100));
    expect(source.answers.filter((kind) => kind === 'refused')).toHaveLength(1);
  });

  test('given the journal cannot be written for a while, then nothing is lost and nothing comes twice', async () => {
    const disk = failingIo();
    const { kernel } = await open({ journalIo: disk.io });
    const { system } = kernel;
    const seen = committed(system);
    const { source, troubles } = sendAll(system, 5000, 64);
    await eventually(() => expect(seen.length).toBeGreaterThan(200));
    disk.fail('ENOSPC');
    await eventually(() => expect(system.failure).toBeDefined());
    await eventually(() => expect(troubles.at(-1)).toMatch(/journal/));
    disk.mend();
    await eventually(() => expect(source.answers).toHaveLength(5000), { timeoutMs: 20_000 });
    expect(seen).toEqual(upTo(5000));
    expect(troubles.at(-1)).toBeUndefined();
  });

  test('given the actor is not there yet, then they wait for it', async () => {
    const { kernel } = await open();
    await kernel.system.stop(A, 'for a while');
    const { source, troubles } = sendAll(kernel.system, 5, 2);
    await eventually(() => expect(troubles.at(-1)).toMatch(/no actor lives/));
    await kernel.system.spawn(A, 'counter', { self: A });
    await eventually(() => expect(source.answers).toEqual(upTo(5).map(() => 'durable')));
  });
});

describe('bounded (O2)', () => {
  test('no more than the window is taken from the source before answers come', async () => {
    const { kernel } = await open();
    const { sender, source } = sendAll(kernel.system, 1000, 32);
    await eventually(() => expect(source.answers).toHaveLength(1000));
    expect(source.most).toBeLessThanOrEqual(32);
    expect(source.most).toBeGreaterThan(16);
    expect(sender.unanswered).toBe(0);
  });

  test('what the source wants to wait waits, and nothing overtakes it', async () => {
    const { kernel } = await open();
    const seen = committed(kernel.system);
    const source: Source = new Numbers(20);
    const held = new Set([5, 6, 12]);
    source.waitMs = ({ event }) => (held.delete(event['n'] as number) ? 20 : 0);
    new OrderedSender({ system: kernel.system, address: A, source, window: 8 }).wake();
    await eventually(() => expect(seen).toEqual(upTo(20)));
  });
});

describe('the end', () => {
  test('close sends what the source still has, and resolves when all is answered', async () => {
    const { kernel } = await open();
    const { source, sender } = sendAll(kernel.system, 500, 8);
    await sender.close(10_000);
    expect(source.answers).toHaveLength(500);
  });

  test('close does not wait longer than it was told for what cannot be sent', async () => {
    const { kernel } = await open();
    await kernel.system.stop(A, 'for ever');
    const { source, sender } = sendAll(kernel.system, 5, 2);
    await sender.close(30);
    expect(source.answers).toEqual([]);
    await kernel.system.spawn(A, 'counter', { self: A });
    sender.wake();
    expect(source.answers).toEqual([]);
  });
});
