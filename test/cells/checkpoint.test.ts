/** Checkpoints at rest: what is believed, what is said of the rest, and what a cell's own copy keeps over its owners. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CellStore } from '../../cells/checkpoint.ts';
import { checkpointProblem } from '../../cells/checkpoint-guard.ts';
import { copyFiles, readCellCopy, sealCopy } from '../../cells/journal-copy.ts';
import { silentLog } from '../../cells/log.ts';
import { validate } from '../../cells/validate.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { Checkpoint } from '../../machines/persisted.ts';
import { temporaryFolder } from '../support/cell-files.ts';

const ADDRESS = 'cell/c/agent/a';
const CHECKPOINT: Checkpoint = {
  format: 1,
  address: ADDRESS,
  machine: 'agent',
  version: 1,
  definitionHash: 'h',
  seq: 7,
  epoch: 2,
  at: 1_700_000_000_000,
  snapshot: { status: 'active', value: 'idle', context: { n: 1 } },
  invokes: {
    step: { src: 'runStep', input: { a: [1] }, seq: 6, started: true },
    timer: { src: 'waitUntil', input: null, seq: 3 },
  },
  dedupe: { senders: { 'cell/c': [3, 1] }, streams: {}, ids: [['x', 5, 2]], forgottenUpTo: 0 },
};

describe('the guard', () => {
  /** Places in a checkpoint, at which anything may stand. */
  const place = fc.oneof(
    fc.constantFrom(...Object.keys(CHECKPOINT), 'stopped', 'more').map((name) => [name]),
    fc.constantFrom('senders', 'streams', 'ids', 'forgottenUpTo').map((name) => ['dedupe', name]),
    fc.constantFrom('step', 'timer', 'new').map((id) => ['invokes', id]),
    fc
      .tuple(
        fc.constantFrom('step', 'timer'),
        fc.constantFrom('src', 'input', 'seq', 'started', 'more'),
      )
      .map(([id, name]) => ['invokes', id, name]),
  );
  const value: fc.Arbitrary<JsonValue> = fc.oneof(
    fc.constantFrom<JsonValue>(0, 1, -1, 1.5, 1e300, true, false, null, '', 'x', [], {}),
    fc.constantFrom(199, 200, 201, 300, 301).map((length) => '\u{1f600}'.repeat(length)),
    fc.jsonValue() as fc.Arbitrary<JsonValue>,
  );
  const change = fc.record({ place, value: fc.option(value, { nil: undefined }) });

  test('accepts exactly what the schema accepts, whatever stands in a checkpoint', () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const altered = structuredClone(CHECKPOINT) as unknown as JsonObject;
        for (const { place: path, value: wanted } of changes) put(altered, path, wanted);
        const problem = checkpointProblem(altered);
        const signed = { ...altered, sha256: 'a'.repeat(64) };
        const schema = validate('checkpoint', signed, { path: 'x' });
        expect(problem === undefined, problem).toBe(schema.ok);
        if (schema.ok) accepted += 1;
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test.each([
    [null, 'it is no object'],
    [[], 'it is no object'],
    [{ ...CHECKPOINT, seq: -1 }, '/seq is no whole number from 0'],
    [{ ...CHECKPOINT, machine: '' }, '/machine has 0 characters, not 1 to 200'],
    [{ ...CHECKPOINT, stopped: false }, '/stopped is not true'],
    [{ ...CHECKPOINT, invokes: { x: { src: 's', seq: 1 } } }, '/invokes of "x": input is missing'],
  ])('says what is wrong and where: %#', (altered, problem) => {
    expect(checkpointProblem(altered)).toBe(problem);
  });

  function put(target: JsonObject, path: readonly string[], wanted: JsonValue | undefined): void {
    const [name = '', ...rest] = path;
    const inner = target[name];
    if (rest.length > 0) {
      if (typeof inner === 'object' && inner !== null && !Array.isArray(inner))
        put(inner, rest, wanted);
    } else if (wanted === undefined) delete target[name];
    else target[name] = wanted;
  }
});

function storeOn(folder: string): CellStore {
  return new CellStore({ folderOf: (cellId) => (cellId === 'c' ? folder : undefined) }, silentLog);
}

