/** So many workers start at a time: what that means for agents that die together, with a pool that starts one at a time. */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';
import { withFault } from '../support/workers.ts';

const PATIENT = { timeoutMs: 30_000 };
const AGENTS = ['first', 'second', 'third', 'fourth'];
const ONE_AT_A_TIME = { maxStarts: 1, standby: 0 };

/** Each agent stands at the gate of its own task, in its own worker. */
async function atWork(at: TestNode, policies: Record<string, JsonObject>): Promise<void> {
  at.drop(
    mission(
      'c',
      AGENTS.map((id) => task(id, [step('a', gate(id))], { assigned_to: id })),
      {
        isolation_level: 'level_1',
        agents: AGENTS.map((id) => agent(id, { policies: policies[id] ?? {} })),
      },
    ),
  );
  for (const id of AGENTS) await at.waitsAt('c', id);
}

/** While `work` runs no new worker starts before `open` is called. */
const whileNoneStarts = (
  at: TestNode,
  work: (open: () => void) => Promise<void>,
): Promise<void> => {
  const file = at.path('c', 'artifacts/workers-may-start');
  return withFault(`until=${encodeURIComponent(file)}`, () => work(() => writeFileSync(file, '')));
};

describe('agents that die together wait their turn for a worker', () => {
  test('given a turn that comes later than revive_timeout, then none of them is given up: they were not tried yet', async () => {
    const at = await startNode({ workers: ONE_AT_A_TIME });
    const hasty = { revive_timeout: 3 };
    await atWork(at, { second: hasty, third: hasty, fourth: hasty });
    const others = AGENTS.slice(1);
    await whileNoneStarts(at, async (open) => {
      await at.killWorker('c', 'first');
      await eventually(() => expect(at.node.workerCounts().starting).toBe(1));
      for (const id of others) await at.killWorker('c', id);
      await eventually(() => expect(at.node.workerCounts().waiting).toBe(others.length));
      await sleep(3_500); // longer than their revive_timeout
      for (const id of others) {
        const words = `revival c.${id}.1 waits for its turn to start a worker (attempt 1)`;
        expect(at.revival('c', id)).toMatchObject({
          status: 'pending',
          doing: words,
          next: null,
          needs_person: false,
        });
        expect(at.agent('c', id).reason).toContain(words);
        expect(at.json('c', `agents/${id}.json`)['status_reason']).toContain(words);
      }
      open();
      await eventually(() => {
        for (const id of AGENTS) expect(at.revival('c', id).status).toBe('revived');
      }, PATIENT);
    });
    for (const id of AGENTS) at.open('c', id);
    await at.cellIs('c', 'completed');
    await eventually(() =>
      expect(
        at
          .ledger('c')
          .map(({ agent_id: id, outcome }) => `${String(id)} ${String(outcome)}`)
          .sort(),
      ).toEqual(AGENTS.map((id) => `${id} revived`).sort()),
    );
    expect(at.revival('c', 'fourth').story.join('\n')).toContain(
      'its worker waits its turn to start',
    );
    expect(at.json('c', 'agents/fourth.json')).not.toHaveProperty('status_reason');
  }, 60_000);

  test('given a node that is stopped while they wait, then they come back at the next one', async () => {
    const at = await startNode({ workers: ONE_AT_A_TIME });
    await atWork(at, { second: { revive_timeout: 10 }, third: { revive_timeout: 10 } });
    await whileNoneStarts(at, async () => {
      for (const id of AGENTS) await at.killWorker('c', id);
      await eventually(() => expect(at.node.workerCounts().waiting).toBe(3));
      await at.stop();
    });
    await at.restart({});
    await eventually(() => {
      for (const id of AGENTS) expect(at.revival('c', id).status).toBe('revived');
    }, PATIENT);
    for (const id of AGENTS) at.open('c', id);
    await at.cellIs('c', 'completed');
  }, 60_000);
});

test('given a start that takes too long, then it is called off, and only then the substitute takes the task over', async () => {
  const at = await startNode({ workers: ONE_AT_A_TIME });
  const handsOver = {
    revive_timeout: 1,
    handoff_approval: 'auto',
    substitute_agents: ['second'],
  };
  await atWork(at, { first: handsOver });
  at.open('c', 'second'); // it is free
  await at.taskIs('c', 'second', 'completed');
  await whileNoneStarts(at, async () => {
    await at.killWorker('c', 'first');
    await eventually(() => expect(at.revival('c', 'first').outcome).toBe('substituted'), PATIENT);
  });
  expect(at.agent('c', 'first')).toMatchObject({ status: 'failed', pid: null });
  expect(at.node.workerCounts().starting).toBe(0);
  await at.fileSays('c', 'tasks/first.json', { assigned_to: 'second' });
  for (const id of AGENTS) at.open('c', id);
  await at.cellIs('c', 'completed');
}, 60_000);
