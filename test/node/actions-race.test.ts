/** Another executor and people at the same folders at the same time, in real files: each action is run by exactly one. */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import { proposal } from '../support/action.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';

const COUNT = 60;
/** Nothing holds our side back. */
const policy = { ...DEFAULT_POLICY, blast_radius: {} };

/** At some it jumps, at some it looks a thousand times. */
const hesitation = (name: string): number => (Number(name.replace(/\D/g, '')) % 7) ** 4;

/** True: it was there, and is now where it was moved to. */
function rename(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false;
  }
}

test('given another executor claims as fast as it can, then each action is run once, by one of the two', async () => {
  const lab = await new Homelab().start({ loadPolicy: () => policy });
  const ids = Array.from({ length: COUNT }, (_, n) => `a${n}`);
  for (const id of ids) lab.put('pending', id, proposal(id, { service: id }));
  await lab.door.lookAtAll();
  const theirs: string[] = [];
  const { approved, running, completed } = lab.layout.actions;
  const over = new AbortController();
  const seen = new Map<string, number>();
  const other = (async () => {
    while (!over.signal.aborted) {
      for (const name of readdirSync(approved).filter((one) => /^a\d+\.json$/.test(one))) {
        const looks = (seen.get(name) ?? 0) + 1;
        seen.set(name, looks);
        if (looks <= hesitation(name)) continue;
        if (!rename(join(approved, name), join(running, name))) continue;
        theirs.push(name.slice(0, -'.json'.length));
        await turn();
        rename(join(running, name), join(completed, name));
      }
      await turn();
    }
  })();
  for (const [n, id] of ids.entries()) {
    if (n % 2 === 0) lab.move(id, 'pending', 'approved');
    else await lab.verb('actions.approve', { id }).catch(() => undefined);
  }
  await eventually(
    () => {
      for (const id of ids) expect([id, lab.view(id).status]).toEqual([id, 'completed']);
    },
    { timeoutMs: 25_000 },
  );
  over.abort();
  await other;
  expect([...theirs, ...lab.executor.ran].toSorted()).toEqual(ids.toSorted());
  expect(lab.executor.ran.length).toBeGreaterThan(0);
  for (const id of ids) expect(lab.folders(id)).toEqual(['completed']);
});

test('given people approve and reject by moving files while verbs do the same, then each file ends in one place and no rejected one runs', async () => {
  const lab = await new Homelab().start({ loadPolicy: () => policy });
  const ids = Array.from({ length: COUNT }, (_, n) => `b${n}`);
  for (const id of ids) lab.put('pending', id, proposal(id, { service: id }));
  await lab.door.lookAtAll();
  const said = await Promise.all(
    ids.flatMap((id) => [
      lab.verb('actions.approve', { id }).then(
        () => 'done',
        (error: { code?: string }) => error.code,
      ),
      turn().then(() =>
        rename(lab.path('pending', id), lab.path('rejected', id)) ? 'rejected' : 'too late',
      ),
    ]),
  );
  await eventually(
    () => {
      for (const id of ids) expect(lab.view(id).state).toBe('settled');
    },
    { timeoutMs: 25_000 },
  );
  for (const [n, id] of ids.entries()) {
    const rejected = said[2 * n + 1] === 'rejected';
    expect([id, lab.folders(id)]).toEqual([id, [rejected ? 'rejected' : 'completed']]);
    expect([id, said[2 * n]]).toEqual([id, rejected ? 'CONFLICT' : 'done']);
    expect([id, lab.executor.ran.includes(id)]).toEqual([id, !rejected]);
  }
});
