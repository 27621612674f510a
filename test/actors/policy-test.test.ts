/** `lazarus policy test` on real folders: what it says, what it does not know, and that it touches nothing. */
import { hash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { checkPolicy, requirePolicy } from '../../actors/policy/check-policy.ts';
import { testPolicy } from '../../actors/policy/policy-test.ts';
import { readRecord } from '../../actors/policy/record-reader.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { JsonObject } from '../../machines/json.ts';
import { MINUTE, T0, WrittenLog } from '../support/recorded-life.ts';

const NOW = T0 + 24 * 60 * MINUTE;

function folder(): RuntimeLayout {
  const root = mkdtempSync(join(tmpdir(), 'lazarus-policy-test-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  return runtimeLayout(root);
}

function put(path: string, content: string | object): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const putLog = ({ agentEventsLog }: RuntimeLayout, { lines }: WrittenLog): string =>
  put(agentEventsLog, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));

const plan = (id: string, more: JsonObject = {}): JsonObject => ({
  action_id: id,
  type: 'container_restart',
  node: 'vps',
  service: 'web',
  risk_level: 'low',
  confidence: 0.9,
  requires_human: false,
  timestamp: T0 / 1000,
  source_event: 'service_unhealthy',
  llm_model: 'ollama/x',
  payload: { action: 'restart', reason: 'it does not answer any more' },
  ...more,
});

const APPROVE = {
  supervisor: { rules: [{ name: 'restarts', actions: ['container_restart'], mode: 'approve' }] },
};

function tested(layout: RuntimeLayout, next: string, old = layout.policyFile): Promise<JsonObject> {
  return testPolicy({
    place: { layout, eventsLog: layout.agentEventsLog },
    since: T0 - MINUTE,
    now: NOW,
    old: { file: old, ...requirePolicy(old, false) },
    new: { file: next, ...requirePolicy(next, true) },
  });
}

/** Of every name, every byte, and when it was changed. */
function sumOf(root: string): string {
  const parts = readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return `${path} ${statSync(path).mtimeMs} ${entry.isFile() ? readFileSync(path, 'base64') : ''}`;
    })
    .sort();
  return hash('sha256', parts.join('\n'));
}

test('given drifts and actions on record, when another policy is tried, then each is told of, with what differs and why', async () => {
  const layout = folder();
  putLog(layout, new WrittenLog().stood('vps/web', 0, 30).stood('nas/db', 10, 20));
  put(
    join(layout.actions.pending, 'plan-a.json'),
    plan('plan-a', { service: 'shop', timestamp: T0 / 1000 + 60 }),
  );
  const next = put(join(layout.root, 'new.json'), { ...APPROVE, confidence_floor: 0.95 });
  const result = await tested(layout, next);
  expect(result).toMatchObject({
    cases: 3,
    differ: 3,
    counts: {
      recorded: { proposed: 1, recommended: 2 },
      old: { recommended: 2, approved: 0 },
      new: { recommended: 0, approved: 2 },
    },
    differences: [
      {
        about: 'drift',
        key: 'vps/web',
        recorded: 'recommended',
        old: { verdict: 'recommended' },
        new: { verdict: 'approved', rule: 'restarts', approved_at: '2026-11-02T08:00:00.000Z' },
      },
      {
        about: 'action',
        id: 'plan-a',
        old: { requires_human: false },
        new: { requires_human: true, rule: 'confidence_floor' },
      },
      { key: 'nas/db', new: { verdict: 'approved' } },
    ],
    unchanged: [],
    read: { steps: 4, files: 1, unreadable: 0, older_steps_left_out: 0 },
  });
  expect(result['notes']).toContainEqual(expect.stringMatching(/never ran has no outcome/));
});

test('given nothing on record, then it says so, and makes nothing up', async () => {
  const layout = folder();
  const next = put(join(layout.root, 'new.json'), APPROVE);
  expect(await tested(layout, next)).toMatchObject({ cases: 0, differ: 0, differences: [] });
});

test('given a log with other lines, half a line and links, then they are passed over and counted', async () => {
  const layout = folder();
  const log = putLog(layout, new WrittenLog().stood('vps/web', 0, 30));
  writeFileSync(log, `{"event": "x"}\n${readFileSync(log, 'utf8')}{"id": "sys`);
  put(join(layout.actions.pending, 'bad.json'), '{');
  put(join(layout.actions.failed, 'no-type.json'), {});
  symlinkSync('/etc/passwd', join(layout.actions.pending, 'link.json'));
  const { read, recording } = await readRecord({ layout, eventsLog: log }, NOW);
  expect(read).toMatchObject({ steps: 2, passed_over: 2, files: 0, unreadable: 3 });
  expect(recording.cases).toHaveLength(1);
});

