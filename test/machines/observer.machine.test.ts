/** The observer's root: what it passes on to whom. */
import { describe, expect, test } from 'vitest';
import { observedAddress } from '../../machines/addresses.ts';
import { asJsonObject } from '../../machines/json.ts';
import { observedHostMachine } from '../../machines/observed-host.machine.ts';
import type { HostRecord } from '../../machines/observed-host.ts';
import { MAX_OBSERVED_HOSTS, observerMachine } from '../../machines/observer.machine.ts';
import type { ObserverContext } from '../../machines/observer.machine.ts';
import { homelabEvent } from '../support/incidents.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import { said } from '../support/observations.ts';

const start = (aliases = {}): MachineDriver =>
  new MachineDriver(observerMachine, { generation: 'n.1', aliases });
const contextOf = ({ snapshot }: MachineDriver): ObserverContext =>
  snapshot.context as ObserverContext;

const hear = (driver: MachineDriver, host: string, type = 'service_unhealthy') => {
  const event = homelabEvent(driver.clock.at, type, { host });
  const told = { type: 'homelab.event', channel: 'x', host, service: 's', event };
  return driver.deliver({ ...asJsonObject(told), type: 'homelab.event' });
};

describe('what is heard', () => {
  test('reaches the record of its host, which is made for the first', () => {
    const driver = start();
    const first = hear(driver, 'piha');
    const address = observedAddress('piha');
    expect(first.spawned).toEqual([{ address, machine: 'observed-host', input: { host: 'piha' } }]);
    expect(first.sent).toMatchObject([
      {
        to: address,
        ifThere: true,
        event: { type: 'host.heard', events: [{ type: 'service_unhealthy' }] },
      },
    ]);
    expect(hear(driver, 'piha')).toMatchObject({ spawned: [], sent: [{ to: address }] });
    expect(contextOf(driver)).toMatchObject({ events: 2, own: 0, fromFiles: 0 });
  });

  test('given another name of the host, then the record is under its own', () => {
    const driver = start({ saturn: 'vps' });
    expect(hear(driver, 'saturn').sent).toMatchObject([{ to: observedAddress('vps') }]);
    driver.deliver({ ...asJsonObject({ aliases: {} }), type: 'observer.configured' });
    expect(hear(driver, 'saturn').sent).toMatchObject([{ to: observedAddress('saturn') }]);
  });

  test('given our own doings, then they are counted and go nowhere', () => {
    const driver = start();
    expect(hear(driver, 'piha', 'remediation_started')).toMatchObject({ sent: [], spawned: [] });
    expect(contextOf(driver)).toMatchObject({ events: 0, own: 1 });
  });

  test('given what was read from files, then all of it goes in one event', () => {
    const driver = start();
    const events = [said(0, 'node_online'), said(1, 'service_healthy')];
    const told = { ...asJsonObject({ host: 'piha', events }), type: 'observer.read' };
    expect(driver.deliver(told).sent).toMatchObject([{ event: { events } }]);
    expect(contextOf(driver)).toMatchObject({ events: 2, fromFiles: 2 });
  });

  test('given a host too many, then it is refused and shown, and those that are known go on', () => {
    const driver = start();
    for (let n = 0; n < MAX_OBSERVED_HOSTS; n += 1) hear(driver, `h${n}`);
    expect(hear(driver, 'one more')).toMatchObject({ sent: [], spawned: [] });
    expect(hear(driver, 'h7').sent).toHaveLength(1);
    expect(contextOf(driver)).toMatchObject({ refused: 1, lastRefused: { host: 'one more' } });
  });

  test('given hosts that are to be gone, then their records go, and there is room again', () => {
    const driver = start();
    for (const host of ['a', 'b', 'c']) hear(driver, host);
    const told = asJsonObject({ aliases: {}, gone: ['b', 'nobody', 'c'] });
    const { stopped } = driver.deliver({ ...told, type: 'observer.configured' });
    expect(stopped.map(({ address }) => address)).toEqual(['b', 'c'].map(observedAddress));
    expect(contextOf(driver).roll.size).toBe(1);
    expect(hear(driver, 'b').spawned).toHaveLength(1);
  });

  test('given a gap, then it is counted', () => {
    const driver = start();
    const gap = { channel: 'x', since: 1, until: 2, reason: 'away' };
    driver.deliver({ type: 'homelab.gap', ...gap });
    expect(contextOf(driver)).toMatchObject({ gaps: 1, lastGap: gap });
  });
});

test('given a rebuild, then every record goes, and the next event makes a new one', () => {
  const driver = start();
  hear(driver, 'b');
  hear(driver, 'a');
  const event = { type: 'observer.rebuild', generation: 'n.2', reason: 'asked' };
  expect(driver.deliver(event).stopped.map(({ address }) => address)).toEqual(
    ['a', 'b'].map(observedAddress),
  );
  expect(contextOf(driver)).toMatchObject({ generation: 'n.2', roll: { size: 0 } });
  expect(hear(driver, 'a').spawned).toHaveLength(1);
});

test('a record comes back from its persisted form as it was', () => {
  const driver = new MachineDriver(observedHostMachine, { host: 'piha' });
  const tell = (second: number, type: string): void => {
    const events = [said(second, type)];
    driver.deliver({ ...asJsonObject({ events }), type: 'host.heard' });
  };
  for (let n = 0; n < 100; n += 1) tell(n, n % 3 === 0 ? 'service_healthy' : 'healthcheck_failed');
  const before = driver.persisted();
  driver.restore();
  expect(driver.persisted()).toBe(before);
  tell(200, 'service_healthy');
  expect((driver.snapshot.context as HostRecord).counted).toBe(101);
});
