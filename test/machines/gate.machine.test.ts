import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { actionAddress } from '../../machines/addresses.ts';
import { whyNotAnyMore } from '../../machines/gate-rules.ts';
import { gateMachine } from '../../machines/gate.machine.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import type {
  ExecutorMode,
  GateEvent,
  Policy,
  Window,
  ZoneTable,
} from '../../machines/remediation.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import type { Reaction } from '../support/machine-driver.ts';

const HOUR = 3_600_000;
let gate: MachineDriver;
const context = (): GateContext => gate.snapshot.context as GateContext;
const tell = (event: GateEvent): Reaction => gate.deliver(event);

const configure = (
  policy: Partial<Policy> = {},
  mode: ExecutorMode = 'on',
  zones: ZoneTable = {},
) => tell({ type: 'gate.configured', policy: { ...DEFAULT_POLICY, ...policy }, mode, zones });
const ask = (id: string, host = 'vps', service = 'web'): Reaction =>
  tell({
    type: 'gate.ask',
    actionId: id,
    address: actionAddress(id),
    host,
    service,
    actionType: 'container_restart',
  });
const leave = (id: string): Reaction => tell({ type: 'gate.left', actionId: id });
const told = ({ sent }: Reaction): string[] =>
  sent.map(({ to, event }) => {
    const id = to.slice('system/action/'.length);
    return event.type === 'gate.granted' ? `${id} runs` : `${id}: ${String(event['reason'])}`;
  });

beforeEach(() => {
  gate = new MachineDriver(gateMachine, {});
});

describe('what lets nothing run', () => {
  test('nobody told it anything', () => {
    expect(told(ask('a'))).toEqual([expect.stringMatching(/^a: the executor is off/)]);
  });

  test('a policy that cannot be read', () => {
    tell({ type: 'gate.configured', policy: null, mode: 'on' });
    expect(told(ask('a'))).toEqual(['a: the policy cannot be read, so nothing runs']);
    expect(told(configure())).toEqual(['a runs']);
  });

  test('a dry run, which is said as such', () => {
    configure({}, 'dry-run');
    expect(ask('a').sent[0]?.event).toMatchObject({ type: 'gate.refused', dryRun: true });
    expect(told(configure())).toEqual(['a runs']);
  });

  test('a freeze, until a person ends it, also over a restart (K3)', () => {
    configure();
    tell({ type: 'gate.freeze', by: 'alice', reason: 'moving house' });
    expect(told(ask('a'))).toEqual(['a: frozen by alice: moving house']);
    gate.restore();
    expect(told(configure())).toEqual([]);
    expect(told(tell({ type: 'gate.unfreeze', by: 'alice' }))).toEqual(['a runs']);
  });

  test('is told once, and again only when the reason changes (K2)', () => {
    configure({}, 'off');
    ask('a');
    expect(told(configure({}, 'off'))).toEqual([]);
    expect(told(tell({ type: 'gate.freeze', by: 'b', reason: 'r' }))).toEqual([]);
    expect(told(configure({}, 'on'))).toEqual(['a: frozen by b: r']);
  });
});

describe('how much at once', () => {
  test('one on each host, the next when that leaves, in the order in which they asked', () => {
    configure();
    expect(told(ask('a'))).toEqual(['a runs']);
    expect(told(ask('b'))).toEqual(['b: blast radius: 1 at once on vps']);
    expect(told(ask('c'))).toEqual(['c: blast radius: 1 at once on vps']);
    expect(told(ask('d', 'piha'))).toEqual(['d runs']);
    expect(told(leave('a'))).toEqual(['b runs']);
  });

  test.each<[string, Policy['blast_radius'], string[]]>([
    ['actions', { actions_at_once: 2 }, ['runs', 'runs', 'blast radius: 2 actions at once']],
    ['hosts', { hosts_at_once: 1 }, ['runs', 'runs', 'blast radius: 1 hosts at once']],
  ])('%s', (_name, blast_radius, expected) => {
    configure({ blast_radius });
    const said = [ask('a', 'h1'), ask('b', 'h1'), ask('c', 'h2')].flatMap(told);
    expect(said.map((text) => text.replace(/^\w:? /, ''))).toEqual(expected);
  });

  test('what another executor runs counts too, though nobody asked (G2)', () => {
    configure();
    const elsewhere = { actionId: 'x', address: actionAddress('x'), host: 'vps', service: 'db' };
    tell({ type: 'gate.elsewhere', ...elsewhere });
    expect(told(ask('a'))).toEqual(['a: blast radius: 1 at once on vps']);
    expect(told(leave('x'))).toEqual(['a runs']);
  });
});

