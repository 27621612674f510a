/** What a person writes into the policy file, and what is said when it does not fit. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, test } from 'vitest';
import { readPolicyFile } from '../../cells/policy-file.ts';
import type { PolicyReading } from '../../cells/policy-file.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';

function read(text: string | null): PolicyReading {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-policy-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'policy.json');
  if (text !== null) writeFileSync(file, text);
  return readPolicyFile(file);
}

test('given no file, then the defaults hold, and no hash is claimed for them', () => {
  expect(read(null)).toEqual({ ok: true, policy: DEFAULT_POLICY, sha256: null });
});

test('given a file that everybody can write to, then it is refused, with what to do', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-policy-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'policy.json');
  writeFileSync(file, '{}');
  chmodSync(file, 0o666);
  expect(readPolicyFile(file)).toMatchObject({
    ok: false,
    problems: [{ fix: `chmod o-w ${file}` }],
  });
  chmodSync(file, 0o664);
  expect(readPolicyFile(file)).toMatchObject({ ok: true });
});

test('given a file, then what it leaves out is as in the defaults, key by key', () => {
  const reading = read('{"confidence_floor": 0.9, "blast_radius": {"hosts_at_once": 2}}');
  expect(reading).toMatchObject({
    ok: true,
    policy: {
      ...DEFAULT_POLICY,
      confidence_floor: 0.9,
      blast_radius: { hosts_at_once: 2, per_host_at_once: 1 },
    },
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
  });
});

test('given all of it, then it is taken as it stands', () => {
  const policy = {
    always_human_hosts: ['db-*'],
    always_notify_types: [],
    confidence_floor: 0,
    closed_windows: [{ name: 'night', from: '22:00', to: '06:00', timezone: 'Europe/Warsaw' }],
    open_windows: [{ hosts: ['vps'], days: ['sat'], from: '00:00', to: '24:00' }],
    rate_limits: { per_hour: 10 },
    blast_radius: { per_host_at_once: 3 },
    approval_expires: 60,
  };
  expect(read(JSON.stringify({ $schema: 'policy.json', ...policy }))).toMatchObject({
    ok: true,
    policy,
  });
});

test('given rules of the supervisor, then what they leave out is as in the defaults, key by key', () => {
  const rules = [{ name: 'r', mode: 'earn', actions: ['container_*', 'disk_cleanup'], after: 5 }];
  const supervisor = { rules, limits: { hosts_at_once: 2 }, verify_within: 60 };
  expect(read(JSON.stringify({ supervisor }))).toMatchObject({
    ok: true,
    policy: {
      supervisor: {
        ...DEFAULT_POLICY.supervisor,
        rules,
        limits: {
          approvals_per_hour: 10,
          approvals_per_target_per_hour: 3,
          hosts_at_once: 2,
          actions_at_once: 1,
        },
        verify_within: 60,
      },
    },
  });
});

it.each([
  ['{}', '/supervisor/rules/0', /"mode"/],
  ['{"mode": "auto"}', '/supervisor/rules/0/mode', /recommend, propose, approve, earn/],
  ['{"mode": "approve"}', '/supervisor/rules/0', /name the actions/],
  ['{"mode": "earn", "actions": []}', '/supervisor/rules/0/actions', /name the actions/],
  ['{"mode": "approve", "actions": ["*"]}', '/supervisor/rules/0/actions/0', /no policy may/],
  [
    '{"mode": "approve", "actions": ["redeploy", "failover_review"]}',
    '/supervisor/rules/0/actions/1',
    /no policy may/,
  ],
  ['{"mode": "approve", "actions": ["reboot"]}', '/supervisor/rules/0/actions/0', /fits none/],
  ['{"mode": "propose", "drifts": ["down"]}', '/supervisor/rules/0/drifts/0', /fits none/],
  ['{"mode": "propose", "after": 3}', '/supervisor/rules/0/after', /earn/],
  ['{"mode": "earn", "actions": ["redeploy"], "after": 0}', '/supervisor/rules/0/after', /1 to/],
  [
    '{"mode": "propose", "windows": [{"from": "08:00", "to": "09:00"}]}',
    '/supervisor/rules/0/windows',
    /never does/,
  ],
  [
    '{"mode": "approve", "actions": ["redeploy"], "windows": [{"from": "08:00", "to": "08:00"}]}',
    '/supervisor/rules/0/windows/0/to',
    /24:00/,
  ],
])('given the rule %s of the supervisor, then it is refused', (rule, pointer, fix) => {
  const reading = read(`{"supervisor": {"rules": [${rule}]}}`);
  if (reading.ok) throw new Error('it was taken');
  expect(reading.problems[0]).toMatchObject({ pointer, line: 1 });
  expect(`${reading.problems[0]?.fix} ${reading.problems[0]?.message}`).toMatch(fix);
});

it.each([
  ['{"action": "notify"}', '/event_rules/0', /"types"/],
  ['{"types": [], "action": "notify"}', '/event_rules/0/types', /names/],
  ['{"types": ["x"], "action": "reboot"}', '/event_rules/0/action', /notify, restart, redeploy/],
  ['{"types": ["x"], "action": "notify", "cooldown": 0}', '/event_rules/0/cooldown', /above 0/],
  ['{"types": ["x"], "actions": "notify"}', '/event_rules/0/actions', /Did you mean "action"/],
  ['{"types": ["x"], "action": "restart", "service": ""}', '/event_rules/0/service', /service/],
  ['{"types": ["x"]}', '/event_rules/0', /nothing but whom it fits/],
  [
    '{"types": ["x"], "cooldown": 9, "service": "y"}',
    '/event_rules/0/service',
    /the model decides/,
  ],
  [
    '{"types": ["x"], "action": "notify", "unless_younger": 9}',
    '/event_rules/0/unless_younger',
    /there is none/,
  ],
])('given the rule %s about events, then it is refused, with its place', (rule, pointer, words) => {
  const reading = read(`{\n"event_rules": [${rule}]}`);
  if (reading.ok) throw new Error('it was taken');
  expect(reading.problems[0]).toMatchObject({ pointer, line: 2 });
  expect(`${reading.problems[0]?.fix} ${reading.problems[0]?.message}`).toMatch(words);
});

test('given rules about events, then they take the place of the defaults', () => {
  const rules = [{ types: ['x'], action: 'ignore' }];
  expect(read(JSON.stringify({ event_rules: rules }))).toMatchObject({
    ok: true,
    policy: { event_rules: rules },
  });
  expect(read('{"event_rules": []}')).toMatchObject({ ok: true, policy: { event_rules: [] } });
});

it.each([
  ['{"limits": {"approvals_per_hour": 0}}', '/supervisor/limits/approvals_per_hour'],
  ['{"limits": {"percent_at_once": 101}}', '/supervisor/limits/percent_at_once'],
  ['{"limits": {"per_hour": 1}}', '/supervisor/limits/per_hour'],
  ['{"stale_after": 0}', '/supervisor/stale_after'],
  ['{"rule": []}', '/supervisor/rule'],
])('given %s for the supervisor, then it is refused', (supervisor, pointer) => {
  const reading = read(`{"supervisor": ${supervisor}}`);
  expect(reading).toMatchObject({ ok: false, problems: [{ pointer }] });
});

it.each([
  ['{"always_human_host": []}', '/always_human_host', /Did you mean "always_human_hosts"/],
  ['{"always_human_hosts": "*"}', '/always_human_hosts', /names/],
  ['{"confidence_floor": 70}', '/confidence_floor', /0 to 1/],
  ['{"confidence_floor": "0.7"}', '/confidence_floor', /0 to 1/],
  ['{"approval_expires": 0}', '/approval_expires', /above 0/],
  ['{"blast_radius": {"per_host_at_once": 0}}', '/blast_radius/per_host_at_once', /at least 1/],
  ['{"rate_limits": {"per_day": 3}}', '/rate_limits/per_day', /./],
  ['{"open_windows": [{"from": "8:00", "to": "09:00"}]}', '/open_windows/0/from', /HH:MM/],
  ['{"open_windows": [{"from": "08:00"}]}', '/open_windows/0', /"to"/],
  ['{"closed_windows": [{"from": "08:00", "to": "08:00"}]}', '/closed_windows/0/to', /24:00/],
  [
    '{"closed_windows": [{"from": "08:00", "to": "09:00", "timezone": "Mars/Base"}]}',
    '/closed_windows/0/timezone',
    /IANA/,
  ],
  [
    '{"open_windows": [{"from": "08:00", "to": "09:00", "days": ["monday"]}]}',
    '/open_windows/0/days/0',
    /./,
  ],
  ['[]', '', /./],
  ['{"confidence_floor": 0.1, "confidence_floor": 0.9}', '/confidence_floor', /./],
  ['', '', /./],
])('given %s, then it is refused, with the place and how to mend it', (text, pointer, fix) => {
  const reading = read(text);
  if (reading.ok) throw new Error('it was taken');
  expect(reading.problems[0]).toMatchObject({ pointer, line: 1 });
  expect(`${reading.problems[0]?.fix} ${reading.problems[0]?.message}`).toMatch(fix);
});

test('given a file of a size that no person writes, then it is not read', () => {
  expect(read(' '.repeat(300_000))).toMatchObject({ ok: false });
});
