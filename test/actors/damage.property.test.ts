/**
 * Any file of ours, damaged anywhere: the node starts, says what is bad, whoever's data is whole goes on with exactly the
 * state it had, and whoever's is not is held with the reason.
 *
 * Two places can hide a loss. The last batch of the journal: there damage cannot be told from a write that a crash cut
 * off. And a region of which nothing can be read any more: it is reported, but names nobody, so an actor whose newest
 * records it held goes on from the ones before.
 */
import assert from 'node:assert/strict';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { stateText } from '../../actors/fold.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { decodeSegmentHeader, linesOf, scanBatches } from '../../cells/journal-format.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const ACTORS = [1, 2, 3, 4].map(counterAddress);
const OPTIONS = { limits: { snapshotEvery: 6 }, segmentBytes: 4096 };

const damage = fc.record({
  file: fc.nat(),
  how: fc.constantFrom('flip', 'flip', 'zero', 'garbage', 'cut', 'remove'),
  /** As a share of the file's content. */
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 300 }),
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
  /** It may look like a write that a crash cut off, or leaves nothing to read. */
  mayHide: boolean;
}

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
  const isLast = kind === 'journal' && reachesLastBatch(folder, path, to);
  const isLegible = harm.how === 'flip' && !inPrefix(bytes, from);
  inflict(path, bytes, { ...harm, from, to });
  return { kind, file, struck, mayHide: kind === 'journal' && (isLast || !isLegible) };
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

function reachesLastBatch(folder: string, path: string, to: number): boolean {
  for (const segment of filesIn(join(folder, 'journal')).toReversed()) {
    const bytes = readFileSync(segment);
    let last: number | undefined;
    const start = decodeSegmentHeader(bytes)?.end ?? 0;
    for (const span of scanBatches(bytes, { start })) if (span.kind === 'batch') last = span.start;
    if (segment === path) return last === undefined || to > last;
    if (last !== undefined) return false;
  }
  return false;
}

/** In the part of a record, or of a header, by which one can tell whose it is. */
function inPrefix(bytes: Buffer, position: number): boolean {
  const text = bytes.toString('latin1');
  const line = text.lastIndexOf('{"a":"', position + 5);
  const next = text.indexOf('LZB1', Math.max(0, position - 32));
  const inHeader = next >= 0 && position >= next && position < next + 32;
  return inHeader || line < 0 || position < text.indexOf(',"p":', line) + 5;
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
        const before = await Promise.all(ACTORS.map((a) => stateOf(fixture.kernel, a)));
        let done: Wound | undefined;
        await fixture.reopen('crash', {}, () => (done = wound(fixture.folder, harm)));
        assert(done !== undefined);
        const { kind, file, struck, mayHide } = done;
        const after = await Promise.all(ACTORS.map((a) => stateOf(fixture.kernel, a)));
        for (const [i, address] of ACTORS.entries()) {
          const what = `${harm.how} in ${file}: ${address}`;
          if (after[i] === before[i]) continue;
          if (harm.how === 'remove' && kind === 'journal') continue; // it may hold any number of them
          assert(struck.has(address), `${what} was not struck, and is ${after[i]}`);
          if (after[i] !== 'held') assert(mayHide, `${what} went back without a word: ${after[i]}`);
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
      bytes[bytes.indexOf('555')] = 0x34;
      const fd = openSync(path, 'r+');
      writeSync(fd, bytes, 0, bytes.length, 0);
      closeSync(fd);
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
    await kernel.system.release(quiet);
    await kernel.system.send(quiet, { type: 'forward', to: busy, n: 1 });
    expect([total(quiet), total(busy)]).toEqual([14, 7]);
    kernel = await fixture.reopen('crash');
    expect([total(quiet), total(busy)]).toEqual([14, 7]);
    await kernel.system.send(quiet, { type: 'add', n: 1 });
    expect(total(quiet)).toBe(15);
  });
});
