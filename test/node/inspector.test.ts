/** The inspector of a whole node: a mission watched while it runs, asleep, and to its end; and what the node says of it. */
import { expect, test } from 'vitest';
import type { InspectorMode } from '../../machines/daemon-config.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { inspectorOf, withInspector } from '../support/inspected-node.ts';
import { receive, refusal, watch } from '../support/inspector.ts';
import type { Frame } from '../support/inspector.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const partOf = ({ node }: TestNode): JsonObject =>
  (node.status().parts as unknown as Record<string, JsonObject>)['inspector'] ?? {};

test('a mission is watched by the official receiver from its birth to its end, and nothing secret is among it', async () => {
  const at = await startNode(withInspector());
  const { url, token } = inspectorOf(at);
  const frames = receive(`${url}?token=${token}`);
  await eventually(() => expect(partOf(at)).toMatchObject({ state: 'up', url, watchers: 1 }));
  const secret = 'hunter2-and-more';
  at.drop(
    mission('c', [task('t', [step('s', gate('g'))])], {
      metadata: { api_key: secret, note: `https://me:${secret}@host` },
    }),
  );
  await at.waitsAt('c', 'g');
  const session = (address: string): string => `${address}@${at.node.kernel.system.epoch}`;
  const last = (address: string): Frame['snapshot'] =>
    frames.findLast((f) => f.sessionId === session(address) && f.type === '@xstate.snapshot')
      ?.snapshot;
  const valueOf = (address: string): string => JSON.stringify(last(address)?.value);
  await eventually(() => {
    expect(valueOf('cell/c')).toContain('working');
    expect(valueOf('cell/c/agent/lead')).toContain('stepping');
  });
  expect(last('cell/c/agent/lead')?.children).toMatchObject({ step: { src: 'runStep' } });
  const lead = frames.find(({ name }) => name === 'cell/c/agent/lead');
  expect(lead).toMatchObject({ parentId: session('cell/c'), rootId: session('cell/c') });
  at.open('c', 'g');
  await at.cellIs('c', 'completed');
  await eventually(() => expect(valueOf('cell/c')).toContain('completed'));
  const senders = frames.flatMap(({ sourceId }) => (sourceId === undefined ? [] : [sourceId]));
  expect(new Set(senders)).toEqual(new Set([session('cell/c'), session('cell/c/agent/lead')]));
  const all = JSON.stringify(frames);
  expect(all).toContain('[redacted]');
  expect(all).not.toContain(secret);
  expect(all).not.toContain(token);
});

test('a mission that sleeps is shown and goes on sleeping; one whose folder goes is shown as stopped', async () => {
  const at = await startNode(withInspector());
  const { url, token } = inspectorOf(at);
  at.drop(mission('c', [task('t', [step('s')])]));
  await at.cellIs('c', 'completed');
  await at.asleep('c');
  const authorization = `Bearer ${token}`;
  const watching = await watch({ inspector: { url } }, { authorization });
  const session = `cell/c@${at.node.kernel.system.epoch}`;
  await eventually(() => expect(watching.state(session)).toMatchObject({ status: 'active' }));
  expect(at.isAwake('c')).toBe(false);
  const { rmSync } = await import('node:fs');
  rmSync(at.path('c'), { recursive: true });
  await eventually(() => expect(watching.state(session)?.status).toBe('stopped'));
  await at.stop();
  expect((await watching.closed).code).toBe(1001);
});

test('nothing is followed before the first watcher and after the last', async () => {
  const plain = await startNode();
  const at = await startNode(withInspector());
  const followers = ({ node }: TestNode): number => node.kernel.system.listenerCount('committed');
  expect(followers(at)).toBe(followers(plain));
  const { url, token } = inspectorOf(at);
  const watching = await watch({ inspector: { url } }, { authorization: `Bearer ${token}` });
  expect(followers(at)).toBe(followers(plain) + 1);
  watching.socket.close();
  await eventually(() => expect(followers(at)).toBe(followers(plain)));
});

test('off, by the configuration or with the gateway, is said with the reason', async () => {
  const off = await startNode(withInspector('off'));
  expect(inspectorOf(off).url).toBe('');
  expect(partOf(off)).toEqual({ state: 'off', reason: 'the configuration says so' });
  const alone = await startNode(withInspector('on', null));
  expect(partOf(alone)).toEqual({ state: 'off', reason: 'the HTTP gateway is off' });
});

test('on a gateway that the network reaches, others may watch only where the configuration says so', async () => {
  const { networkInterfaces } = await import('node:os');
  const address = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  if (address === undefined) return; // this host has no other address than loopback
  const served = async (mode: InspectorMode) => {
    const at = await startNode(withInspector(mode, '0.0.0.0'));
    const { url, token } = inspectorOf(at);
    const elsewhere = url.replace('127.0.0.1', address);
    return { url, elsewhere, headers: { authorization: `Bearer ${token}` } };
  };
  const { url, elsewhere, headers } = await served('on');
  await watch({ inspector: { url } }, headers);
  const refused = await refusal({ inspector: { url: elsewhere } }, headers);
  expect(refused).toMatchObject({ status: 403, code: 'FORBIDDEN' });
  const open = await served('network');
  await watch({ inspector: { url: open.elsewhere } }, open.headers);
  expect(await refusal({ inspector: { url: open.elsewhere } })).toMatchObject({ status: 401 });
});
