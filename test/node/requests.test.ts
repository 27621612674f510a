/** The requests for people under `revivals/`: what is open has its file, whatever happens to files and agents. */
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cellAddress, lazarusAddress } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';
import type { Options, TestNode } from '../support/node.ts';

type Folder = keyof TestNode['node']['layout']['revivals'];

const REQUEST = 'c.lead.1.json';
const fileIn = (at: TestNode, folder: Folder): string =>
  join(at.node.layout.revivals[folder], REQUEST);
const requestIn = (at: TestNode, folder: Folder): JsonObject =>
  JSON.parse(readFileSync(fileIn(at, folder), 'utf8')) as JsonObject;
const isIn = (at: TestNode, ...folders: Folder[]): void => {
  const all: Folder[] = ['pending', 'approved', 'rejected', 'expired'];
  expect(all.filter((folder) => existsSync(fileIn(at, folder)))).toEqual(folders);
};

/** The worker of `lead` was killed in the middle of its task, and a person is asked. */
async function asked(
  options: Options = { rescanMs: 50 },
  more: JsonObject = {},
): Promise<TestNode> {
  const at = await startNode(options);
  at.drop(
    mission('c', [task('t', [step('a', gate('g'))])], {
      isolation_level: 'level_1',
      policies: { auto_revive: 'ask' },
      ...more,
    }),
  );
  await at.waitsAt('c', 'g');
  await at.killWorker('c');
  await eventually(() => isIn(at, 'pending'));
  return at;
}

/** Looks of the door have come and gone. */
const looks = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 300));

describe('a request that is deleted is asked again', () => {
  test('given a node that runs, then the file is back, and moving it is an answer as ever', async () => {
    const at = await asked();
    const before = requestIn(at, 'pending');
    rmSync(fileIn(at, 'pending'));
    await eventually(() => isIn(at, 'pending'));
    expect(requestIn(at, 'pending')).toEqual(before);
    expect(at.revival('c')).toMatchObject({ status: 'pending_approval', revival_id: 'c.lead.1' });
    renameSync(fileIn(at, 'pending'), fileIn(at, 'approved'));
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    await eventually(() => expect(requestIn(at, 'approved')['outcome']).toBe('revived'));
    isIn(at, 'approved');
    expect(at.ledger('c').map(({ outcome }) => outcome)).toEqual(['asking', 'revived']);
  });

  test('given the whole folder removed while no node runs, then it is back at the next start', async () => {
    const at = await asked({});
    const before = requestIn(at, 'pending');
    await at.restart({}, () =>
      rmSync(join(at.node.layout.revivals.pending, '..'), { recursive: true }),
    );
    await eventually(() => isIn(at, 'pending'));
    expect(requestIn(at, 'pending')).toEqual(before);
  });

  test('given a question whose actor sleeps, then it is read, and the request is back', async () => {
    const at = await asked();
    const address = lazarusAddress('c', 'lead');
    await eventually(async () => {
      await at.node.kernel.passivateIdle();
      expect(at.node.kernel.system.actors.get(address)?.resident).toBeUndefined();
    });
    rmSync(fileIn(at, 'pending'));
    await eventually(() => isIn(at, 'pending'));
  });

  test('given one moved where it says nothing, then it is asked again where it belongs', async () => {
    const at = await asked();
    renameSync(fileIn(at, 'pending'), fileIn(at, 'expired'));
    await eventually(() => expect(existsSync(fileIn(at, 'pending'))).toBe(true));
    await at.tellLazarus('c', { type: 'revival.reject', by: 'me' });
    await eventually(() => expect(requestIn(at, 'rejected')['outcome']).toBe('rejected'));
    await eventually(() => expect(existsSync(fileIn(at, 'pending'))).toBe(false));
  });
});

describe('what is no open question is not asked again', () => {
  test('given an answer that cannot be read, then it stays where it is, with its error, and nothing stands in pending/', async () => {
    const at = await asked();
    const choice = { ...requestIn(at, 'pending'), choice: 'anything' };
    writeFileSync(fileIn(at, 'pending'), JSON.stringify(choice));
    renameSync(fileIn(at, 'pending'), fileIn(at, 'approved'));
    await eventually(() => expect(existsSync(`${fileIn(at, 'approved')}.error`)).toBe(true));
    await looks();
    isIn(at, 'approved');
    expect(at.revival('c').status).toBe('pending_approval');
    writeFileSync(fileIn(at, 'approved'), JSON.stringify({ ...choice, choice: 'retry' }));
    await eventually(() => expect(at.revival('c').status).toBe('revived'));
  });

  test('given a request that was rejected and then deleted, then it stays away', async () => {
    const at = await asked();
    await at.tellLazarus('c', { type: 'revival.reject', by: 'me' });
    await eventually(() => expect(requestIn(at, 'rejected')['outcome']).toBe('rejected'));
    await eventually(() => isIn(at, 'rejected'));
    rmSync(fileIn(at, 'rejected'));
    await looks();
    isIn(at);
  });

  test('given a mission whose folder is gone, then nobody is asked about its agents', async () => {
    const at = await asked();
    rmSync(at.path('c'), { recursive: true });
    await eventually(() => expect(at.node.kernel.system.has(cellAddress('c'))).toBe(false));
    rmSync(fileIn(at, 'pending'));
    await looks();
    isIn(at);
  });
});

describe('an agent that is removed takes its case with it', () => {
  const spare = { agents: [agent('lead'), agent('other')] };

  test('given a held actor, which cannot say so, then the request is closed and its task goes to another', async () => {
    const at = await asked({}, spare);
    await at.restart({ rescanMs: 50 }, () => {
      const folder = at.path('c', 'checkpoints/lead');
      for (const name of readdirSync(folder))
        if (name.startsWith('state')) writeFileSync(join(folder, name), 'garbage');
      rmSync(at.path('c', '.lazarus/journal'), { recursive: true });
    });
    await eventually(() => expect(at.revival('c').reason).toContain('its actor is held'));
    rmSync(at.path('c', 'agents/lead.json'));
    await eventually(() =>
      expect(at.revival('c')).toMatchObject({ outcome: 'removed', needs_person: false }),
    );
    await eventually(() => isIn(at, 'expired'));
    expect(at.ledger('c').at(-1)).toMatchObject({ outcome: 'removed' });
    await eventually(() => expect(at.task('c', 't').assigned_to).toBe('other'));
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });

  test('given one that waits for an answer and is removed while no node runs, then the next one closes its case', async () => {
    const at = await asked({}, spare);
    await at.restart({ rescanMs: 50 }, () => rmSync(at.path('c', 'agents/lead.json')));
    await eventually(() => expect(at.revival('c').outcome).toBe('removed'));
    await eventually(() => isIn(at, 'expired'));
  });

  test('given one that never failed, then nothing is said of it', async () => {
    const at = await asked({ rescanMs: 50 }, spare);
    rmSync(at.path('c', 'agents/other.json'));
    await eventually(() =>
      expect(at.cell('c').agents.map(({ agent_id: id }) => id)).toEqual(['lead']),
    );
    expect(at.warnings.filter(({ message }) => message === 'message to nobody')).toEqual([]);
  });
});
