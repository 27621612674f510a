import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scanInventory } from '../../cells/inventory-files.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';

const SERVICES = 'services: []\n';

test('hosts are found in the order of their names, and those beyond the bound are left out, which is said', () => {
  const root = temporaryFolder();
  for (const host of ['c', 'a', 'd', 'b']) put(root, `hosts/${host}/services.yaml`, SERVICES);
  expect([...scanInventory(root).hosts.keys()]).toEqual(['a', 'b', 'c', 'd']);
  const few = scanInventory(root, 3);
  expect([...few.hosts.keys()]).toEqual(['a', 'b', 'c']);
  expect(few.problems).toMatchObject([
    { file: 'hosts', message: expect.stringContaining('1 are left out') },
  ]);
});

test('a file that is there but no good is there; one that is not, is not', () => {
  const root = temporaryFolder();
  mkdirSync(join(root, 'hosts/folder/services.yaml'), { recursive: true });
  mkdirSync(join(root, 'hosts/dangling'));
  mkdirSync(join(root, 'hosts/none'));
  symlinkSync('/nowhere/at/all', join(root, 'hosts/dangling/services.yaml'));
  symlinkSync(join(root, 'hosts/folder'), join(root, 'hosts/link'));
  put(root, 'hosts/file', SERVICES);
  const { hosts, topology } = scanInventory(root);
  expect([...hosts.keys()]).toEqual(['dangling', 'folder', 'link']);
  expect(topology).toBeNull();
});

test('a changed file has another stamp, and one that did not change has the same', () => {
  const root = temporaryFolder();
  put(root, 'hosts/a/services.yaml', SERVICES);
  put(root, 'topology.yaml', 'nodes: {}\n');
  const before = scanInventory(root);
  expect(scanInventory(root)).toEqual(before);
  rmSync(join(root, 'topology.yaml'));
  put(root, 'topology.yaml', 'nodes: {}\n');
  expect(scanInventory(root).topology).not.toEqual(before.topology);
});

test('an inventory that is not there is not an empty one', () => {
  const root = temporaryFolder();
  expect(scanInventory(root).hosts.size).toBe(0);
  expect(() => scanInventory(join(root, 'none'))).toThrow(/ENOENT/);
});
