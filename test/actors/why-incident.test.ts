/** `lazarus why <host>/<service>`: what the planner made of a service's events. */
import { expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import { eventually } from '../support/eventually.ts';
import { homelabEvent, proposal } from '../support/incidents.ts';
import { ScriptedModel, startPlanner } from '../support/planner.ts';
import type { PlannerFixture } from '../support/planner.ts';

const T0 = 1_764_000_000_000;

interface Why {
  kind: string;
  answer: string;
  facts: { name: string; value: unknown }[];
  next: { at: string | null; what: string }[];
  needs: { command: string }[];
}

const why = async ({ node }: PlannerFixture, subject: string): Promise<Why> =>
  (await runVerb(node, 'why', { subject })) as unknown as Why;

const told = ({ facts }: Why, name: string): unknown =>
  facts.find((fact) => fact.name === name)?.value;

test('given no model answered, then it says why nothing is proposed, and what would change that', async () => {
  const model = new ScriptedModel();
  model.answer = () => {
    throw new Error("it may cost $0.0006 and $0.0001 of today's $0.0007 are spent");
  };
  const at = await startPlanner({ model });
  await at.publish(homelabEvent(T0));
  await at.logged('llm_chain_exhausted');
  const said = await why(at, 'piha/mosquitto');
  expect(said).toMatchObject({ kind: 'incident', id: 'system/planner/piha/mosquitto' });
  expect(said.answer).toMatch(
    /^Incident of piha\/mosquitto was heard once; nothing is proposed: .*are spent; its next event is diagnosed\.$/,
  );
  expect(said.needs).toMatchObject([{ command: 'lazarus models' }]);
  expect(await why(at, 'system/planner/piha/mosquitto')).toEqual(said);
});

test('given a proposal, then it names it, how it stands now, and the end of the cooldown', async () => {
  const model = new ScriptedModel();
  model.answer = () => proposal();
  const at = await startPlanner({ model });
  await at.publish(homelabEvent(T0));
  const { cooldownUntil } = await at.incidentIs('cooling');
  const id = 'plan-piha-mosquitto-1764000000';
  const said = await why(at, 'piha/mosquitto');
  const until = new Date(cooldownUntil ?? 0).toISOString();
  expect(said.answer).toContain(`no new proposal until ${until}`);
  expect(said.next).toContainEqual({
    at: until,
    what: 'its next event is diagnosed (COOLDOWN_SECONDS)',
  });
  expect(told(said, 'proposed')).toBe(`restart: ${id}, pending`);
  expect(said.needs.map(({ command }) => command)).toEqual([
    `lazarus actions show ${id}`,
    'lazarus cooldowns reset piha/mosquitto',
  ]);
  await at.settle(id, 'completed');
  await eventually(async () =>
    expect(told(await why(at, 'piha/mosquitto'), 'proposed')).toMatch(/completed/),
  );
});

test('given names with slashes and signs, then they are found as the lists name them', async () => {
  const model = new ScriptedModel();
  model.answer = () => proposal({ action: 'ignore', service: 'web/x y' });
  const at = await startPlanner({ model });
  await at.publish(homelabEvent(T0, 'service_unhealthy', { service: 'web/x y' }));
  await at.incidentIs('cooling', 'piha', 'web/x y');
  expect((await why(at, 'piha/web/x y')).answer).toMatch(/would ignore it/);
  await expect(why(at, 'piha/nothing')).rejects.toThrow(/there is no cell|nothing is called/);
});
