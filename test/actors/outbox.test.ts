/** The outbox on a real journal, before a bus that takes its time. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Outbox } from '../../actors/outbox.ts';
import type { Bus, BusMessage } from '../../bus/bus.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import { eventually } from '../support/eventually.ts';

const MB = 1 << 20;
const A = counterAddress(1);

/** Takes nothing before it is opened; then one run at a time, each when it is let in. */
class SlowBus implements Pick<
  Bus,
  'isUp' | 'maxPayload' | 'onUp' | 'lastPosition' | 'publish' | 'tell'
> {
  readonly maxPayload = 8 * MB;
  readonly taken: BusMessage[] = [];
  readonly told: string[] = [];
  isUp = false;
  runs = 0;
  mostBytes = 0;
  #gate = Promise.withResolvers<void>();
  #listener: () => void = () => undefined;

  onUp(listener: () => void): void {
    this.#listener = listener;
  }
  open(): void {
    this.isUp = true;
    this.#listener();
  }
  letIn(): void {
    this.#gate.resolve();
  }
  lastPosition(): Promise<number> {
    return Promise.resolve(0);
  }
  async publish(_stream: string, messages: readonly BusMessage[]): Promise<void> {
    this.runs += 1;
    const bytes = messages.reduce((sum, { body }) => sum + body.length, 0);
    this.mostBytes = Math.max(this.mostBytes, bytes);
    await this.#gate.promise;
    this.taken.push(...messages);
  }
  tell(subject: string): Promise<void> {
    this.told.push(subject);
    return Promise.resolve();
  }
}

test('given more than memory holds, twice, the second time while the first is read from the disk, then all of it is published in order, a bounded part at a time', async () => {
  const f = await openKernel();
  onTestFinished(() => f.dispose());
  const { system } = f.kernel;
  await system.spawn(A, 'counter', { self: A });
  const bus = new SlowBus();
  const outbox = new Outbox({
    bus: bus as unknown as Bus,
    system,
    journalFolder: join(f.folder, 'journal'),
    cursorFile: join(f.folder, 'outbox.json'),
    committedLsn: () => f.kernel.committedLsn(),
    log: { info: () => undefined, warn: () => undefined },
  });
  outbox.start();
  const pad = 'x'.repeat(MB);
  const addMuch = async (): Promise<void> => {
    for (let n = 0; n < 40; n += 1) await system.send(A, { type: 'add', n: 1, pad });
  };
  await addMuch();
  bus.open();
  await eventually(() => expect(bus.runs).toBe(1)); // the disk is being read
  await addMuch();
  bus.letIn();
  await eventually(() => expect(outbox.view().behind).toBe(0), { timeoutMs: 20_000 });
  const ids = bus.taken.map(({ body }) => (JSON.parse(body) as { id: string }).id);
  const events = ids.filter((id) => id.startsWith(`${A}#`)).map((id) => Number(id.split('#')[1]));
  expect(events).toEqual(events.toSorted((a, b) => a - b));
  expect(bus.taken.filter(({ body }) => body.includes('"type":"add"'))).toHaveLength(80);
  expect([bus.told, outbox.view().gaps.count]).toEqual([[], 0]);
  expect(bus.mostBytes).toBeLessThan(6 * MB);
  await outbox.close();
}, 60_000);
