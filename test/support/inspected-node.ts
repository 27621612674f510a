/** A whole node with its inspector. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { openHttpDoor } from '../../actors/http-door.ts';
import { openInspectorDoor } from '../../actors/inspector-door.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import type { InspectorMode } from '../../machines/daemon-config.ts';
import { agent, gate, mission, startNode, step, task } from './node.ts';
import type { TestNode } from './node.ts';

const log = { info: () => {}, warn: () => {} };

/** `host`: null for a node without an HTTP gateway. */
export const withInspector = (mode: InspectorMode = 'on', host: string | null = '127.0.0.1') => ({
  openDoors: async (node: MissionNode): Promise<OpenDoor[]> => {
    if (host === null) return [openInspectorDoor(node, { mode, http: undefined, log })];
    const http = await openHttpDoor(node, { host, port: 0, isAskedFor: true, log });
    return [http, openInspectorDoor(node, { mode, http, log })];
  },
});

export function inspectorOf({ node }: TestNode): { url: string; token: string } {
  return inspectorIn(node.layout.node);
}

/** As node.json has it. */
export function inspectorIn(nodeFile: string): { url: string; token: string } {
  const file = JSON.parse(readFileSync(nodeFile, 'utf8')) as Record<string, string>;
  const token = readFileSync(file['http_token_file'] ?? '', 'utf8').trim();
  return { url: file['inspector'] ?? '', token };
}

/** Free now, and no port that a client's socket is given while no node is on it: those begin at 32,768 or above. */
export async function lastingPort(): Promise<number> {
  for (;;) {
    const port = randomInt(12_000, 32_000);
    const probe = createServer().listen(port, '127.0.0.1');
    const isFree = await once(probe, 'listening').then(
      () => true,
      () => false,
    );
    probe.close();
    if (isFree) return port;
  }
}

/** With the mission `c`, whose `lead` waits at the gate `g`, and whose `other` has nothing to do. */
export async function missionAtWork(more: Parameters<typeof mission>[2] = {}): Promise<TestNode> {
  const at = await startNode(withInspector());
  const tasks = [task('t', [step('s', gate('g'))], { assigned_to: 'lead' })];
  at.drop(mission('c', tasks, { agents: [agent('lead'), agent('other')], ...more }));
  await at.waitsAt('c', 'g');
  return at;
}