test('given more than is read, then the newest count, and what was left out is said', async () => {
  const layout = folder();
  const log = new WrittenLog();
  for (let i = 0; i < 30; i += 1) log.stood(`vps/s${i}`, i, i + 0.5);
  const eventsLog = putLog(layout, log);
  for (const id of ['a', 'b', 'c']) put(join(layout.actions.pending, `${id}.json`), plan(id));
  const few = { maxSteps: 10, maxFiles: 2 };
  const { read, recording } = await readRecord({ layout, eventsLog }, NOW, few);
  expect(read).toMatchObject({
    steps: 10,
    older_steps_left_out: 50,
    files: 2,
    older_files_left_out: 1,
  });
  expect(recording.cases.map(({ standing }) => standing.drift.key)).toContain('vps/s29');
});

test('given what people took back and how large the homelab is, then the replay goes by that', async () => {
  const layout = folder();
  putLog(layout, new WrittenLog().helped('vps/web', 0).stood('vps/web', 60, 90));
  put(layout.autonomyFile, {
    'container_restart vps/web': { successes: 0, revoked: true, revoked_by: 'alice' },
  });
  const rule = { actions: ['container_restart'], mode: 'earn', after: 1 };
  const next = put(join(layout.root, 'new.json'), { supervisor: { rules: [rule] } });
  const result = await tested(layout, next);
  expect(result).toMatchObject({ counts: { new: { approved: 0, proposed: 2 } } });
  expect(result['notes']).toContainEqual('taken back all along: container_restart vps/web');
  put(layout.worldSummary, {
    nodes: { desired: 2, online: 2, offline: 0, unknown: 0 },
    services: { desired: 9, healthy: 9, unhealthy: 0, missing: 0, unknown: 0, unmonitored: 0 },
  });
  const { counts } = await readRecord({ layout, eventsLog: layout.agentEventsLog }, NOW);
  expect(counts?.services.desired).toBe(9);
});

test('given settings whose effect is not on record, then that is said', async () => {
  const layout = folder();
  putLog(layout, new WrittenLog().stood('vps/web', 0, 30));
  const supervisor = { stale_after: 60, limits: { percent_at_once: 10 } };
  const next = put(join(layout.root, 'new.json'), { supervisor });
  const { notes } = await tested(layout, next);
  expect(notes).toContainEqual(expect.stringMatching(/^stale_after differs/));
  expect(notes).toContainEqual(expect.stringMatching(/^percent_at_once is taken for one/));
});

test('given any record and policy, then nothing is written, it says the same twice, and a policy differs from itself in nothing', async () => {
  const key = fc.constantFrom('a/x', 'b/x', 'c/y');
  const spells = fc.array(fc.record({ key, well: fc.boolean() }), { maxLength: 6 });
  const mode = fc.constantFrom('approve', 'earn');
  const property = fc.asyncProperty(spells, mode, async (told, how) => {
    const layout = folder();
    const log = new WrittenLog();
    for (const [i, { key: name, well }] of told.entries()) log.helped(name, i * 60, well);
    putLog(layout, log);
    put(join(layout.actions.pending, 'plan-a.json'), plan('plan-a'));
    const rule = { actions: ['container_restart'], mode: how };
    const next = put(join(layout.root, 'new.json'), { supervisor: { rules: [rule] } });
    const before = sumOf(layout.root);
    const result = await tested(layout, next);
    expect(await tested(layout, next)).toEqual(result);
    expect(await tested(layout, next, next)).toMatchObject({ differ: 0, differences: [] });
    expect(sumOf(layout.root)).toBe(before);
  });
  await fc.assert(property, { numRuns: 25 });
});

test('given a policy that is no good, then all that is wrong is told with its line', () => {
  const layout = folder();
  const file = put(
    join(layout.root, 'p.json'),
    '{\n  "confidence_floor": 7,\n  "supervisor": {"rules": [{"mode": "maybe"}]}\n}',
  );
  expect(checkPolicy(file)).toMatchObject({
    exists: true,
    read: null,
    problems: [
      { line: 2, pointer: '/confidence_floor' },
      { line: 3, pointer: '/supervisor/rules/0/mode' },
    ],
  });
  expect(() => requirePolicy(file, true)).toThrow(/p\.json:2 \/confidence_floor .*\n.*p\.json:3/);
  expect(() => requirePolicy(join(layout.root, 'none.json'), true)).toThrow(/there is no policy/);
  expect(requirePolicy(join(layout.root, 'none.json'), false).sha256).toBeNull();
});

test('given rules that never get a turn, then the line is told', () => {
  const layout = folder();
  const rules = '[\n {"mode": "propose"},\n {"mode": "recommend"}]';
  const file = put(join(layout.root, 'p.json'), `{"supervisor": {"rules": ${rules}}}`);
  expect(checkPolicy(file)).toMatchObject({
    problems: [],
    warnings: [{ line: 3, pointer: '/supervisor/rules/1' }],
  });
});
