/** What a mission had left here, put aside: the newest are kept, the others go only when that is surely right. */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { writeOwner } from '../../cells/owner.ts';
import type { Owner } from '../../cells/owner.ts';
import {
  beyondBound,
  goingAside,
  KEPT_ASIDE,
  listAside,
  nameForAside,
  removeAside,
  removeGoing,
  whyKept,
} from '../../cells/put-aside.ts';
import { makeCell, put, temporaryFolder } from '../support/cell-files.ts';

const left = (epoch: number): Owner => ({
  node: 'n',
  epoch,
  seq: 1,
  clean: true,
  exported: { at: '2026-01-01T00:00:00Z', to: null, node: 'n' },
});

/** A mission `c` at home in epoch 9, and `count` folders of it put aside. */
function withAside(count: number): string {
  const missions = temporaryFolder();
  writeOwner(makeCell(missions, 'c'), { node: 'n', epoch: 9, seq: 1, clean: false });
  for (let n = 1; n <= count; n += 1) aside(missions, n);
  return missions;
}

function aside(missions: string, n: number, id = 'c'): string {
  const dir = makeCell(missions, `.${id}.left-${n}`);
  put(dir, 'cell.json', { cell_id: id, mission_name: 'm' });
  makeWhole(dir, id);
  writeOwner(dir, left(n));
  return dir;
}

function makeWhole(dir: string, id: string): void {
  put(dir, 'cell.json', {
    cell_id: id,
    mission_name: 'm',
    created_at: '2026-01-31T12:00:00Z',
    created_by: 'admin',
    status: 'active',
  });
}

const names = (list: readonly { name: string }[]): string[] => list.map(({ name }) => name);

test('the newest are within the bound, of each mission by itself, and the next number is never one that was there', () => {
  const missions = withAside(12);
  aside(missions, 1, 'other');
  expect(names(listAside(missions)).slice(0, 3)).toEqual([
    '.c.left-12',
    '.c.left-11',
    '.c.left-10',
  ]);
  expect(beyondBound(missions)).toHaveLength(12 - KEPT_ASIDE);
  expect(names(beyondBound(missions))).not.toContain('.c.left-12');
  expect(names(beyondBound(missions))).not.toContain('.c.left-11');
  expect(beyondBound(missions, 'other')).toEqual([]);
  expect(nameForAside(missions, 'c')).toBe('.c.left-13');
  rmSync(join(missions, '.c.left-1'), { recursive: true });
  expect(nameForAside(missions, 'c')).toBe('.c.left-13');
  expect(nameForAside(missions, 'new')).toBe('.new.left-1');
  writeFileSync(join(missions, '.new.left-1'), 'a file');
  expect(nameForAside(missions, 'new')).toBe('.new.left-2');
});

test('names that only look alike, files and links are none', () => {
  const missions = temporaryFolder();
  for (const name of [
    '.c.left-0',
    '.c.left-',
    '.c.left-1x',
    'c.left-1',
    '.-c.left-1',
    '.c.left-01',
  ])
    mkdirSync(join(missions, name));
  writeFileSync(join(missions, '.c.left-1'), '');
  symlinkSync('/', join(missions, '.d.left-1'));
  expect(listAside(missions)).toEqual([]);
  expect(goingAside(missions)).toEqual([]);
});

describe('one of a mission that lives on here', () => {
  const reason = (missions: string, home: string | undefined = join(missions, 'c')) =>
    whyKept(missions, { name: '.c.left-1', cellId: 'c', n: 1 }, home);

  test('may go', () => expect(reason(withAside(1))).toBeUndefined());

  it.each<[string, (missions: string) => void, string]>([
    [
      'its owner record is gone',
      (missions) => rmSync(join(missions, '.c.left-1/.lazarus/owner.json')),
      'does not say that it was exported',
    ],
    [
      'its owner record is damaged',
      (missions) => put(missions, '.c.left-1/.lazarus/owner.json', '{'),
      'does not say that it was exported',
    ],
    [
      'it was not exported',
      (missions) =>
        writeOwner(join(missions, '.c.left-1'), { node: 'n', epoch: 1, seq: 1, clean: true }),
      'does not say that it was exported',
    ],
    [
      'it is another mission',
      (missions) => makeWhole(join(missions, '.c.left-1'), 'x'),
      'does not say that it is this mission',
    ],
    [
      'the mission is gone',
      (missions) => rmSync(join(missions, 'c'), { recursive: true }),
      'not here any more',
    ],
    [
      'the folder of the mission is another one now',
      (missions) => makeWhole(join(missions, 'c'), 'x'),
      'not here any more',
    ],
    [
      'the one at home is not newer',
      (missions) => writeOwner(join(missions, 'c'), { node: 'n', epoch: 1, seq: 1, clean: true }),
      'no later owner',
    ],
    [
      'the one at home has lost something',
      (missions) =>
        writeOwner(join(missions, 'c'), {
          node: 'n',
          epoch: 9,
          seq: 1,
          clean: false,
          loss: { at: '2026-01-01T00:00:00Z', by: 'me' },
        }),
      'accepted loss',
    ],
  ])('stays when %s', (_when, change, why) => {
    const missions = withAside(1);
    change(missions);
    expect(reason(missions)).toContain(why);
  });

  test('stays when nobody knows where the mission is', () => {
    expect(whyKept(withAside(1), { name: '.c.left-1', cellId: 'c', n: 1 }, undefined)).toContain(
      'not here any more',
    );
  });
});

test('it goes whole, links in it are not followed, and what a crash left of it is known and goes', async () => {
  const missions = withAside(2);
  const outside = temporaryFolder();
  writeFileSync(join(outside, 'kept'), '');
  symlinkSync(outside, join(missions, '.c.left-1/artifacts'));
  await removeAside(missions, '.c.left-1');
  expect(readdirSync(missions).toSorted()).toEqual(['.c.left-2', 'c']);
  expect(existsSync(join(outside, 'kept'))).toBe(true);
  mkdirSync(join(missions, '.c.left-1.going/agents'), { recursive: true });
  expect(names(listAside(missions))).toEqual(['.c.left-2']);
  expect(goingAside(missions)).toEqual(['.c.left-1.going']);
  await removeGoing(missions, '.c.left-1.going');
  expect(goingAside(missions)).toEqual([]);
});
