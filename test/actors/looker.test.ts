/** By which clock the world is judged: other programs have the machine's, and the node's runs on as it began. */
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DesiredSource } from '../../actors/supervisor/desired-source.ts';
import { Looker } from '../../actors/supervisor/looker.ts';
import { WorldSource } from '../../actors/supervisor/world-source.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import { put, temporaryFolder } from '../support/cell-files.ts';
import { recordingLog } from '../support/source-log.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const FILES = ['nodes', 'services'];

function lookerOn(folder: string, nodeIsBehindMs = 0): Looker {
  const { log } = recordingLog();
  return new Looker({
    system: {
      clock: { now: () => ({ at: Date.now() - nodeIsBehindMs, up: 0 }) },
      read: () => {
        throw new RuntimeError('not there', { code: 'NOT_FOUND' });
      },
      send: async () => {
        throw new Error('nobody is told');
      },
    },
    desired: new DesiredSource(join(folder, 'inventory'), { log, settleMs: 0 }),
    world: new WorldSource(join(folder, 'world'), { log }),
    policy: () => DEFAULT_SUPERVISOR_POLICY,
    openActions: () => [],
  });
}

/** What drifts in a world in which one service is down. Files were written, and the host was heard, so long ago. */
async function driftsWith({ nodeIsBehindMs = 0, writtenMsAgo = 0, heardMsAgo = 0 }) {
  const folder = temporaryFolder();
  const now = Date.now();
  put(folder, 'inventory/hosts/vps/services.yaml', 'services: [web, db]\n');
  const heard = { status: 'online', last_seen: (now - heardMsAgo) / 1000 };
  put(folder, 'world/nodes.json', { vps: heard });
  put(folder, 'world/services.json', { 'vps/web': { status: 'down' }, 'vps/db': 'up' });
  const written = (now - writtenMsAgo) / 1000;
  for (const name of FILES) utimesSync(join(folder, `world/${name}.json`), written, written);
  const result = await lookerOn(folder, nodeIsBehindMs).rehearse();
  if (!result.ok) throw new Error(result.reason);
  return result.reconciled.drifts.map(({ drift }) => drift.key);
}

test.each<[string, Parameters<typeof driftsWith>[0], string[]]>([
  ['an observer that lives', {}, ['vps/web']],
  ['an observer that stopped', { writtenMsAgo: 20 * MINUTE_MS }, []],
  [
    'an observer that stopped while the machine slept, though not for long by our own clock',
    { nodeIsBehindMs: 8 * HOUR_MS, writtenMsAgo: 20 * MINUTE_MS },
    [],
  ],
  [
    'an observer that lives, and a machine whose clock was set right after our start',
    { nodeIsBehindMs: 8 * HOUR_MS },
    ['vps/web'],
  ],
  [
    'our own observer then, which counts by our own clock',
    { nodeIsBehindMs: 8 * HOUR_MS, heardMsAgo: 8 * HOUR_MS },
    ['vps/web'],
  ],
  [
    'a machine whose clock was set back, and files that were written anew since',
    { nodeIsBehindMs: -8 * HOUR_MS },
    ['vps/web'],
  ],
  ['files of a time that has not come', { writtenMsAgo: -HOUR_MS, heardMsAgo: -HOUR_MS }, []],
])('given %s', async (_what, times, drifts) => {
  expect(await driftsWith(times)).toEqual(drifts);
});

test('given a host whose file was never understood, then the whole is not nominal', async () => {
  const folder = temporaryFolder();
  put(folder, 'inventory/hosts/vps/services.yaml', 'services: [web]\n');
  put(folder, 'inventory/hosts/nas/services.yaml', 'services: [5]\n');
  put(folder, 'world/nodes.json', { vps: 'online' });
  put(folder, 'world/services.json', { 'vps/web': 'up' });
  const looker = lookerOn(folder);
  expect(await looker.rehearse()).toMatchObject({ reconciled: { summary: 'degraded' } });
  put(folder, 'inventory/hosts/nas/services.yaml', 'monitor: false\n');
  expect(await looker.rehearse()).toMatchObject({ reconciled: { summary: 'nominal' } });
});
