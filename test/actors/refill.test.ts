/**
 * An actor none of whose checkpoints is sound: its records give its state, byte for byte (P2), or it is held. It never goes
 * on from less than it had.
 */
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { stateText } from '../../actors/fold.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { refill } from '../../actors/refill.ts';
import { decodeRecord, isSnapshotLine } from '../../actors/records.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import { checkpointPaths } from '../../cells/layout.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { eventually } from '../support/eventually.ts';
import { counterAddress, folderStore, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const [A, B] = [counterAddress(1), counterAddress(2)];
const SMALL = { segmentBytes: 4096, limits: { snapshotEvery: 1_000_000 } };

const fixtures: KernelFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

async function open(options: Parameters<typeof openKernel>[0] = SMALL): Promise<KernelFixture> {
  const fixture = await openKernel(options);
  fixtures.push(fixture);
  return fixture;
}

/** Everything a state can hold: sums, ids seen, senders heard, a timer armed. */
async function live({ kernel: { system } }: KernelFixture, events = 30): Promise<void> {
  for (const self of [A, B]) if (!system.has(self)) await system.spawn(self, 'counter', { self });
  for (let n = 0; n < events; n += 1) {
    await system.send(A, { type: 'add', n }, { id: `id-${system.actors.get(A)?.seq}` });
    if (n % 5 === 0) await system.send(B, { type: 'forward', to: A, n: 1 });
  }
  await system.send(A, { type: 'sleep', ms: 3_600_000 });
}

const textOf = ({ system }: Kernel, address: string): string => {
  const actor = system.actors.get(address);
  if (actor === undefined) throw new Error(`${address} is not known`);
  return stateText(system.wake(actor).state);
};

const cellOf = (fixture: KernelFixture): string => join(fixture.folder, 'cells', 'c1');
const stateFiles = (fixture: KernelFixture): string[] => {
  const folder = join(cellOf(fixture), checkpointPaths(A).folder);
  return readdirSync(folder).map((name) => join(folder, name));
};
const copyFiles = (fixture: KernelFixture): string[] => {
  const folder = join(cellOf(fixture), '.lazarus/journal');
  return readdirSync(folder)
    .toSorted()
    .map((name) => join(folder, name));
};

const DAMAGE: Record<string, (fixture: KernelFixture) => void> = {
  damaged: (fixture) => stateFiles(fixture).forEach((file) => writeFileSync(file, 'garbage')),
  gone: (fixture) => stateFiles(fixture).forEach((file) => rmSync(file)),
};

const CUTS: Record<string, (fixture: KernelFixture) => void> = {
  removed: (fixture) => copyFiles(fixture).forEach((file) => rmSync(file)),
  'cut at its end': (fixture) => {
    const file = copyFiles(fixture).at(-1) as string;
    truncateSync(file, statSync(file).size - 1);
  },
  'damaged at its beginning': (fixture) => {
    const file = copyFiles(fixture)[0] as string;
    const bytes = readFileSync(file);
    bytes.fill(0, 100, 200);
    writeFileSync(file, bytes);
  },
};

/** A life with two compactions, the last of which ended some time ago when it is killed. */
async function lived(how: 'clean' | 'crash', what: string): Promise<[KernelFixture, string]> {
  const fixture = await open();
  await live(fixture);
  await fixture.kernel.checkpoint(A);
  await live(fixture);
  await fixture.kernel.compact();
  await live(fixture, how === 'crash' ? 7 : 0);
  await fixture.kernel.checkpoint(A);
  await fixture.kernel.system.settled();
  const before = textOf(fixture.kernel, A);
  await fixture.reopen(how, {}, () => DAMAGE[what]?.(fixture));
  return [fixture, before];
}

describe.each(['clean', 'crash'] as const)('after a %s end, given an idle actor', (how) => {
  test.each(Object.keys(DAMAGE))(
    'with every checkpoint %s and its records whole, then it has the same state, says so, and its checkpoint is mended',
    async (what) => {
      const [fixture, before] = await lived(how, what);
      const mended: string[] = [];
      fixture.kernel.system.on('mended', (address) => mended.push(address));
      expect(fixture.kernel.system.actors.get(A)?.resident).toBeUndefined();
      expect(textOf(fixture.kernel, A)).toBe(before);
      expect(fixture.warnings).toEqual([
        {
          message: 'no checkpoint sound: the state was had from the records',
          fields: {
            address: A,
            damage: expect.stringMatching(/damaged|gone/) as string,
            from: 1,
            to: fixture.kernel.system.actors.get(A)?.seq,
          },
        },
      ]);
      await eventually(() => expect(mended).toEqual([A]));
      expect(folderStore(fixture.folder).isSound(A)).toBe(true);
      await fixture.reopen('crash');
      expect(textOf(fixture.kernel, A)).toBe(before);
      expect(fixture.warnings).toHaveLength(1);
      await fixture.kernel.system.send(A, { type: 'cancel' });
    },
  );

  test.each(Object.keys(CUTS))(
    "with every checkpoint damaged and its cell's copy %s, then it is held with both reasons, and its neighbour goes on",
    async (cut) => {
      const [fixture] = await lived(how, 'damaged');
      CUTS[cut]?.(fixture);
      const { system } = fixture.kernel;
      await expect(system.send(A, { type: 'cancel' })).rejects.toMatchObject({
        code: 'ACTOR_HELD',
        message: expect.stringMatching(
          /no older checkpoint is sound; .*(record|neither its cell)/,
        ) as string,
      });
      expect(system.actors.get(A)?.hold?.code).toBe('CHECKPOINT_CORRUPT');
      expect(stateFiles(fixture).map((file) => readFileSync(file, 'utf8'))).toContain('garbage');
      await system.send(B, { type: 'add', n: 1 });
    },
  );
});

test('given a killed node that never compacted, then the journal alone gives the state', async () => {
  const fixture = await open();
  await live(fixture);
  await fixture.kernel.checkpoint(A);
  const before = textOf(fixture.kernel, A);
  await fixture.reopen('crash', {}, () => DAMAGE['damaged']?.(fixture));
  expect(textOf(fixture.kernel, A)).toBe(before);
});

test('given a snapshot among the records, then nothing older than it is needed', async () => {
  const fixture = await open({ ...SMALL, limits: { snapshotEvery: 8 } });
  await live(fixture);
  await fixture.kernel.compact();
  await live(fixture, 40);
  const before = textOf(fixture.kernel, A);
  await fixture.reopen('crash', {}, () => {
    const lines = [...readSegments(join(fixture.folder, 'journal'))].map(({ line }) => line);
    expect(lines.some((line) => line.startsWith(`{"a":"${A}"`) && isSnapshotLine(line))).toBe(true);
    DAMAGE['damaged']?.(fixture);
    CUTS['removed']?.(fixture);
  });
  expect(textOf(fixture.kernel, A)).toBe(before);
});

describe('given an actor that left memory while its node runs', () => {
  async function asleep(): Promise<[KernelFixture, string]> {
    const fixture = await open();
    const { kernel } = fixture;
    await live(fixture);
    await kernel.checkpoint(A);
    await live(fixture, 3); // what the open segment alone has
    const before = textOf(kernel, A);
    await kernel.passivateIdle();
    expect(kernel.system.actors.get(A)?.resident).toBeUndefined();
    return [fixture, before];
  }

  test('when all its checkpoints are damaged, then it wakes with the state it had', async () => {
    const [fixture, before] = await asleep();
    DAMAGE['damaged']?.(fixture);
    expect(textOf(fixture.kernel, A)).toBe(before);
  });

  test('when its newest one is damaged, then the records since the older one are had from the journal', async () => {
    const [fixture, before] = await asleep();
    writeFileSync(join(cellOf(fixture), checkpointPaths(A).state), 'garbage');
    expect(textOf(fixture.kernel, A)).toBe(before);
    await eventually(() => expect(folderStore(fixture.folder).isSound(A)).toBe(true));
  });

  test('when somebody only reads it, then it is mended all the same, and told once', async () => {
    const [fixture, before] = await asleep();
    DAMAGE['damaged']?.(fixture);
    for (let times = 0; times < 3; times += 1)
      expect(fixture.kernel.system.read(A).seq).toBe(JSON.parse(before).seq);
    await eventually(() => expect(folderStore(fixture.folder).isSound(A)).toBe(true));
    expect(fixture.warnings).toHaveLength(1);
  });
});

test('when the checkpoint cannot be written anew, then its cell is not left as clean', async () => {
  const [fixture, before] = await lived('clean', 'damaged');
  const { kernel } = fixture;
  expect(textOf(kernel, A)).toBe(before);
  rmSync(join(cellOf(fixture), 'checkpoints'), { recursive: true });
  writeFileSync(join(cellOf(fixture), 'checkpoints'), 'no room for a folder');
  await eventually(() =>
    expect(fixture.warnings.map(({ message }) => message)).toContain(
      'a damaged checkpoint is not written anew yet',
    ),
  );
  expect([...kernel.unsaved()]).toContain('c1');
});

test('what a held actor was asked for is sent once, also by an actor that is refilled', async () => {
  const fixture = await open();
  await live(fixture, 3);
  const { system } = fixture.kernel;
  system.holdActor(system.actors.get(A) as never, { code: 'BUSY', reason: 'by the test' });
  await system.send(B, { type: 'chain', to: [A, B] }); // A keeps it; it asks A to tell B
  await system.release(A);
  await system.settled();
  const [a, b] = [textOf(fixture.kernel, A), textOf(fixture.kernel, B)];
  await fixture.reopen('clean', {}, () => DAMAGE['damaged']?.(fixture));
  expect([textOf(fixture.kernel, A), textOf(fixture.kernel, B)]).toEqual([a, b]);
  await fixture.kernel.system.settled();
  expect(textOf(fixture.kernel, B)).toBe(b);
});

test('given nothing that tells how far an actor had come, then its records are not taken for all of them', () => {
  expect(() => refill({} as never, [], { upTo: 0 })).toThrow('nothing here tells');
});

test('P2: whatever happens to the copy, the state is the one that was, or there is none', async () => {
  const harm = fc.record({
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
    zero: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
    file: fc.nat(),
  });
  const life = fc.record({
    phases: fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1, maxLength: 5 }),
    snapshotEvery: fc.constantFrom(6, 1000),
    how: fc.constantFrom('clean' as const, 'crash' as const),
  });
  let refilled = 0;
  await fc.assert(
    fc.asyncProperty(life, harm, async ({ phases, snapshotEvery, how }, { cut, zero, file }) => {
      const fixture = await open({ segmentBytes: 4096, limits: { snapshotEvery } });
      for (const events of phases) {
        await live(fixture, events);
        await fixture.kernel.compact();
      }
      await fixture.kernel.checkpoint(A);
      const before = textOf(fixture.kernel, A);
      await fixture.reopen(how, {}, () => {
        DAMAGE['damaged']?.(fixture);
        const files = statSync(join(cellOf(fixture), '.lazarus/journal'), { throwIfNoEntry: false })
          ? copyFiles(fixture)
          : [];
        const path = files[file % Math.max(1, files.length)];
        if (path === undefined) return;
        const bytes = readFileSync(path);
        const at = Math.floor((zero ?? 1) * bytes.length);
        bytes.fill(0, at, Math.min(bytes.length, at + 40));
        writeFileSync(path, cut === undefined ? bytes : bytes.subarray(0, cut * bytes.length));
      });
      try {
        expect(textOf(fixture.kernel, A)).toBe(before);
        refilled += 1;
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
        expect(error.code).toBe('ACTOR_HELD');
        expect(cut ?? zero).toBeDefined();
      }
      await fixture.dispose();
      fixtures.splice(fixtures.indexOf(fixture), 1);
    }),
    { numRuns: 40 },
  );
  expect(refilled).toBeGreaterThan(0);
}, 120_000);

test('the first record told is where the fold began', async () => {
  const fixture = await open();
  await live(fixture, 2);
  const lines = [...readSegments(join(fixture.folder, 'journal'))]
    .filter(({ address }) => address === A)
    .map(({ line }) => line);
  const { registry } = fixture.kernel.system;
  const last = decodeRecord(lines.at(-1) ?? '').n;
  const { from, to, state } = refill(registry, lines, { upTo: last });
  expect([from, to, state?.seq]).toEqual([1, last, last]);
  expect(() => refill(registry, lines.slice(1), { upTo: last })).toThrow('begin at 2');
  expect(() => refill(registry, lines.slice(0, -1), { upTo: last })).toThrow(
    `up to record ${last - 1}`,
  );
  expect(() => refill(registry, lines.toSpliced(2, 1), { upTo: last })).toThrow('between 2 and 4');
});
