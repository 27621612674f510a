/** Home Assistant's diagnosing agent, from what it says to what is proposed: observer, reconciling, supervisor. */
import { describe, expect, it, test } from 'vitest';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ObservedEvent } from '../../machines/observed-event.ts';
import { worldOf } from '../../machines/observed-world.ts';
import { reconcile } from '../../machines/reconcile.ts';
import { valuesIn } from '../../machines/shards.ts';
import { POLICY, desiredOf, observedOf, standingOf } from '../support/homelab-sketch.ts';
import { PIHA, T0, recordOf, said } from '../support/observations.ts';
import { PROPOSE, SupervisionWorld, configured, policyWith } from '../support/supervision.ts';

const HA = 'homeassistant';
const desired = desiredOf({ [PIHA]: [HA] });
const RESTART = `container-restart-${PIHA}-${HA}`;

class House {
  readonly world = new SupervisionWorld();
  readonly #heard: ObservedEvent[] = [];

  constructor() {
    this.world.tell(configured(policyWith([PROPOSE])));
    this.hears(0, 'service_healthy');
  }

  /** And the supervisor looks. */
  hears(second: number, type: string): void {
    this.#heard.push(said(second, type, { service: HA }));
    const now = T0 + second * 1000;
    const { node, services, incidents } = worldOf(recordOf(this.#heard), now);
    const observed = observedOf({
      nodes: { [PIHA]: asJsonObject(node) },
      services: keyed(services.map((entry) => [`${PIHA}/${entry.service}`, entry])),
      incidents: keyed(incidents.map((entry) => [entry.id, entry])),
      writtenAt: now,
    });
    const standing = standingOf(valuesIn(this.world.context.standing));
    const { changes } = reconcile(desired, observed, standing, POLICY, now);
    this.world.looks(changes);
    this.world.settle();
  }

  /** `vps/web redeploy` */
  standing(): string[] {
    const { standing } = this.world.context;
    return valuesIn(standing).map(
      ({ drift, recommendation }) => `${drift.trigger} ${recommendation.remedy}`,
    );
  }

  /** Ids of all actions that were ever proposed, and how they stand. */
  actions(): string[] {
    return [...this.world.actions].map(
      ([, { context, state, disk }]) => `${context.actionId} ${disk?.status ?? state}`,
    );
  }
}

const keyed = (entries: [string, object][]): JsonObject =>
  Object.fromEntries(entries.map(([key, entry]) => [key, asJsonObject(entry)]));

describe('its websocket', () => {
  test('given it is dead, then the container is to be restarted', () => {
    const house = new House();
    house.hears(10, 'ha_websocket_dead');
    expect(house.standing()).toEqual(['ha_websocket_dead container_restart']);
    expect(house.actions()).toEqual([`${RESTART} pending`]);
  });

  test('given it recovers before anybody approved, then the restart is cancelled: drift_resolved_auto', () => {
    const house = new House();
    house.hears(10, 'ha_websocket_dead');
    house.hears(70, 'ha_websocket_recovered');
    expect(house.standing()).toEqual([]);
    expect(house.actions()).toEqual([`${RESTART} cancelled`]);
    expect(house.world.actions.get(`system/action/${RESTART}`)?.context).toMatchObject({
      reason: 'drift_resolved_auto',
    });
  });

  test('given its containers do not run, then that it is dead as well proposes nothing of its own', () => {
    const house = new House();
    house.hears(10, 'containers_not_running');
    house.hears(11, 'ha_websocket_dead');
    expect(house.actions()).toEqual([`${RESTART} pending`]);
    house.hears(40, 'ha_websocket_recovered');
    expect(house.standing()).toEqual(['containers_not_running container_restart']);
    expect(house.actions()).toEqual([`${RESTART} pending`]);
    house.hears(60, 'service_healthy');
    expect(house.actions()).toEqual([`${RESTART} cancelled`]);
  });

  test('given it recovers while something else is wrong, then that is looked after, and not the websocket', () => {
    const house = new House();
    house.hears(10, 'healthcheck_failed');
    house.hears(11, 'ha_websocket_dead');
    expect(house.standing()).toEqual(['ha_websocket_dead container_restart']);
    house.hears(40, 'ha_websocket_recovered');
    expect(house.standing()).toEqual(['healthcheck_failed redeploy']);
    expect(house.actions()).toContain(`${RESTART} cancelled`);
  });
});

describe('its alerts', () => {
  it.each([
    'entity_unavailable',
    'integration_failed',
    'automation_failing',
    'update_available',
    'recorder_lag',
    'system_health_degraded',
  ])('%s: nothing is ill, and nothing is recommended', (type) => {
    const house = new House();
    house.hears(10, type);
    expect(house.standing()).toEqual([]);
    house.hears(20, 'ha_websocket_dead');
    house.hears(30, type);
    house.hears(40, 'ha_websocket_recovered');
    expect(house.standing()).toEqual([]);
  });
});
