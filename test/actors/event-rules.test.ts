/** Rules about events on a real node: planner, actions and a model on the wire, which must not be asked. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { openPlannerDoor } from '../../actors/planner/planner-door.ts';
import type { HomelabEvent, HomelabData } from '../../machines/homelab-events.ts';
import type { JsonObject } from '../../machines/json.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';
import { openRouter } from '../support/llm-router.ts';
import type { RouterFixture } from '../support/llm-router.ts';
import { ollama } from '../support/llm-servers.ts';
import { BRIDGE, eventFilesIn, jsonFiles, linesTo, publish } from '../support/planner.ts';
import type { Line } from '../support/planner.ts';

const T0 = 1_764_000_000_000;
let told = 0;
function event(type: string, more: Partial<HomelabData> = {}): HomelabEvent {
  told += 1;
  const about = { host: 'piha', service: 'homeassistant', severity: 'warning' as const };
  return {
    id: `ha${told}`,
    type,
    at: new Date(T0 + told * 1000).toISOString(),
    source: 'ha-diag-agent',
    data: { ...about, payload: {}, channel: 'health_events', ...more },
  };
}

interface Lab {
  lab: Homelab;
  model: RouterFixture;
  lines: Line[];
  hears(one: HomelabEvent): Promise<void>;
  pending(count: number): Promise<JsonObject[]>;
  logged(message: string, count?: number): Promise<Line[]>;
}

async function homelab(policy?: JsonObject): Promise<Lab> {
  const [lab, model, lines] = [new Homelab(), await openRouter(), [] as Line[]];
  const { policyFile, root } = lab.layout;
  mkdirSync(dirname(policyFile), { recursive: true });
  if (policy) writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o600 });
  await lab.start({}, async (node) => {
    const { system } = node.kernel;
    if (!system.has(BRIDGE)) await system.spawn(BRIDGE, 'bridge', {});
    const named = { inventory: join(root, 'inventory'), nodeName: 'solaria', cooldownSeconds: 300 };
    const options = { ...named, layout: lab.layout, router: model.router, log: linesTo(lines) };
    return [await openPlannerDoor(node, options)];
  });
  return {
    lab,
    model,
    lines,
    hears: (one) => publish(lab.at.node, one),
    pending: (count) =>
      eventually(() => {
        const found = jsonFiles(lab.layout.actions.pending);
        if (found.length !== count) throw new Error(`${found.length} actions are pending`);
        return found;
      }),
    logged: (message, count = 1) =>
      eventually(() => {
        const found = lines.filter((line) => line.message === message);
        if (found.length < count) throw new Error(`${message}: ${found.length} lines`);
        return found;
      }),
  };
}

test('given alerts of Home Assistant, then people are told of each type once an hour, where it is too, and no model is asked', async () => {
  const at = await homelab();
  const payload = { entity_id: 'light.hall', location_tag: 'attic' };
  await at.hears(event('entity_unavailable', { payload }));
  const [action] = await at.pending(1);
  expect(action).toMatchObject({
    type: 'notify',
    service: 'homeassistant',
    source_event: 'entity_unavailable',
    llm_model: 'rules/ha_alerts',
    llm_attempts: 0,
    requires_human: false,
    guardrails: [],
    payload: { action: 'notify', location_tag: 'attic' },
    description: expect.stringContaining('light.hall') as string,
  });
  await at.logged('action_proposed'); // its incident has heard that the file is there
  await at.hears(event('entity_unavailable', { payload }));
  expect((await at.logged('cooldown_active'))[0]).toMatchObject({
    svc_key: 'piha/homeassistant',
    type: 'entity_unavailable',
  });
  await at.hears(event('update_available'));
  await at.pending(2);
  const files = await eventually(() => {
    const found = eventFilesIn(at.lab.layout);
    if (found.length !== 2) throw new Error(`${found.length} event files`);
    return found;
  });
  expect(files.map(({ payload: said }) => (said as JsonObject)['location_tag'])).toContain('attic');
  expect(await at.lab.verb('cooldowns.list', {})).toMatchObject({
    cooldowns: [
      {
        service: 'homeassistant',
        remaining_seconds: 0,
        types: [{ type: 'entity_unavailable' }, { type: 'update_available' }],
      },
    ],
  });
  expect(at.model.ollama.hits).toEqual([]);
  expect(at.model.claude.hits).toEqual([]);
});

test('given the websocket is dead, then a restart of homeassistant is proposed; when it has recovered, then that is cancelled', async () => {
  const at = await homelab();
  const service = 'ha-diag-agent';
  await at.hears(event('ha_websocket_dead', { service }));
  const [action] = await at.pending(1);
  const id = action?.['action_id'] as string;
  expect(action).toMatchObject({
    type: 'container_restart',
    service: 'homeassistant',
    requires_human: true,
    llm_model: 'rules/ha_websocket',
    incident: { address: 'system/planner/piha/ha-diag-agent' },
  });
  await at.lab.is(id, 'pending');
  await at.hears(event('ha_websocket_recovered', { service }));
  await at.lab.is(id, 'cancelled');
  expect(at.lab.content(id)).toMatchObject({
    status: 'cancelled',
    transition_history: [
      { from: 'pending', to: 'cancelled', by: 'planner', reason: 'ha_websocket_recovered' },
    ],
  });
  expect(await at.lab.verb('incidents.list', {})).toMatchObject({ incidents: [], total: 0 });
  expect(at.model.ollama.hits).toEqual([]);
});

test('given a person has approved it, when it has recovered, then it goes on, and is verified by that', async () => {
  const at = await homelab();
  at.lab.executor.planned = { verifies: true };
  await at.hears(event('ha_websocket_dead'));
  const [action] = await at.pending(1);
  const id = action?.['action_id'] as string;
  await at.lab.is(id, 'pending');
  at.lab.move(id, 'pending', 'approved');
  await at.lab.is(id, 'verifying');
  await at.hears({ ...event('ha_websocket_recovered'), at: new Date().toISOString() });
  await at.lab.is(id, 'completed');
  expect(at.lab.view(id).verification).toMatchObject({ verified: true });
});

test('given homeassistant has lost its containers, then what its agent tells for five minutes is not looked into', async () => {
  const at = await homelab();
  at.model.ollama.otherwise = ollama.answer(
    JSON.stringify({
      action: 'restart',
      service: 'homeassistant',
      node: 'piha',
      reason: 'the container is stopped',
      confidence: 0.9,
      requires_human: false,
    }),
  );
  const agent = { service: 'ha-diag-agent' };
  await at.hears(event('containers_not_running'));
  await at.pending(1);
  await at.hears(event('ha_websocket_dead', agent));
  await at.hears(event('entity_unavailable', agent));
  const ignored = await at.logged('proposal_ignored', 2);
  expect(ignored[0]).toMatchObject({
    llm_model: 'rules/ha_websocket',
    reason: expect.stringContaining('homeassistant has had containers_not_running') as string,
  });
  const later = { ...event('ha_websocket_dead', agent) };
  later.at = new Date(Date.parse(later.at) + 300_000).toISOString();
  await at.hears(later);
  await at.pending(2);
  expect(at.model.ollama.hits).toHaveLength(1);
});

test('given rules of its own, then they take the place of the defaults, and one without an action leaves it to the model', async () => {
  const at = await homelab({
    event_rules: [
      { name: 'noise', types: ['backup_*'], action: 'ignore' },
      { types: ['entity_*'], cooldown: 7200 },
    ],
  });
  at.model.ollama.otherwise = ollama.answer(
    JSON.stringify({
      action: 'notify',
      service: 'homeassistant',
      node: 'piha',
      reason: 'an entity cannot be reached',
      confidence: 0.9,
      requires_human: false,
    }),
  );
  await at.hears(event('backup_late'));
  expect((await at.logged('proposal_ignored'))[0]).toMatchObject({ llm_model: 'rules/noise' });
  expect(at.model.ollama.hits).toEqual([]);
  await at.hears(event('entity_unavailable'));
  const [action] = await at.pending(1);
  expect(action).toMatchObject({ llm_model: 'ollama/qwen2.5:7b' });
  // The file is there before its incident hears of it.
  await eventually(async () => {
    const { cooldowns } = (await at.lab.verb('cooldowns.list', {})) as unknown as {
      cooldowns: { types: { type: string; remaining_seconds: number }[] }[];
    };
    const quiet = cooldowns[0]?.types.find(({ type }) => type === 'entity_unavailable');
    expect(quiet?.remaining_seconds).toBeGreaterThan(3600);
  });
});
