/** A mission whose checkpoints are damaged at rest: the node has the state from the records, goes on, and says so. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { stateText } from '../../actors/fold.ts';
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import { statusLines } from '../../cli/status-view.ts';
import { eventually } from '../support/eventually.ts';
import {
  dropInto,
  gate,
  mission,
  startNode,
  startNodeProcess,
  step,
  task,
  temporaryMissions,
} from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const LEAD = agentAddress('c', 'lead');
const PLAN = mission('c', [
  task('t', [step('a', 'true', { retry: 'never' })]),
  task('later', [step('b')], { dependencies: ['gate'] }),
  task('gate', [], { requires: { capabilities: ['nobody has'] } }),
]);

function damage(missions: string, who = 'lead'): void {
  const folder = join(missions, 'c/checkpoints', who);
  for (const name of readdirSync(folder).filter((known) => known.startsWith('state')))
    writeFileSync(join(folder, name), 'garbage');
}

const stateOf = ({ node }: TestNode, address: string): string => {
  const { system } = node.kernel;
  const actor = system.actors.get(address);
  if (actor === undefined) throw new Error(`${address} is not known`);
  return stateText(system.wake(actor).state);
};

async function atRest(at: TestNode): Promise<void> {
  await at.taskIs('c', 't', 'completed');
  await at.node.kernel.system.settled();
}

test('given an idle agent, when all its checkpoints are damaged after a clean stop, then it is as it was, works on, and the status and the log say so', async () => {
  const at = await startNode();
  at.drop(PLAN);
  await atRest(at);
  const before = stateOf(at, LEAD);
  await at.restart({}, () => damage(at.missions));
  expect(stateOf(at, LEAD)).toBe(before);
  const how = 'no checkpoint sound: the state was had from the records';
  await eventually(() =>
    expect(at.node.status().mended).toEqual([
      { what: LEAD, how, at: expect.stringMatching(/^\d{4}-.*Z$/) as string },
    ]),
  );
  await eventually(() => expect(at.text('c', 'logs/mission.log')).toContain(`agent lead: ${how}`));
  const lines = statusLines(at.node.status()).map(stripVTControlCharacters);
  expect(lines.slice(lines.indexOf('Damaged on disk, and mended (1)'))[1]).toContain(LEAD);
  expect(at.node.status().held).toEqual([]);
  expect(at.node.status().revivals).toEqual([]);
  at.write('c', 'tasks/more.json', task('more', [step('b')]));
  await at.taskIs('c', 'more', 'completed');
  expect(at.counts('c')).toEqual({ 't/a': 1, 'more/b': 1 });
});

test('given the cell itself damaged as well, then it is shown and goes on as if nothing had been', async () => {
  const at = await startNode();
  at.drop(PLAN);
  await atRest(at);
  await at.asleep('c');
  await at.restart({}, () => {
    damage(at.missions, '_cell');
    damage(at.missions);
  });
  await at.taskIs('c', 't', 'completed');
  await at.node.scanned;
  await eventually(() =>
    expect(at.node.status().mended.map(({ what }) => what)).toContain(cellAddress('c')),
  );
  expect(at.node.status().held).toEqual([]);
});

test('given an agent at work, when its node is killed and all its checkpoints are damaged, then the step goes on', async () => {
  const missions = temporaryMissions();
  const first = await startNodeProcess(missions);
  dropInto(missions, mission('c', [task('t', [step('a'), step('b', gate('g')), step('c')])]));
  await eventually(() => expect(readdirSync(join(missions, 'c/artifacts'))).toContain('g.waiting'));
  await first.crash();
  damage(missions);
  const at = await startNode({}, missions);
  at.open('c', 'g');
  await at.cellIs('c', 'completed');
  expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
});

test("given its cell's copy gone too, then the agent is held with both reasons, and nothing is mended", async () => {
  const at = await startNode();
  at.drop(PLAN);
  await atRest(at);
  await at.restart({}, () => {
    damage(at.missions);
    rmSync(at.path('c', '.lazarus/journal'), { recursive: true });
  });
  const { system } = at.node.kernel;
  await expect(system.send(LEAD, { type: 'agent.pause' })).rejects.toMatchObject({
    code: 'ACTOR_HELD',
    message: expect.stringMatching(/no older checkpoint is sound; neither its cell/) as string,
  });
  expect(at.node.status().mended).toEqual([]);
});
