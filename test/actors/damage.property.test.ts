/**
 * Any file of ours, damaged anywhere: the node starts, says what is bad, whoever's data is whole goes on with exactly the
 * state it had, and whoever's is not, or may not be, is held with the reason until a person accepts the loss.
 *
 * One place hides a loss: the end of the newest segment, cut off together with the witness behind it. That is what a write
 * looks like that a crash cut off.
 */
import assert from 'node:assert/strict';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join, relative } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { stateText } from '../../actors/fold.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { decodeSegmentHeader, linesOf, scanBatches } from '../../cells/journal-format.ts';
import { findWitnesses } from '../../cells/journal-witness.ts';
import { readUptime } from '../../actors/uptime-file.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { eventually } from '../support/eventually.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const ACTORS = [1, 2, 3, 4].map(counterAddress);
const OPTIONS = { limits: { snapshotEvery: 6 }, segmentBytes: 4096 };

const damage = fc.record({
  file: fc.nat(),
  how: fc.constantFrom('flip', 'flip', 'zero', 'garbage', 'cut', 'remove'),
  /** As a share of the file's content. */
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 3000 })),
  bit: fc.nat(7),
});
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

/** Phases in which one or two actors work and the others are quiet: their last records lie far back. */
const history = fc.array(
  fc.record({
    who: fc.nat(3),
    also: fc.nat(3),
    events: fc.integer({ min: 1, max: 25 }),
    finally: fc.constantFrom('nothing', 'nothing', 'checkpoint', 'compact'),
  }),
  { minLength: 2, maxLength: 8 },
);
type History = typeof history extends fc.Arbitrary<infer T> ? T : never;

const at = (n: number): string => ACTORS[n] as string;

async function liveThrough(kernel: Kernel, phases: History): Promise<void> {
  for (const self of ACTORS) await kernel.system.spawn(self, 'counter', { self });
  for (const { who, also, events, finally: last } of phases) {
    for (let n = 0; n < events; n += 1)
      await kernel.system.send(at(who), { type: 'forward', to: at(also), n: 1 });
    if (last === 'checkpoint') await kernel.checkpoint(at(who));
    if (last === 'compact') await kernel.compact();
  }
  await kernel.system.settled();
}

async function stateOf({ system }: Kernel, address: string): Promise<string> {
  try {
    await system.spawn(address, 'counter', { self: address }); // as its cell's folder would be found again
    const actor = system.actors.get(address);
    return actor ? stateText(system.wake(actor).state) : 'gone';
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'ACTOR_HELD') return 'held';
    throw error;
  }
}

interface Wound {
  kind: 'journal' | 'copy' | 'checkpoint' | 'index' | 'other';
  /** Path in the fixture's folder. */
  file: string;
  /** Actors whose records or checkpoint it struck. */
  struck: Set<string>;
  /** It looks like a write that a crash cut off. */
  mayHide: boolean;
}

/** What a node that is killed a moment later leaves: the witness of its last commit, and how far the journal had come. */
async function quiet({ kernel, folder }: KernelFixture): Promise<void> {
  await eventually(() => {
    const [number, bytes] = newestSegment(folder);
    const { newest } = findWitnesses(bytes, 0);
    const uptime = readUptime(join(folder, 'uptime.json'));
    expect(uptime?.journal.segment).toBe(number);
    if ([...scanBatches(bytes, { start: startOf(bytes) })].length > 0)
      expect(newest?.nextLsn).toBe(kernel.committedLsn() + 1);
  });
}

function newestSegment(folder: string): [number, Buffer] {
  for (const path of filesIn(join(folder, 'journal')).toReversed()) {
    const bytes = readFileSync(path);
    if (decodeSegmentHeader(bytes)) return [Number.parseInt(basename(path), 10), bytes];
  }
  throw new Error('no segment has a header');
}

const startOf = (bytes: Buffer): number => decodeSegmentHeader(bytes)?.end ?? 0;

function wound(folder: string, harm: Damage): Wound {
  const files = filesIn(folder);
  const path = files[harm.file % files.length] as string;
  const file = relative(folder, path);
  const bytes = readFileSync(path);
  const end = contentEnd(bytes);
  const from = Math.min(Math.floor(harm.at * end), Math.max(0, end - 1));
  const isToEnd = harm.how === 'cut' || harm.how === 'remove';
  const to = isToEnd ? end : Math.min(end, from + (harm.how === 'flip' ? 1 : harm.length));
  const kind = kindOf(file);
  const struck =
    kind === 'journal'
      ? struckIn(bytes, { from: harm.how === 'remove' ? 0 : from, to })
      : new Set(ACTORS.filter((address) => file.includes(`cells/${address.slice(5)}/`)));
  const isNewest = kind === 'journal' && bytes.equals(newestSegment(folder)[1]);
  inflict(path, bytes, { ...harm, from, to });
  return { kind, file, struck, mayHide: isNewest && harm.how === 'cut' };
}

