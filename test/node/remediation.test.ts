/** The whole way with the real planner: an event, a proposal, a person, a run, and the service that says that it is well. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openPlannerDoor } from '../../actors/planner/planner-door.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';
import { BRIDGE, eventFilesIn, linesTo, publish, ScriptedModel } from '../support/planner.ts';

let told = 0;
function event(type: string): HomelabEvent {
  told += 1;
  const data = { host: 'piha', service: 'mosquitto', severity: 'error' as const, payload: {} };
  return {
    id: `e${told}`,
    type,
    at: new Date().toISOString(),
    source: 'stability-agent',
    data: { ...data, channel: 'health_events' },
  };
}

async function homelab(model: ScriptedModel): Promise<Homelab> {
  const lab = new Homelab();
  lab.executor.planned = { verifies: true };
  const inventory = join(lab.layout.root, 'inventory');
  return lab.start({}, async (node) => {
    const { system } = node.kernel;
    if (!system.has(BRIDGE)) await system.spawn(BRIDGE, 'bridge', {});
    const options = { layout: lab.layout, inventory, nodeName: 'solaria', cooldownSeconds: 300 };
    return [await openPlannerDoor(node, { ...options, router: model, log: linesTo([]) })];
  });
}

test('given an event, when a person moves the proposal, then it runs, its service is heard of, and its end is told', async () => {
  const model = new ScriptedModel();
  model.answer = () => ({
    action: 'restart',
    service: 'mosquitto',
    node: 'piha',
    reason: 'the broker does not answer',
    confidence: 0.9,
    requires_human: false,
  });
  const lab = await homelab(model);
  await publish(lab.at.node, event('service_unhealthy'));
  const id = await eventually(() => {
    const [line] = (lab.part('actions')['waiting'] ?? []) as { action_id: string }[];
    if (line === undefined) throw new Error('nothing is proposed yet');
    return line.action_id;
  });
  expect(id).toMatch(/^plan-piha-mosquitto-\d+$/);
  await lab.is(id, 'pending');
  lab.move(id, 'pending', 'approved');
  await lab.is(id, 'verifying');
  await publish(lab.at.node, event('service_healthy'));
  await lab.is(id, 'completed');
  expect(lab.view(id).verification).toMatchObject({ verified: true, by: 'the service itself' });
  expect(lab.executor.ran).toEqual([id]);
  await eventually(() => {
    const types = new Set(eventFilesIn(lab.layout).map(({ type }) => type));
    expect(types).toEqual(new Set(['remediation_started', 'remediation_completed']));
  });
  expect(await lab.verb('why', { subject: id })).toMatchObject({
    kind: 'action',
    facts: expect.arrayContaining([
      { name: 'event', value: 'service_unhealthy' },
      { name: 'proposed by', value: 'system/planner/piha/mosquitto' },
    ]),
    focus: { addresses: [`system/action/${id}`, 'system/planner/piha/mosquitto'] },
  });
});
