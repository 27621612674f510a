/** The daemon's policies on their way to cells that work, sleep, and were made before: on a whole node with real workers. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { cellAddress } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { mergeConfig, settingsOf } from '../../machines/daemon-config.ts';
import type { ConfigLayer, EffectiveConfig } from '../../machines/daemon-config.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

function configOf(content: JsonObject): EffectiveConfig {
  const origin = { from: 'file' as const, file: '/config.json', line: 1 };
  const layer = settingsOf(content).map(({ key, value }) => [key, { value, origin }]);
  return mergeConfig([Object.fromEntries(layer) as ConfigLayer], '/config.json');
}

const contextOf = (at: TestNode, cellId: string): CellContext =>
  at.node.kernel.system.read(cellAddress(cellId)).snapshot.context as CellContext;
const toldTo = (at: TestNode, cellId: string): JsonObject => {
  const { daemonPolicies, daemonRestart } = contextOf(at, cellId);
  return { policies: { ...daemonPolicies }, restart: daemonRestart && { ...daemonRestart } };
};
const seqOf = (at: TestNode, cellId: string): number =>
  at.node.kernel.system.read(cellAddress(cellId)).seq;

/** A mission that says nothing of policies, and stands at a gate. */
const silent = (id: string, more: JsonObject = {}): JsonObject =>
  mission(id, [task('t', [step('a', gate('door'))])], { policies: {}, ...more });

const YES = { auto_revive: true, max_retries: 5, restart: { intensity: 9, period: 30 } };
const told = (policies: JsonObject, restart: JsonObject | null = null): JsonObject => {
  return { policies, restart };
};

test('given a cell that says nothing, when its worker dies, then what the daemon says decides', async () => {
  const at = await startNode({ config: configOf(YES) });
  at.drop(silent('c', { isolation_level: 'level_1' }));
  await at.waitsAt('c', 'door');
  expect(toldTo(at, 'c')).toEqual(told({ auto_revive: 'yes', max_retries: 5 }, YES.restart));
  await at.killWorker('c');
  at.open('c', 'door');
  await at.cellIs('c', 'completed'); // the default would ask a person
});

test('given a change while it works, then a living cell has it at once; a cell file still wins', async () => {
  const at = await startNode({ config: configOf({}) });
  at.drop(silent('c', { isolation_level: 'level_1' }));
  at.drop(silent('own', { policies: { auto_revive: 'no' } }));
  await at.waitsAt('c', 'door');
  await at.waitsAt('own', 'door');
  expect(at.node.applyConfig(configOf({ auto_revive: 'yes' }))).toEqual({
    changed: ['auto_revive'],
    waiting: [],
  });
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({ auto_revive: 'yes' })));
  await eventually(() => expect(toldTo(at, 'own')).toEqual(told({ auto_revive: 'yes' })));
  await at.killWorker('c');
  at.open('c', 'door');
  await at.cellIs('c', 'completed');
});

test('given changes that follow each other at once, then the last one holds', async () => {
  const at = await startNode({ config: configOf({}) });
  at.drop(silent('c'));
  await at.waitsAt('c', 'door');
  at.node.applyConfig(configOf({ policies: { revive_timeout: 1 } }));
  await nextTurn(); // it is on its way, and not committed: the cell still shows what it had
  at.node.applyConfig(configOf({}));
  let tellings = 0;
  at.node.kernel.system.on('committed', ({ event }) => {
    if (event.type === 'daemon.configured') tellings += 1;
  });
  await eventually(() => expect(tellings).toBe(2));
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({})));
  at.node.applyConfig(configOf({ policies: { revive_timeout: 9 } }));
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({ revive_timeout: 9 })));
});

test('given nothing of it concerns cells, or nothing changed, then no cell is told anything', async () => {
  const at = await startNode({ config: configOf({ max_retries: 4 }) });
  at.drop(silent('c'));
  await at.waitsAt('c', 'door');
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({ max_retries: 4 })));
  const events: string[] = [];
  at.node.kernel.system.on('committed', ({ event }) => void events.push(event.type));
  at.node.applyConfig(configOf({ max_retries: 4, timeout: 7, log_level: 'DEBUG' }));
  await at.tell('c', { type: 'cell.pause' }); // a turn in which it could have come
  expect(events).not.toContain('daemon.configured');
});

test('given it changed while no node ran, then a cell hears of it when it wakes, and is not woken for it', async () => {
  const at = await startNode({ config: configOf({ max_retries: 4 }) });
  at.drop(silent('c', { status: 'paused' }));
  await at.cellIs('c', 'paused');
  await at.restart({ config: configOf({ max_retries: 6 }) });
  await at.node.scanned;
  const seq = seqOf(at, 'c');
  expect(at.isAwake('c')).toBe(false);
  expect(toldTo(at, 'c')).toEqual(told({ max_retries: 4 }));
  await at.tell('c', { type: 'cell.resume' });
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({ max_retries: 6 })));
  expect(seqOf(at, 'c')).toBeGreaterThan(seq);
});

test('given a cell sleeps, when the configuration changes, then it sleeps on and hears of it when it wakes', async () => {
  const at = await startNode({ config: configOf({}) });
  at.drop(silent('c', { status: 'paused' }));
  await at.cellIs('c', 'paused');
  await at.asleep('c');
  const seq = seqOf(at, 'c');
  at.node.applyConfig(configOf({ auto_revive: 'yes' }));
  await at.node.door.lookAt('c');
  expect(at.isAwake('c')).toBe(false);
  expect(seqOf(at, 'c')).toBe(seq);
  await at.tell('c', { type: 'cell.resume' });
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({ auto_revive: 'yes' })));
});

test('given its cell sleeps while an agent works, then it is told at once: the agent may fail at any moment', async () => {
  const at = await startNode({ config: configOf({}) });
  at.drop(silent('c', { isolation_level: 'level_1' }));
  await at.waitsAt('c', 'door');
  await at.asleep('c');
  at.node.applyConfig(configOf({ auto_revive: 'yes' }));
  await eventually(() => expect(toldTo(at, 'c')).toEqual(told({ auto_revive: 'yes' })));
  at.open('c', 'door');
  await at.cellIs('c', 'completed');
});

test('given a visit of the command line, then cells are told nothing', async () => {
  const at = await startNode({ config: configOf({ max_retries: 4 }) });
  at.drop(silent('c', { status: 'paused' }));
  await at.cellIs('c', 'paused');
  await at.restart({ effects: false });
  await at.node.scanned;
  await at.tell('c', { type: 'cell.resume' });
  expect(toldTo(at, 'c')).toEqual(told({ max_retries: 4 }));
});

test('given a bad one, then the last good one holds and the status says why, until a good one comes', async () => {
  const at = await startNode({
    config: configOf({ timeout: 7, gateways: { g: 'http://u:pw@h/' } }),
  });
  at.node.refuseConfig(new Error('line 3 is wrong'));
  expect(at.node.status().config).toMatchObject({
    poll_interval: 30,
    timeout: 7,
    problem: { message: 'line 3 is wrong' },
  });
  expect(JSON.stringify(at.node.status().config)).not.toContain('pw');
  const { waiting } = at.node.applyConfig(configOf({ timeout: 8, http: 'off' }));
  expect(waiting).toEqual(['http']);
  expect(at.node.status().config).toMatchObject({
    timeout: 8,
    http: '127.0.0.1:8080',
    waiting: ['http'],
    problem: null,
  });
});