function inflict(
  path: string,
  bytes: Buffer,
  { how, from, to, bit }: Damage & { from: number; to: number },
): void {
  if (how === 'remove') return rmSync(path);
  if (how === 'cut') return truncateSync(path, from);
  const block = Buffer.from(bytes.subarray(from, to));
  if (how === 'flip') block[0] = (block[0] ?? 0) ^ (1 << bit);
  else block.fill(how === 'zero' ? 0 : 0x5a);
  const fd = openSync(path, 'r+');
  writeSync(fd, block, 0, block.length, from);
  closeSync(fd);
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('uptime'))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

function kindOf(file: string): Wound['kind'] {
  if (file.startsWith('journal/')) return 'journal';
  if (file.endsWith('.wal')) return 'copy';
  if (file.includes('/checkpoints/')) return 'checkpoint';
  return file === 'index.json' ? 'index' : 'other';
}

/** Behind the content of a segment stand prepared zeros. */
function contentEnd(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end;
}

/** Actors with a record in a batch that the damage touches; in a header it touches them all. */
function struckIn(bytes: Buffer, { from, to }: { from: number; to: number }): Set<string> {
  const start = decodeSegmentHeader(bytes)?.end ?? 0;
  const struck = new Set<string>();
  for (const span of scanBatches(bytes, { start })) {
    if (span.kind !== 'batch') continue;
    if ((span.start >= to || span.end <= from) && from >= start) continue;
    for (const line of linesOf(bytes, span)) struck.add(line.slice(6, line.indexOf('"', 6)));
  }
  return struck;
}

const fixtures: KernelFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

describe('P2, P6: given a file of ours that is damaged', () => {
  test('then the node starts, and everybody has the exact state or is held', async () => {
    await fc.assert(
      fc.asyncProperty(history, damage, async (phases, harm) => {
        const fixture = await openKernel(OPTIONS);
        fixtures.push(fixture);
        await liveThrough(fixture.kernel, phases);
        const states = () => Promise.all(ACTORS.map((a) => stateOf(fixture.kernel, a)));
        const before = await states();
        await quiet(fixture);
        let done: Wound | undefined;
        await fixture.reopen('crash', {}, () => (done = wound(fixture.folder, harm)));
        assert(done !== undefined);
        const { kind, file, struck, mayHide } = done;
        const after = await states();
        for (const [i, address] of ACTORS.entries()) {
          const what = `${harm.how} in ${file}: ${address}`;
          if (after[i] === before[i]) continue;
          if (after[i] !== 'held') assert(mayHide, `${what} went back without a word: ${after[i]}`);
          if (kind !== 'journal')
            assert(struck.has(address), `${what} was not struck, and is held`);
          if (kind === 'journal') assert.notEqual(harm.how, 'flip', `${what}: one bit`);
        }
        await fixture.kernel.compact();
        for (const how of ['crash', 'clean'] as const) {
          await fixture.reopen(how);
          assert.deepEqual(await states(), after, `${harm.how} in ${file}, ${how} later`);
        }
        await fixture.dispose();
      }),
      { numRuns: 80 },
    );
  }, 120_000);

  test('an actor whose newest record is spoilt is held until the loss is accepted, and then goes on', async () => {
    const fixture = await openKernel({ segmentBytes: 1 << 20 });
    fixtures.push(fixture);
    const [quiet, busy, other] = [at(0), at(1), at(2)];
    const { system } = fixture.kernel;
    for (const self of [quiet, busy, other]) await system.spawn(self, 'counter', { self });
    for (let n = 0; n < 3; n += 1) await system.send(quiet, { type: 'forward', to: busy, n: 1 });
    await system.send(quiet, { type: 'add', n: 555 });
    for (let n = 0; n < 3; n += 1) await system.send(busy, { type: 'add', n: 1 });
    const spoil = (): void => {
      const path = filesIn(join(fixture.folder, 'journal'))[0] as string;
      const bytes = readFileSync(path);
      const at555 = bytes.indexOf('"n":555'); // not any 555: a time or a checksum may hold one too
      expect(at555).toBeGreaterThan(0);
      bytes.write('"n":999', at555); // more than one bit
      writeFileSync(path, bytes);
    };
    let kernel = await fixture.reopen('crash', {}, spoil);
    const total = (address: string): unknown =>
      (kernel.system.read(address).snapshot.context as { total: number }).total;
    for (let life = 0; life < 2; life += 1) {
      await expect(kernel.system.send(quiet, { type: 'add', n: 1 })).rejects.toThrow(/damaged/);
      await kernel.system.send(other, { type: 'forward', to: quiet, n: 7 });
      expect(total(busy)).toBe(6);
      kernel = await fixture.reopen(life === 0 ? 'crash' : 'clean');
    }
    await expect(kernel.system.send(quiet, { type: 'add', n: 1 })).rejects.toThrow(/damaged/);
    await expect(kernel.system.release(quiet)).rejects.toThrow(/damaged/);
    await kernel.system.release(quiet, { acceptLoss: true });
    await kernel.system.send(quiet, { type: 'forward', to: busy, n: 1 });
    expect([total(quiet), total(busy)]).toEqual([14, 7]);
    kernel = await fixture.reopen('crash');
    expect([total(quiet), total(busy)]).toEqual([14, 7]);
    await kernel.system.send(quiet, { type: 'add', n: 1 });
    expect(total(quiet)).toBe(15);
  });
});