describe('a stored checkpoint', () => {
  test('comes back as it was written, and older ones are kept', async () => {
    const folder = temporaryFolder();
    const store = storeOn(folder);
    for (const seq of [1, 2, 3, 4]) await store.writeCheckpoint({ ...CHECKPOINT, seq });
    expect(store.readCheckpoint(ADDRESS)).toEqual({
      checkpoint: { ...CHECKPOINT, seq: 4 },
      older: false,
    });
    expect([...store.checkpoints(ADDRESS)].map(({ seq }) => seq)).toEqual([4, 3, 2]);
    expect(store.previousCheckpoint(ADDRESS)?.seq).toBe(3);
  });

  test.each([
    ['cut off', (bytes: Buffer) => bytes.subarray(0, 200), 'its hash does not match its content'],
    ['empty', () => Buffer.alloc(0), 'it does not begin with its hash'],
    ['altered', (bytes: Buffer) => flip(bytes, 150), 'its hash does not match its content'],
    ['spoilt at the start', (bytes: Buffer) => flip(bytes, 3), 'it does not begin with its hash'],
  ])('that is %s is told from a sound one, with the reason', async (_name, spoil, reason) => {
    const folder = temporaryFolder();
    const store = storeOn(folder);
    await store.writeCheckpoint(CHECKPOINT);
    const file = join(folder, 'checkpoints/a/state.json');
    writeFileSync(file, spoil(readFileSync(file)));
    expect(() => store.readCheckpoint(ADDRESS)).toThrow(`is damaged (${reason})`);
    expect(store.isSound(ADDRESS)).toBe(false);
  });

  test('of another actor is not taken', async () => {
    const folder = temporaryFolder();
    const store = storeOn(folder);
    await store.writeCheckpoint(CHECKPOINT);
    mkdirSync(join(folder, 'checkpoints/b'));
    const text = readFileSync(join(folder, 'checkpoints/a/state.json'));
    writeFileSync(join(folder, 'checkpoints/b/state.json'), text);
    expect(() => store.readCheckpoint('cell/c/agent/b')).toThrow(`it is that of ${ADDRESS}`);
  });

  function flip(bytes: Buffer, at: number): Buffer {
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes;
  }
});

test("given a cell that comes to a node with lower lsns, then that node's records are kept behind those that came with it", async () => {
  const folder = temporaryFolder();
  const store = storeOn(folder);
  const line = (n: number): string => JSON.stringify({ a: 'cell/c', n, p: 1, t: n, u: n, e: {} });
  await store.appendCopy('c', [
    { lsn: 5000, line: line(1) },
    { lsn: 5001, line: line(2) },
  ]);
  sealCopy(folder);
  await store.appendCopy('c', [{ lsn: 3, line: line(3) }]);
  for (const name of copyFiles(folder))
    expect(statSync(join(folder, '.lazarus/journal', name)).mode & 0o077).toBe(0); // payloads are the owner's
  sealCopy(folder);
  sealCopy(folder); // nothing new came: nothing to seal
  await store.appendCopy('c', [{ lsn: 2, line: line(4) }]);
  await store.appendCopy('c', [{ lsn: 2, line: line(4) }]);
  const found = [...readCellCopy(folder)];
  expect(found.map(({ line: text }) => (JSON.parse(text) as { n: number }).n)).toEqual([
    1, 2, 3, 4,
  ]);
  expect(found.map(({ sealed }) => sealed)).toEqual([true, true, true, false]);
  expect(copyFiles(folder)).toHaveLength(readdirSync(join(folder, '.lazarus/journal')).length);
  expect(store.readCopy('cell/c', 2).map((text) => (JSON.parse(text) as { n: number }).n)).toEqual([
    3, 4,
  ]);
});

test('a node that starts and has no file to check does not load the validator', async () => {
  const root = join(import.meta.dirname, '../..');
  const program = `
    import { createRequire } from 'node:module';
    import { MissionNode } from ${JSON.stringify(join(root, 'actors/node.ts'))};
    import ${JSON.stringify(join(root, 'actors/control.ts'))};
    const quiet = () => {};
    const log = { info: quiet, warn: quiet, error: quiet };
    const node = await MissionNode.start({ missionsDir: ${JSON.stringify(temporaryFolder())}, version: 'test', log });
    await node.scanned;
    const { cache } = createRequire(import.meta.url);
    console.log(Object.keys(cache).filter((path) => /[\\\\/]ajv/.test(path)).length);
    await node.stop();`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module'];
  const child = spawn(process.execPath, [...flags, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await once(child, 'close');
  expect(out).toBe('0\n');
});
