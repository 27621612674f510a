/** `lazarus incidents` and `lazarus cooldowns`, on what a planner left behind. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { homelabEvent, proposal } from '../support/incidents.ts';
import { lazarus, missionsFolder } from '../support/cli.ts';
import { ScriptedModel, startPlanner } from '../support/planner.ts';

test(
  'given incidents and no node, then they are listed, and a cooldown is ended by a visit',
  { timeout: 60_000 },
  async () => {
    const missions = missionsFolder();
    const model = new ScriptedModel();
    model.answer = () => proposal();
    const at = await startPlanner({ missions, model });
    await at.publish(homelabEvent(Date.now()));
    await at.incidentIs('cooling');
    await at.eventFilesAre(1);
    await at.test.stop();
    const incidents = await lazarus(missions, 'incidents');
    expect(incidents).toMatchObject({ code: 0, err: '' });
    expect(incidents.out).toMatch(
      /piha\/mosquitto +cooling \(\d+ s\) +1 .*service_unhealthy +pending: plan-piha/,
    );
    const cooldowns = await lazarus(missions, 'cooldowns', 'list', '--json');
    expect(cooldowns.json()).toMatchObject({ cooldowns: [{ host: 'piha', service: 'mosquitto' }] });
    const reset = await lazarus(missions, 'cooldowns', 'reset', 'piha/mosquitto');
    expect(reset).toMatchObject({ code: 0, out: 'piha/mosquitto: its next event is diagnosed\n' });
    const none = await lazarus(missions, 'cooldowns', 'list');
    expect(none.out).toMatch(/No service cools down/);
  },
);

test(
  'given incidents that an observer wrote down, then they are listed beside what the planner heard',
  { timeout: 60_000 },
  async () => {
    const missions = missionsFolder();
    const runtime = join(missions, '..', 'runtime');
    mkdirSync(join(runtime, 'world'), { recursive: true });
    const file = join(runtime, 'world', 'incidents.json');
    const open = { node: 'piha', service: 'redis', status: 'active', type: 'odd', last_seen: 10 };
    const over = { ...open, status: 'resolved', resolved_by: 'service_healthy' };
    writeFileSync(file, JSON.stringify({ 'inc-1-piha-redis': open, 'inc-0-piha-redis': over }));
    const shown = await lazarus(missions, 'incidents', '--runtime', runtime);
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out).toMatch(/piha\/redis +active +1 +1970-\S+ +odd +inc-1-piha-redis/);
    expect(shown.out).not.toMatch(/inc-0/);
    const all = await lazarus(missions, 'incidents', 'list', '--all', '--runtime', runtime);
    expect(all.out).toMatch(/piha\/redis +over \(service_healthy\) .* inc-0-piha-redis/);
    writeFileSync(file, '{"inc-1-piha-redis": {"no');
    const cut = await lazarus(missions, 'incidents', '--runtime', runtime);
    expect(cut.out).toMatch(/world\/incidents.json: .*\nNothing is wrong, as far as the planner/);
  },
);

test(
  'given a service without a host, or one that nobody heard of, then it is refused with what to do',
  { timeout: 60_000 },
  async () => {
    const missions = missionsFolder();
    expect(await lazarus(missions, 'cooldowns', 'reset', 'mosquitto')).toMatchObject({ code: 2 });
    expect(await lazarus(missions, 'cooldowns', 'reset', 'piha/mosquitto')).toMatchObject({
      code: 1,
    });
    const none = await lazarus(missions, 'incidents', 'list');
    expect(none.out).toMatch(/Nothing is wrong/);
  },
);
