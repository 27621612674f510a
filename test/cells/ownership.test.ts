/** One node a folder, one owner a cell (P5): the lock, the epoch, the owner record. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeIdentity, raiseEpoch } from '../../cells/identity.ts';
import { lockMissions } from '../../cells/lock.ts';
import { isOwn, ownerProblem, readOwner, writeOwner } from '../../cells/owner.ts';

let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'lazarus-owner-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the lock', () => {
  test('is held by one, and names the holder to the other', () => {
    const file = join(folder, 'lock');
    const nodeFile = join(folder, 'node.json');
    writeFileSync(nodeFile, '{"pid": 4242}');
    const lock = lockMissions(file, nodeFile);
    expect(() => lockMissions(file, nodeFile)).toThrow(/another node.*pid 4242/);
    lock.release();
    lockMissions(file, nodeFile).release();
  });

  test('goes with its process, however that ends', async () => {
    const file = join(folder, 'lock');
    const program = `import { lockMissions } from ${JSON.stringify(join(import.meta.dirname, '../../cells/lock.ts'))};
      lockMissions(${JSON.stringify(file)}, 'none'); console.log('locked'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      program,
    ]);
    await once(child.stdout, 'data');
    expect(() => lockMissions(file, 'none')).toThrow(/another node/);
    child.kill('SIGKILL');
    await once(child, 'exit');
    lockMissions(file, 'none').release();
  });
});

describe('the epoch', () => {
  test('rises with every start, and above what the journal says', async () => {
    const file = join(folder, 'epoch');
    expect(await raiseEpoch(file, 0)).toBe(1);
    expect(await raiseEpoch(file, 0)).toBe(2);
    expect(await raiseEpoch(file, 17)).toBe(18);
    expect(readFileSync(file, 'utf8')).toBe('18\n');
  });

  test('a damaged file is an error, never a new beginning', async () => {
    const file = join(folder, 'epoch');
    writeFileSync(file, 'rubbish');
    await expect(raiseEpoch(file, 0)).rejects.toMatchObject({ code: 'FILE_INVALID' });
    expect(readFileSync(file, 'utf8')).toBe('rubbish');
  });
});

test('the node id is made once', async () => {
  const file = join(folder, 'node-id');
  const id = await nodeIdentity(file);
  expect(await nodeIdentity(file)).toBe(id);
});

describe('the owner record', () => {
  test.each([
    ['clean, by us', { node: 'us', clean: true }, false],
    ['unclean, by us', { node: 'us', clean: false }, false],
    ['clean, by others', { node: 'them', clean: true }, false],
    ['unclean, by others', { node: 'them', clean: false }, true],
  ])('%s', async (_name, owner, held) => {
    writeOwner(folder, { ...owner, epoch: 3, seq: 9 });
    expect(readOwner(folder)).toEqual({ kind: 'owner', owner: { ...owner, epoch: 3, seq: 9 } });
    expect(ownerProblem(readOwner(folder), 'us') !== undefined).toBe(held);
  });

  test('absent: a new cell; damaged: held, never taken for absent', async () => {
    expect(ownerProblem(readOwner(folder), 'us')).toBeUndefined();
    writeOwner(folder, { node: 'us', epoch: 1, seq: 1, clean: true });
    writeFileSync(join(folder, '.lazarus/owner.json'), '{"node": "us"');
    expect(ownerProblem(readOwner(folder), 'us')).toMatch(/cannot be read/);
  });

  test.each([
    ['left here', 'us', true],
    ['left at another node', 'them', false],
  ])('an exported folder, %s', (_name, node, held) => {
    const exported = { at: '2026-01-01T00:00:00Z', to: '/mnt/c', node };
    writeOwner(folder, { node: 'us', epoch: 3, seq: 9, clean: true, exported });
    const problem = ownerProblem(readOwner(folder), 'us');
    if (held) expect(problem).toContain('exported to /mnt/c at 2026-01-01T00:00:00Z');
    else expect(problem).toBeUndefined();
    expect(isOwn(readOwner(folder), 'us')).toBe(!held);
  });

  test('an accepted loss lets an unclean folder of another node go on', () => {
    const loss = { at: '2026-01-01T00:00:00Z', by: 'me' };
    writeOwner(folder, { node: 'them', epoch: 3, seq: 9, clean: false, loss });
    expect(ownerProblem(readOwner(folder), 'us')).toBeUndefined();
    expect(isOwn(readOwner(folder), 'us')).toBe(false);
  });

  test.each([
    ['{"node":"us","epoch":1,"clean":true,"exported":true}'],
    ['{"node":"us","epoch":1,"clean":true,"exported":{"at":"now","to":null}}'],
    ['{"node":"us","epoch":1,"clean":true,"loss":{"at":"now"}}'],
    ['{"node":"us","epoch":1.5,"clean":true}'],
    ['[]'],
  ])('%s is damaged, never half believed', (text) => {
    mkdirSync(join(folder, '.lazarus'));
    writeFileSync(join(folder, '.lazarus/owner.json'), text);
    expect(ownerProblem(readOwner(folder), 'us')).toMatch(/cannot be read/);
  });

  test('is neither read nor written through a link', () => {
    const outside = mkdtempSync(join(tmpdir(), 'lazarus-outside-'));
    try {
      writeFileSync(join(outside, 'owner.json'), '{"node":"us","epoch":1,"clean":true}');
      symlinkSync(outside, join(folder, '.lazarus'));
      expect(readOwner(folder).kind).toBe('unreadable');
      const owner = { node: 'us', epoch: 2, seq: 0, clean: false };
      expect(() => writeOwner(folder, owner)).toThrow('symbolic link');
      expect(readdirSync(outside)).toEqual(['owner.json']);
      expect(readFileSync(join(outside, 'owner.json'), 'utf8')).toContain('"epoch":1');
    } finally {
      rmSync(outside, { recursive: true });
    }
  });
});
