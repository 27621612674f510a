/** The supervisor's actors on a real node with real action files: from a drift to a verified action, over restarts. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { driftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import { asJsonObject } from '../../machines/json.ts';
import { inShards } from '../../machines/shards.ts';
import { DEFAULT_SUPERVISOR_POLICY } from '../../machines/supervision.ts';
import type { Look, SupervisorEvent } from '../../machines/supervision.ts';
import type { Telling } from '../../machines/supervision-event.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import { Homelab } from '../support/actions.ts';
import { eventually } from '../support/eventually.ts';
import { APPROVE, configured, look, policyWith, standing } from '../support/supervision.ts';

const ID = 'redeploy-vps-web';

class Supervised {
  readonly homelab = new Homelab();
  /** What was told, by its id. */
  readonly told = new Map<string, string>();

  async start(): Promise<this> {
    await this.homelab.start({}, (node) => this.#bind(node));
    const { system } = this.homelab.at.node.kernel;
    if (!system.has(SUPERVISOR)) await system.spawn(SUPERVISOR, 'supervisor', {});
    return this;
  }

  async restart(): Promise<void> {
    await this.homelab.at.stop();
    await this.start();
  }

  #bind(node: MissionNode): Promise<OpenDoor[]> {
    node.kernel.system.effects.register<Telling>('drift', 'tell', {
      semantics: 'idempotent',
      run: ({ input: { step, id } }) => {
        this.told.set(id, step.what);
        return Promise.resolve(null);
      },
    });
    return Promise.resolve([]);
  }

  async tell(event: SupervisorEvent): Promise<void> {
    const { system } = this.homelab.at.node.kernel;
    await system.send(SUPERVISOR, { ...asJsonObject(event), type: event.type });
  }

  looks(more: Partial<Look> = {}): Promise<void> {
    return this.tell(look(more));
  }

  get context(): SupervisorContext {
    const { snapshot } = this.homelab.at.node.kernel.system.read(SUPERVISOR);
    return snapshot.context as SupervisorContext;
  }

  steps(): string[] {
    return [...this.told.values()];
  }

  status(wanted: string): Promise<void> {
    return eventually(() => {
      const { status } = inShards(this.context.standing, 'vps/web') ?? {};
      if (status !== wanted) throw new Error(`it is ${status}, not ${wanted}`);
    });
  }
}

const opened = [standing('vps', 'web')];
const closed = [{ key: 'vps/web', reason: 'drift_resolved_auto' as const }];

test('given the policy approves, then a drift is proposed, approved, run and verified, and nothing is left', async () => {
  const one = await new Supervised().start();
  await one.tell(configured(policyWith([APPROVE])));
  await one.looks({ opened });
  await one.status('verifying');
  expect(one.homelab.executor.ran).toEqual([ID]);
  await one.restart();
  await one.looks({ closed });
  const { system } = one.homelab.at.node.kernel;
  await eventually(() => expect(system.has(driftAddress('vps', 'web'))).toBe(false));
  expect(one.steps()).toEqual([
    'reconcile_required',
    'action_proposed',
    'action_approved',
    'action_ended',
    'remedy_verified',
    'drift_resolved',
  ]);
  const { granted, leaving, earned } = one.context;
  expect([granted, leaving.size]).toEqual([{}, 0]);
  expect(earned).toMatchObject({ 'redeploy vps/web': { successes: 1 } });
  expect(one.homelab.content(ID)).toMatchObject({
    status: 'completed',
    transition_history: [{ by: 'policy all' }, { approved_by: 'policy all' }, {}],
  });
});

test('given the policy says nothing, then no file appears', async () => {
  const one = await new Supervised().start();
  await one.tell(configured(DEFAULT_SUPERVISOR_POLICY));
  await one.looks({ opened });
  await eventually(() => expect(one.steps()).toEqual(['reconcile_required']));
  const { actions } = one.homelab.layout;
  for (const folder of Object.values(actions)) expect(readdirSync(folder)).toEqual([]);
});

test('given the drift is gone before anybody answered, then its proposal is cancelled with the reason', async () => {
  const one = await new Supervised().start();
  await one.tell(configured(policyWith([{ mode: 'propose' }])));
  await one.looks({ opened });
  await one.homelab.is(ID, 'pending');
  await one.status('proposed');
  await one.looks({ closed });
  await one.homelab.is(ID, 'cancelled');
  expect(one.homelab.content(ID)).toMatchObject({
    requires_human: true,
    transition_history: [{ by: 'supervisor', reason: 'drift_resolved_auto' }],
  });
  await one.looks({ opened });
  await one.status('proposed');
  const [file = ''] = readdirSync(one.homelab.layout.actions.pending);
  expect(file).toMatch(/^redeploy-vps-web-\d{10}\.json$/);
});

test('given a file is edited while it waits, then the policy does not approve it, and the place is given back', async () => {
  const one = await new Supervised().start();
  await one.tell(configured(policyWith([APPROVE])));
  await one.tell({ type: 'supervisor.frozen', frozen: true });
  await one.looks({ opened });
  await one.homelab.is(ID, 'pending');
  await eventually(() => expect(one.context.row).toHaveLength(1));
  const { content, layout } = { content: one.homelab.content(ID), layout: one.homelab.layout };
  one.homelab.put('pending', ID, { ...content, service: 'db' });
  await one.homelab.door.lookAtAll();
  await one.tell({ type: 'supervisor.frozen', frozen: false });
  await eventually(() => expect([one.context.row, one.context.granted]).toEqual([[], {}]));
  await one.status('proposed');
  expect(readdirSync(layout.actions.pending)).toEqual([`${ID}.json`]);
  expect(one.homelab.executor.ran).toEqual([]);
  expect(one.context.approvals).toHaveLength(1);
});