describe('a grant that is used (G3)', () => {
  const good = (id: string) =>
    whyNotAnyMore(context(), { actionId: id, host: 'vps', service: 'web' }, gate.clock.at);

  test('is good while it would be given anew, itself not counted', () => {
    configure({ rate_limits: { per_hour: 1 }, blast_radius: { actions_at_once: 1 } });
    ask('a');
    expect(good('a')).toBeUndefined();
    expect(good('b')).toBe('the gate knows of no grant for it');
  });

  test.each<[string, () => unknown, string]>([
    ['a freeze', () => tell({ type: 'gate.freeze', by: 'x', reason: 'y' }), 'frozen by x: y'],
    ['a window', () => configure({ closed_windows: [{ from: '00:00', to: '24:00' }] }), 'closed w'],
    ['no policy', () => tell({ type: 'gate.configured', policy: null, mode: 'on' }), 'the policy'],
    ['another mode', () => configure({}, 'dry-run'), 'a dry run'],
    ['a smaller radius', () => configure({ blast_radius: { hosts_at_once: 0 } }), 'blast radius'],
    ['a lower rate', () => configure({ rate_limits: { per_host_per_hour: 0 } }), 'rate limit: 0'],
    ['its having left', () => leave('a'), 'the gate knows of no grant'],
  ])('is not any more after %s', (_what, happens, why) => {
    configure();
    ask('a');
    happens();
    expect(good('a')).toMatch(new RegExp(`^${why}`));
  });

  test('and given back unused, it counts for no limit; used, it does', () => {
    configure({ rate_limits: { per_hour: 1 } });
    ask('a');
    tell({ type: 'gate.left', actionId: 'a', unused: true });
    expect(told(ask('b'))).toEqual(['b runs']);
    leave('b');
    expect(told(ask('c'))).toEqual(['c: rate limit: 1 an hour for all hosts']);
  });
});

describe('how often', () => {
  test.each<[string, Policy['rate_limits'], [string, string]]>([
    ['a service', { per_service_per_hour: 2 }, ['vps', 'web']],
    ['a host', { per_host_per_hour: 2 }, ['vps', 'other']],
    ['all', { per_hour: 2 }, ['piha', 'other']],
  ])('%s, and again when the hour of the oldest is over', (_name, rate_limits, [host, service]) => {
    configure({ rate_limits });
    const first = gate.clock.at;
    for (const id of ['a', 'b']) {
      expect(told(ask(id))).toEqual([`${id} runs`]);
      leave(id);
      gate.pass(60_000);
    }
    const { sent } = ask('c', host, service);
    expect(sent[0]?.event).toMatchObject({
      reason: expect.stringMatching(/^rate limit: 2 an hour/),
      until: first + HOUR,
    });
    expect(gate.running.get('look')?.input).toEqual({ at: first + HOUR });
    gate.pass(first + HOUR - gate.clock.at);
    expect(told(gate.done('look'))).toEqual(['c runs']);
  });

  test('a limit of none lets nothing run, and waits for no time', () => {
    configure({ rate_limits: { per_hour: 0 } });
    expect(ask('a').sent[0]?.event).toMatchObject({ until: null });
    expect(gate.running.has('look')).toBe(false);
  });
});

