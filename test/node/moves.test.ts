/** Missions that leave a missions folder and come into another: exported, imported, copied by hand, run by somebody else. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { cellAddress } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { gate, leftUnclean, mission, NEVER, startNode, startNodeProcess } from '../support/node.ts';
import { step, task, temporaryMissions, threeSteps } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const LEVELS = ['none', 'level_1'] as const;

async function verb(at: TestNode, name: string, input: JsonObject): Promise<JsonObject> {
  return (await runVerb(at.node, name, input)) as JsonObject;
}
const exported = (at: TestNode, cell: string, to?: string): Promise<JsonObject> =>
  verb(at, 'cell.export', to === undefined ? { cell } : { cell, to });
const imported = (at: TestNode, path: string, more: JsonObject = {}): Promise<JsonObject> =>
  verb(at, 'cell.import', { path, ...more });

async function atGate(at: TestNode, level: string, b: JsonObject = {}): Promise<void> {
  at.drop(mission('c', threeSteps(b), { isolation_level: level }));
  await at.waitsAt('c', 'g');
}

describe.each(LEVELS)('a mission exported in the middle of a step (%s)', (level) => {
  test('when the step ends in time, then its copy goes on elsewhere and nothing of it is repeated', async () => {
    const at = await startNode({ drainMs: 10_000 });
    await atGate(at, level, NEVER);
    const away = join(temporaryMissions(), 'moved');
    const leaving = exported(at, 'c', away);
    at.open('c', 'g');
    expect(await leaving).toMatchObject({ cell_id: 'c', to: away, fenced: true });
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
    const there = await startNode();
    expect(await imported(there, away)).toMatchObject({ cell_id: 'c', lost: null });
    await there.cellIs('c', 'completed');
    expect(there.counts('c')).toEqual({ 't/a': 1, 't/b': 1, 't/c': 1 });
    const owner = there.json('c', '.lazarus/owner.json');
    expect(owner['epoch']).toBeGreaterThan(Number(at.json('c', '.lazarus/owner.json')['epoch']));
    expect(owner).not.toHaveProperty('exported');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
  });

  test('when a safe step takes too long, then it is ended and runs again elsewhere, alone', async () => {
    const at = await startNode();
    await atGate(at, level);
    const there = await startNode();
    await exported(at, 'c', there.missions); // into the folder of the other node: it is taken up like any folder
    await there.cellIs('c', 'active');
    there.open('c', 'g');
    await there.cellIs('c', 'completed');
    expect(there.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
  });

  test('when a step that must not run twice takes too long, then it is in doubt elsewhere', async () => {
    const at = await startNode();
    await atGate(at, level, NEVER);
    await exported(at, 'c');
    expect(at.node.status().in_doubt).toEqual([]);
    const there = await startNode();
    await imported(there, at.path('c'));
    await eventually(() => expect(there.doubt('c').step).toBe('b'));
    await there.settle('c', 'done');
    await there.cellIs('c', 'completed');
    expect(there.counts('c')).toEqual({ 't/a': 1, 't/b': 1, 't/c': 1 });
  });
});

describe('the folder that was left', () => {
  test('does not run, now or after a restart, and says where the mission went', async () => {
    const at = await startNode();
    await atGate(at, 'none');
    const away = join(temporaryMissions(), 'moved');
    await exported(at, 'c', away);
    at.open('c', 'g');
    const isHeld = (): void => {
      const reason = expect.stringMatching(
        /^it was exported to .*moved at .*`lazarus cell import`/,
      );
      expect(at.node.status().held).toMatchObject([{ what: 'c', reason }]);
      expect(at.node.status().cells).toEqual([]);
      expect(at.text('c', 'cell.json.error')).toContain('this cell is held: it was exported to');
    };
    await eventually(isHeld);
    await expect(at.tell('c', { type: 'cell.pause' })).rejects.toMatchObject({
      code: 'ACTOR_UNKNOWN',
    });
    await at.restart();
    await eventually(isHeld);
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
    expect(existsSync(join(away, 'cell.json.error'))).toBe(false);
  });

  test('does not run either when the node was killed right after the fence', async () => {
    const at = await startNode();
    await atGate(at, 'none');
    const { node } = at;
    await at.restart({}, () => {
      const owner = at.json('c', '.lazarus/owner.json');
      const mark = { at: '2026-01-01T00:00:00Z', to: null, node: node.nodeId };
      at.edit('c', '.lazarus/owner.json', { ...owner, exported: mark });
    });
    await eventually(() => expect(at.node.status().held).toMatchObject([{ what: 'c' }]));
    at.open('c', 'g');
    expect(at.counts('c')).toMatchObject({ 't/a': 1 });
    expect(at.node.status().cells).toEqual([]);
  });

  test('is taken back by an import, and the mission goes on as if nothing had been', async () => {
    const at = await startNode();
    await atGate(at, 'level_1');
    await exported(at, 'c');
    expect(await imported(at, at.path('c'))).toMatchObject({ source: 'taken back', lost: null });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
    await eventually(() => expect(at.exists('c', 'cell.json.error')).toBe(false));
  });

  test('is not taken back when its copy has gone on, unless that is accepted', async () => {
    const at = await startNode();
    await atGate(at, 'none');
    const there = await startNode();
    await exported(at, 'c', there.missions);
    await there.cellIs('c', 'active');
    await expect(imported(at, at.path('c'))).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('has gone on'),
      hint: expect.stringContaining(there.path('c')),
    });
    await imported(at, at.path('c'), { accept_loss: 'yes' });
    await at.cellIs('c', 'active');
  });
});

test('a mission that rests is exported whole, and one whose agent waits for a person waits for one elsewhere', async () => {
  const at = await startNode();
  at.drop(mission('done', [task('t', [step('a')])]));
  const more = { isolation_level: 'level_1', policies: { auto_revive: 'ask' } };
  at.drop(mission('asks', [task('t', [step('a', gate('g'))])], more));
  await at.cellIs('done', 'completed');
  await at.waitsAt('asks', 'g');
  await at.killWorker('asks');
  await eventually(() => expect(at.revival('asks').status).toBe('pending_approval'));
  await at.restart();
  const there = await startNode();
  for (const cell of ['done', 'asks']) await exported(at, cell, there.missions);
  await there.cellIs('done', 'completed');
  await eventually(() => expect(there.revival('asks').status).toBe('pending_approval'));
  expect(at.node.status().pending_revivals).toBe(0);
  there.open('asks', 'g');
  await there.tellLazarus('asks', { type: 'revival.approve', by: 'me' });
  await there.cellIs('asks', 'completed');
});

test('a mission that went away and comes back goes on where it is, also after restarts', async () => {
  const at = await startNode();
  at.drop(
    mission('c', [
      task('t', [step('a', 'true', NEVER), step('b', gate('g')), step('c', gate('h')), step('d')]),
    ]),
  );
  await at.waitsAt('c', 'g');
  const there = await startNode();
  await exported(at, 'c', there.missions);
  await there.cellIs('c', 'active');
  there.open('c', 'g');
  await there.waitsAt('c', 'h');
  await exported(there, 'c');
  const answer = await imported(at, there.path('c'));
  expect(answer).toMatchObject({ path: at.path('c'), source: 'fenced' });
  expect(readdirSync(at.missions).filter((name) => name.includes('left'))).toEqual(['.c.left-1']);
  await at.restart();
  await at.restart();
  at.open('c', 'h');
  await at.cellIs('c', 'completed');
  const { 't/c': c, ...rest } = at.counts('c');
  expect(rest).toEqual({ 't/a': 1, 't/b': 2, 't/d': 1 });
  expect(c).toBeGreaterThan(1); // safe, and cut off by each move and stop
  const files = readdirSync(at.path('c', '.lazarus/journal'));
  expect(files.filter((name) => name.startsWith('e')).length).toBeGreaterThan(1);
});

describe('an export that cannot be done', () => {
  test.each([
    ['a place that is taken', (at: TestNode) => at.path('other'), 'CONFLICT'],
    ['the missions folder itself', (at: TestNode) => at.path('c2'), 'INVALID_ARGUMENT'],
    ['a folder that is not there', () => '/nowhere/at/all', 'INVALID_ARGUMENT'],
  ])('%s: is refused, and the mission goes on here', async (_name, place, code) => {
    const at = await startNode();
    await atGate(at, 'none');
    const taken = temporaryMissions();
    mkdirSync(join(taken, 'c'));
    const to = code === 'CONFLICT' ? taken : place(at);
    await expect(exported(at, 'c', to)).rejects.toMatchObject({ code });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1, 't/c': 1 });
  });

  test('a link among its files: the copy is refused, and the mission goes on here', async () => {
    const at = await startNode();
    await atGate(at, 'level_1');
    symlinkSync('/etc/passwd', at.path('c', 'artifacts/secret'));
    const away = temporaryMissions();
    await expect(exported(at, 'c', away)).rejects.toMatchObject({ code: 'PATH_ESCAPES_CELL' });
    expect(readdirSync(away)).toEqual([]);
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
  });
});

describe('an import', () => {
  test('of a mission that was not left cleanly is refused with what is known, and goes on when the loss is accepted', async () => {
    const { missions, path } = await leftUnclean();
    const there = await startNode();
    await expect(imported(there, path)).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(
        /did not stop cleanly.*the journal in .* goes up to record \d+ of 2/,
      ),
      hint: expect.stringContaining('--accept-loss'),
    });
    expect(readdirSync(there.missions).filter((name) => !name.startsWith('.'))).not.toContain('c');
    const answer = await imported(there, path, { accept_loss: 'yes' });
    expect(answer['lost']).toContain('did not stop cleanly');
    there.open('c', 'g');
    await there.cellIs('c', 'completed');
    expect(there.counts('c')).toMatchObject({ 't/a': 1, 't/c': 1 });
    const at = await startNode({}, missions); // the node that was killed comes back: its folder is fenced
    await eventually(() =>
      expect(at.node.status().held).toMatchObject([
        { reason: expect.stringContaining('exported') },
      ]),
    );
    at.open('c', 'g');
    expect(at.node.status().cells).toEqual([]);
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
  });

  test('of a folder whose owner record is damaged is refused until the loss is accepted', async () => {
    const at = await startNode();
    await atGate(at, 'none');
    const away = join(temporaryMissions(), 'c');
    await exported(at, 'c', away);
    writeFileSync(join(away, '.lazarus/owner.json'), '{"node"');
    const there = await startNode();
    await expect(imported(there, away)).rejects.toMatchObject({ code: 'FILE_INVALID' });
    await imported(there, away, { accept_loss: 'yes' });
    there.open('c', 'g');
    await there.cellIs('c', 'completed');
    expect(there.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
  });

  test('from under a node that runs is refused with the command that does it', async () => {
    const at = await startNode();
    await atGate(at, 'none');
    const there = await startNode();
    await expect(imported(there, at.path('c'))).rejects.toMatchObject({
      code: 'NODE_LOCKED',
      hint: expect.stringContaining('lazarus cell export'),
    });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });

  test('of a folder with a link in it is refused, and nothing is left of it', async () => {
    const source = join(temporaryMissions(), 'c');
    const there = await startNode();
    const at = await startNode();
    await atGate(at, 'none');
    await exported(at, 'c', source);
    symlinkSync('/etc', join(source, 'artifacts/etc'));
    await expect(imported(there, source)).rejects.toMatchObject({ code: 'PATH_ESCAPES_CELL' });
    expect(readdirSync(there.missions).filter((name) => name.includes('c'))).not.toContain('c');
    expect(readdirSync(there.missions).join()).not.toContain('coming');
  });

  test.each([
    ['a relative path', 'c', 'INVALID_ARGUMENT'],
    ['no folder', '/nowhere/c', 'INVALID_ARGUMENT'],
    ['no mission', '/tmp', 'FILE_INVALID'],
  ])('of %s is refused', async (_name, path, code) => {
    const at = await startNode();
    await expect(imported(at, path)).rejects.toMatchObject({ code });
  });

  test('of a mission that is here already is refused', async () => {
    const at = await startNode();
    await atGate(at, 'none');
    const copy = join(temporaryMissions(), 'c');
    cpSync(at.path('c'), copy, { recursive: true });
    await expect(imported(at, copy)).rejects.toMatchObject({ code: 'CELL_DUPLICATE' });
    await expect(imported(at, at.path('c'))).rejects.toMatchObject({ code: 'CELL_DUPLICATE' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
  });
});

describe('a known mission whose folder another node had while this one was down', () => {
  /** Stopped cleanly here, run there to the second gate; `end` stops or kills the other node. */
  async function ranElsewhere(end: 'clean' | 'killed'): Promise<TestNode> {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g')), step('b', gate('h'), NEVER)])]));
    await at.waitsAt('c', 'g');
    await at.restart({}, () => {});
    await at.stop();
    const away = temporaryMissions();
    cpSync(at.path('c'), join(away, 'c'), { recursive: true });
    const there = await startNodeProcess(away);
    const waits = (name: string): Promise<void> =>
      eventually(() => {
        if (!existsSync(join(away, `c/artifacts/${name}.waiting`))) throw new Error(name);
      });
    cpSync('/dev/null', join(away, 'c/artifacts/g.open'));
    await waits('h');
    if (end === 'killed') await there.crash();
    else {
      there.child.kill('SIGTERM');
      await new Promise((resolve) => there.child.once('exit', resolve));
    }
    renameSync(at.path('c'), join(temporaryMissions(), 'old'));
    renameSync(join(away, 'c'), at.path('c'));
    return at;
  }

  test('given it was killed there, when this node starts, then the mission is held with the reason', async () => {
    const at = await ranElsewhere('killed');
    await at.restart();
    await eventually(() =>
      expect(at.node.status().held).toMatchObject([
        { what: 'c', reason: expect.stringContaining('did not stop cleanly') },
      ]),
    );
    expect(at.json('c', '.lazarus/owner.json')['node']).not.toBe(at.node.nodeId);
    await expect(at.tell('c', { type: 'cell.pause' })).rejects.toThrow('cell/c');
    expect(at.node.kernel.system.has(cellAddress('c'))).toBe(false);
    await at.restart();
    await eventually(() => expect(at.node.status().held).toMatchObject([{ what: 'c' }]));
    await imported(at, at.path('c'), { accept_loss: 'yes' });
    await at.cellIs('c', 'failed'); // its folder shows that `b`, of which its records say nothing, was begun
    expect(at.task('c', 't').blocked_reason).toContain('step b may have run');
    expect(at.counts('c')['t/b']).toBe(1);
  });

  test('given it was stopped cleanly there, when this node starts, then it goes on from where that left it', async () => {
    const at = await ranElsewhere('clean');
    await at.restart();
    await eventually(() => expect(at.doubt('c').step).toBe('b'));
    await at.settle('c', 'done');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')['t/b']).toBe(1);
    expect(at.node.status().held).toEqual([]);
  });
});

