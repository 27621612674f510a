/** P8: every bound is met, says so, hurts nobody else, and is left again. */
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const A = counterAddress(1);
const B = counterAddress(2);

const fixtures: KernelFixture[] = [];
async function open(options: Parameters<typeof openKernel>[0]): Promise<KernelFixture> {
  const fixture = await openKernel(options);
  fixtures.push(fixture);
  for (const self of [A, B]) await fixture.kernel.system.spawn(self, 'counter', { self });
  return fixture;
}
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

const total = ({ kernel }: KernelFixture, address: string): number =>
  (kernel.system.read(address).snapshot.context as { total: number }).total;

/** Sends so many at once; how many were accepted, and the codes of the others. */
async function flood(
  { kernel }: KernelFixture,
  address: string,
  events: number,
): Promise<{ accepted: number; codes: Set<string> }> {
  const sends = Array.from({ length: events }, () =>
    kernel.system.send(address, { type: 'add', n: 1 }),
  );
  const results = await Promise.allSettled(sends);
  const refused = results.filter((result) => result.status === 'rejected');
  const codes = new Set(refused.map(({ reason }) => (reason as { code: string }).code));
  return { accepted: events - refused.length, codes };
}

describe('a flood', () => {
  test('at one door is refused above its bound; the neighbour is served, and all that was accepted counts', async () => {
    const f = await open({ limits: { softBound: 200 } });
    const flooded = flood(f, A, 20_000);
    await f.kernel.system.send(B, { type: 'add', n: 1 });
    const { accepted, codes } = await flooded;
    expect([...codes]).toEqual(['BUSY']);
    expect(accepted).toBeGreaterThan(100); // snapshot records take a few places
    expect(accepted).toBeLessThanOrEqual(200);
    expect([total(f, A), total(f, B)]).toEqual([accepted, 1]);
    expect(await flood(f, A, 100)).toEqual({ accepted: 100, codes: new Set() });
  });

  test('at every door is refused above the bound of the node', async () => {
    const f = await open({ limits: { nodeBound: 300 } });
    const [a, b] = await Promise.all([flood(f, A, 5000), flood(f, B, 5000)]);
    expect(a.accepted + b.accepted).toBeLessThanOrEqual(300);
    expect([total(f, A), total(f, B)]).toEqual([a.accepted, b.accepted]);
    expect(await flood(f, B, 10)).toEqual({ accepted: 10, codes: new Set() });
  });

  test('of events from within holds the actor that cannot keep up, with its records; the others go on', async () => {
    const f = await open({ limits: { burst: 50, ratePerSecond: 1, hardBound: 20 } });
    const chain = Array.from({ length: 200 }, () => A);
    await f.kernel.system.send(B, { type: 'chain', to: chain });
    expect(f.kernel.system.actors.get(A)?.hold?.code).toBe('BUSY');
    expect(await flood(f, B, 10)).toEqual({ accepted: 10, codes: new Set() });
    const kernel = await f.reopen('crash', { limits: { burst: 10_000 } });
    await kernel.wakeBusy();
    await eventually(() => expect(total(f, A)).toBe(200));
  });
});

describe('the journal', () => {
  test('above its bound closes the doors until upkeep has caught up; nothing accepted is lost', async () => {
    const f = await open({ segmentBytes: 4096, journalBound: 64 << 10, upkeepMs: 500 });
    let accepted = 0;
    await eventually(
      async () => {
        const sent = await flood(f, A, 100);
        accepted += sent.accepted;
        expect([...sent.codes]).toEqual(['BUSY']);
      },
      { timeoutMs: 20_000 },
    );
    const met = f.kernel.journalBytes();
    await eventually(async () => expect((await flood(f, A, 1)).accepted).toBe(1), {
      timeoutMs: 20_000,
    });
    accepted += 1;
    expect(f.kernel.journalBytes()).toBeLessThan(met);
    expect(total(f, A)).toBe(accepted);
  });
});