describe('when', () => {
  /** Summer time in Berlin ends on 2026-10-25 at 01:00 UTC, and begins on 2026-03-29. */
  const zones: ZoneTable = {
    'Europe/Berlin': [
      [Date.UTC(2026, 0, 1), 60],
      [Date.UTC(2026, 2, 29, 1), 120],
      [Date.UTC(2026, 9, 25, 1), 60],
    ],
  };
  const night: Window = { from: '22:00', to: '06:00', timezone: 'Europe/Berlin', name: 'night' };
  const at = (text: string): void => {
    gate.clock.at = Date.parse(text);
  };

  test.each<[string, string, string | null]>([
    ['in winter, before', '2026-01-10T20:59:00Z', null],
    ['in winter, at its start', '2026-01-10T21:00:00Z', '2026-01-11T05:00:00Z'],
    ['in summer, at its start', '2026-07-10T20:00:00Z', '2026-07-11T04:00:00Z'],
    ['behind midnight', '2026-07-11T00:30:00Z', '2026-07-11T04:00:00Z'],
    ['at its end', '2026-07-11T04:00:00Z', null],
    ['in the night that is an hour longer', '2026-10-25T03:00:00Z', '2026-10-25T05:00:00Z'],
    ['in the night that is an hour shorter', '2026-03-29T03:30:00Z', '2026-03-29T04:00:00Z'],
  ])('a closed window: %s', (_name, now, until) => {
    at(now);
    configure({ closed_windows: [night] }, 'on', zones);
    const { sent } = ask('a');
    if (until === null) expect(sent[0]?.event.type).toBe('gate.granted');
    else
      expect(sent[0]?.event).toMatchObject({
        reason: expect.stringMatching(/closed window night/),
        until: Date.parse(until),
      });
  });

  test('a closed window ends by itself', () => {
    at('2026-07-11T00:30:00Z');
    configure({ closed_windows: [night] }, 'on', zones);
    ask('a');
    at('2026-07-11T04:00:00Z');
    expect(told(gate.done('look'))).toEqual(['a runs']);
  });

  test.each<[string, Partial<Window>, string, string | null]>([
    ['open now', {}, '2026-07-07T08:30:00Z', null], // a Tuesday
    ['opens later today', {}, '2026-07-07T06:00:00Z', '2026-07-07T08:00:00Z'],
    ['opens next week', {}, '2026-07-08T06:00:00Z', '2026-07-14T08:00:00Z'],
    ['is for another host', { hosts: ['piha'] }, '2026-07-08T06:00:00Z', null],
    ['is for hosts like it', { hosts: ['V?S'] }, '2026-07-08T06:00:00Z', '2026-07-14T08:00:00Z'],
    ['is for such services', { services: ['w*'] }, '2026-07-08T06:00:00Z', '2026-07-14T08:00:00Z'],
  ])('an open window: %s', (_name, more, now, until) => {
    at(now);
    configure({ open_windows: [{ days: ['tue'], from: '08:00', to: '09:00', ...more }] });
    const event = ask('a').sent[0]?.event;
    if (until === null) expect(event?.type).toBe('gate.granted');
    else expect(event).toMatchObject({ until: Date.parse(until) });
  });

  test('of a zone that nobody knows nothing is assumed (G1)', () => {
    configure({ closed_windows: [{ from: '00:00', to: '01:00', timezone: 'Mars/Base' }] });
    expect(told(ask('a'))).toEqual(['a: nothing is known of the time zone Mars/Base of a window']);
    leave('a');
    configure({ open_windows: [{ from: '00:00', to: '24:00', timezone: 'Mars/Base' }] });
    expect(told(ask('a'))[0]).toMatch(/nothing is known/);
  });
});

