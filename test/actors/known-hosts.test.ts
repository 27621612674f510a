/** Which hosts the observer shows, by an inventory on disk. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { askInventory } from '../../actors/observer/known-hosts.ts';
import { temporaryRuntime } from '../support/planner.ts';

function inventory(files: Record<string, string>): string {
  const folder = temporaryRuntime();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

test('given hosts and other names of them, then it has both', async () => {
  const folder = inventory({
    'hosts/vps/services.yaml': 'services: [web]',
    'topology.yaml': 'nodes: {vps: {aliases: [saturn]}, nas: {}}',
  });
  const known = await askInventory(folder, { old: 'vps' })();
  expect([...(known?.hosts ?? [])].toSorted()).toEqual(['nas', 'vps']);
  expect(known?.aliases).toMatchObject({ old: 'vps', saturn: 'vps' });
});

test('given a host whose file was never understood, then it has that host', async () => {
  const folder = inventory({
    'hosts/vps/services.yaml': 'services: [web]',
    'hosts/piha/services.yaml': 'services: [web',
  });
  const ask = askInventory(folder, {});
  expect([...((await ask())?.hosts ?? [])].toSorted()).toEqual(['piha', 'vps']);
  const known = await ask();
  expect(await ask()).toBe(known);
});

test('given no inventory, or one that names nobody, then every host may belong there', async () => {
  expect(await askInventory(join(temporaryRuntime(), 'none'), {})()).toBeNull();
  expect(await askInventory(inventory({ 'topology.yaml': 'nodes: {}' }), {})()).toBeNull();
});
