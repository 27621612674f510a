import { readFileSync, rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { NatsConnection } from 'nats';
import type { MissionNode } from '../../actors/node.ts';
import { cellAddress } from '../../machines/addresses.ts';
import { busClient, journaled, storedIn, withBus } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import type { TestNode } from '../support/node.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';

interface NatsPart {
  state: string;
  reconnects: number;
  server?: { pid: number | null; restarts: number };
  outbox: { published_lsn: number; behind: number; gaps: { count: number } };
}

const part = (node: MissionNode): NatsPart => node.status().parts['nats'] as unknown as NatsPart;

/** Pauses and resumes a mission: events whose number a test decides. */
async function toggle(
  node: MissionNode,
  cellId: string,
  times: number,
  isEnough: () => boolean = () => false,
): Promise<void> {
  for (let n = 0; n < times && !isEnough(); n += 1) {
    const type = n % 2 === 0 ? 'cell.pause' : 'cell.resume';
    await node.kernel.system.send(cellAddress(cellId), { type });
  }
}

async function idsIn(client: NatsConnection): Promise<string[]> {
  return (await storedIn(client, 'MISSIONS')).map(({ id }) => String(id));
}

async function caughtUp(node: MissionNode): Promise<void> {
  await eventually(() => expect(part(node)).toMatchObject({ state: 'up', outbox: { behind: 0 } }), {
    timeoutMs: 20_000,
  });
}

/** A mission that goes on until its gate is opened, so that it can be paused and resumed. */
const waiting = mission('m', [task('t', [step('a', gate('g'))])]);

async function runsOn(fixture: TestNode): Promise<void> {
  fixture.drop(waiting);
  await fixture.waitsAt('m', 'g');
}

describe('given a bus, everything committed is on it once and in order', () => {
  test('while a mission runs', async () => {
    const fixture = await startNode({ openDoors: withBus() });
    await runsOn(fixture);
    fixture.open('m', 'g');
    await fixture.cellIs('m', 'completed');
    await caughtUp(fixture.node);
    const client = await busClient(fixture.node);
    const ids = await idsIn(client);
    expect(ids).toEqual(journaled(fixture.node));
    expect(ids).toContain('cell/m#1');
  });

  test('an event that was refused is there with its error, at its place', async () => {
    const fixture = await startNode({ openDoors: withBus() });
    await runsOn(fixture);
    const refused = fixture.tell('m', { type: 'task.retry', taskId: 'none' });
    await expect(refused).rejects.toThrow(/none/);
    await fixture.tell('m', { type: 'cell.pause' }).catch(() => undefined);
    await caughtUp(fixture.node);
    const messages = await storedIn(await busClient(fixture.node), 'MISSIONS');
    expect(messages.map(({ id }) => id)).toEqual(journaled(fixture.node));
    expect(messages.find(({ type }) => type === 'task.retry')).toMatchObject({
      source: 'cell/m',
      error: { message: expect.any(String) as string },
    });
  });

  test('when nats-server is killed again and again while events flow', async () => {
    const fixture = await startNode({ openDoors: withBus() });
    await runsOn(fixture);
    const { node } = fixture;
    let kills = 0;
    const writing = toggle(node, 'm', 100_000, () => kills === 3);
    for (; kills < 3; kills += 1) {
      const pid = await eventually(() => {
        const { state, server } = part(node);
        if (state !== 'up' || !server?.pid) throw new Error(state);
        return server.pid;
      });
      process.kill(pid, 'SIGKILL');
      await eventually(() => expect(part(node).server?.restarts).toBe(kills + 1));
    }
    await writing;
    await caughtUp(node);
    expect(await idsIn(await busClient(node))).toEqual(journaled(node));
    expect(part(node).outbox.gaps.count).toBe(0);
  }, 60_000);

  test('what was committed while there was no bus comes when there is one', async () => {
    const fixture = await startNode({ openDoors: withBus() });
    await runsOn(fixture);
    await caughtUp(fixture.node);
    await fixture.restart();
    await toggle(fixture.node, 'm', 50);
    await fixture.restart({ openDoors: withBus() });
    await toggle(fixture.node, 'm', 4);
    await caughtUp(fixture.node);
    const ids = await idsIn(await busClient(fixture.node));
    const missing = journaled(fixture.node).filter((id) => !ids.includes(id));
    expect(missing).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('a lost cursor is found again in the stream', async () => {
    const fixture = await startNode({ openDoors: withBus() });
    await runsOn(fixture);
    await caughtUp(fixture.node);
    await fixture.restart({ openDoors: withBus() }, () => rmSync(fixture.node.layout.outbox));
    await toggle(fixture.node, 'm', 3);
    await caughtUp(fixture.node);
    const ids = await idsIn(await busClient(fixture.node));
    expect(new Set(ids).size).toBe(ids.length);
  });
});

test('given records that left the journal while the bus was off, then a gap is published and counted', async () => {
  const fixture = await startNode({ openDoors: withBus() });
  await runsOn(fixture);
  await caughtUp(fixture.node);
  const { published } = JSON.parse(
    await eventually(() => readFileSync(fixture.node.layout.outbox, 'utf8')),
  ) as { published: number };
  await fixture.restart(); // a clean stop compacts the journal: what it held is in the cells' folders
  await toggle(fixture.node, 'm', 20);
  await fixture.restart({ openDoors: withBus() });
  await toggle(fixture.node, 'm', 2);
  await caughtUp(fixture.node);
  const messages = await storedIn(await busClient(fixture.node), 'MISSIONS');
  const gaps = messages.filter(({ type }) => type === 'outbox.gap');
  const ids = messages.map(({ id }) => id);
  const missing = journaled(fixture.node).filter((id) => !ids.includes(id));
  expect(missing).toEqual([]);
  expect(part(fixture.node).outbox.gaps.count).toBe(gaps.length);
  expect(published).toBeGreaterThan(0);
});