describe('in any order (K1)', () => {
  const LIMITS = { hosts: 2, actions: 3, perHost: 2, service: 3, hour: 5 };
  const policy: Partial<Policy> = {
    blast_radius: {
      hosts_at_once: LIMITS.hosts,
      actions_at_once: LIMITS.actions,
      per_host_at_once: LIMITS.perHost,
    },
    rate_limits: { per_service_per_hour: LIMITS.service, per_hour: LIMITS.hour },
  };
  const happening = fc.oneof(
    fc.record({ kind: fc.constant('ask' as const), id: fc.nat(9), host: fc.nat(3) }),
    fc.record({ kind: fc.constant('leave' as const), id: fc.nat(9) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 600_000, HOUR) }),
    fc.record({ kind: fc.constant('look' as const) }),
    fc.record({ kind: fc.constant('freeze' as const), on: fc.boolean() }),
    fc.record({
      kind: fc.constant('mode' as const),
      mode: fc.constantFrom<ExecutorMode>('on', 'off', 'dry-run', 'on'),
    }),
    fc.record({ kind: fc.constant('restart' as const) }),
  );

  test('no limit is ever exceeded', () => {
    let all = 0;
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 80 }), (happenings) => {
        gate = new MachineDriver(gateMachine, {});
        configure(policy);
        const running = new Map<string, string>();
        const grants: { at: number; host: string }[] = [];
        const hosts = new Map<string, string>();
        for (const one of happenings) {
          if (one.kind === 'pass') gate.pass(one.ms);
          if (one.kind === 'restart') gate.restore();
          const { sent } = carryOut(one);
          if (one.kind === 'ask') hosts.set(`a${one.id}`, `h${one.host}`);
          if (one.kind === 'ask' || one.kind === 'leave') running.delete(`a${one.id}`);
          for (const { to, event } of sent) {
            if (event.type !== 'gate.granted') continue;
            const id = to.slice('system/action/'.length);
            expect([context().mode, context().frozen]).toEqual(['on', null]);
            expect(running.has(id)).toBe(false);
            running.set(id, hosts.get(id) ?? '');
            grants.push({ at: gate.clock.at, host: hosts.get(id) ?? '' });
            all += 1;
          }
          for (const id of running.keys()) {
            const why = whyNotAnyMore(
              context(),
              { actionId: id, host: '', service: '' },
              gate.clock.at,
            );
            const { mode, frozen } = context();
            expect(why === undefined, `${id}: ${why}`).toBe(mode === 'on' && frozen === null); // G3
          }
          check(
            [...running.values()],
            grants.filter(({ at }) => at > gate.clock.at - HOUR),
          );
        }
      }),
      { numRuns: 500 },
    );
    expect(all).toBeGreaterThan(100);
  });

  function carryOut(one: { kind: string } & Record<string, unknown>): Reaction {
    const nothing: Reaction = { sent: [], spawned: [], stopped: [], started: [], ended: [] };
    if (one.kind === 'ask') return ask(`a${String(one['id'])}`, `h${String(one['host'])}`);
    if (one.kind === 'leave') return leave(`a${String(one['id'])}`);
    if (one.kind === 'mode') return configure(policy, one['mode'] as ExecutorMode);
    if (one.kind === 'freeze')
      return one['on']
        ? tell({ type: 'gate.freeze', by: 'x', reason: 'y' })
        : tell({ type: 'gate.unfreeze', by: 'x' });
    return one.kind === 'look' && gate.running.has('look') ? gate.done('look') : nothing;
  }

  function check(running: readonly string[], grants: readonly { host: string }[]): void {
    expect(running.length).toBeLessThanOrEqual(LIMITS.actions);
    expect(new Set(running).size).toBeLessThanOrEqual(LIMITS.hosts);
    for (const host of new Set(running))
      expect(running.filter((one) => one === host).length).toBeLessThanOrEqual(LIMITS.perHost);
    expect(grants.length).toBeLessThanOrEqual(LIMITS.hour);
    for (const host of new Set(grants.map((one) => one.host)))
      expect(grants.filter((one) => one.host === host).length).toBeLessThanOrEqual(LIMITS.service);
  }
});