describe('records that are lost for good', () => {
  /** The agent's state as it was when it began, in the folder of a mission that a node stopped cleanly at the gate. */
  async function agentPutBack(b: JsonObject = {}): Promise<TestNode> {
    const at = await startNode();
    await atGate(at, 'none', b);
    await at.stop();
    const folder = at.path('c', 'checkpoints/lead');
    const older = readdirSync(folder).filter((name) => /^state\.\d+\.json$/.test(name));
    renameSync(join(folder, older[0] as string), join(folder, 'state.json'));
    for (const name of older.slice(1)) rmSync(join(folder, name));
    rmSync(at.path('c', '.lazarus/journal'), { recursive: true });
    return at;
  }

  test('given an agent that is older than its cell, when the folder is imported elsewhere, then it catches up and repeats nothing', async () => {
    const at = await agentPutBack();
    const owner = at.json('c', '.lazarus/owner.json');
    at.edit('c', '.lazarus/owner.json', { ...owner, clean: false });
    const there = await startNode();
    await imported(there, at.path('c'), { accept_loss: 'yes' });
    there.open('c', 'g');
    await there.cellIs('c', 'completed');
    expect(there.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
  });

  test('given an agent that is older than its cell and held for it, when it is released, then it catches up', async () => {
    const at = await agentPutBack();
    await at.restart();
    const { actors } = at.node.kernel.system;
    await eventually(() =>
      expect(actors.get('cell/c/agent/lead')?.hold?.reason).toContain('its folder has it up to'),
    );
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
    await verb(at, 'actor.release', { address: 'cell/c/agent/lead' });
    at.open('c', 'g');
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
  });
});
