/** `lazarus policy`: seen, checked, tried and taken back, with a node and without one. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { lazarus, missionsFolder } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { HomelabProcess } from '../support/homelab-process.ts';
import { MINUTE, WrittenLog } from '../support/recorded-life.ts';

const TIMEOUT = { timeout: 120_000 };

const EARN = {
  supervisor: {
    rules: [
      { name: 'restarts', actions: ['container_restart'], hosts: ['vps'], mode: 'earn', after: 2 },
      { drifts: ['*_service'], mode: 'propose' },
    ],
  },
};

function put(path: string, content: string | object): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  return path;
}

describe('without a node', () => {
  test(
    'given a good policy, then it is shown line by line, and what was earned',
    TIMEOUT,
    async () => {
      const missions = missionsFolder();
      const layout = runtimeLayout(join(dirname(missions), 'runtime'));
      put(layout.policyFile, { confidence_floor: 0.8, ...EARN });
      put(layout.autonomyFile, {
        'container_restart vps/web': { successes: 1, revoked: false },
        'container_restart vps/db': { successes: 0, revoked: true, revoked_by: 'alice' },
      });
      const shown = await lazarus(missions, 'policy', 'show', '--runtime', layout.root);
      expect(shown).toMatchObject({ code: 0, err: '' });
      expect(shown.out).toMatch(/no node runs: it holds at the next start/);
      expect(shown.out).toMatch(/confidence_floor +0\.8 +line 2/);
      expect(shown.out).toMatch(/supervisor\.limits\.hosts_at_once +1 +default/);
      expect(shown.out).toMatch(
        /1\. +restarts +container_restart on vps is proposed until it has helped 2 times/,
      );
      expect(shown.out).toMatch(
        /2\. +supervisor\/rules\/1 +whatever is recommended for \*_service/,
      );
      expect(shown.out).toMatch(
        /1\. +ha_websocket +ha_websocket_dead: a restart of homeassistant is proposed to a person, then it is quiet for 1800 s; not within 300 s after homeassistant\/containers_not_running +default/,
      );
      expect(shown.out).toMatch(/container_restart vps\/web +1 of 2 +asks \(rule restarts\)/);
      expect(shown.out).toMatch(/container_restart vps\/db .*taken back by alice/);
    },
  );

  test(
    'given no policy, then the defaults are shown; no folder, then it says how to name one',
    TIMEOUT,
    async () => {
      const missions = missionsFolder();
      const none = await lazarus(
        missions,
        'policy',
        'show',
        '--runtime',
        dirname(missions),
        '--json',
      );
      expect(none.json()).toMatchObject({ exists: false, problems: [], rules: [] });
      const nowhere = await lazarus(missions, 'policy', 'show');
      expect(nowhere).toMatchObject({ code: 1 });
      expect(nowhere.err).toMatch(/Try: Name it: --runtime DIR/);
    },
  );

  test(
    'given files, then validate says what is wrong and what does not do what it says',
    TIMEOUT,
    async () => {
      const missions = missionsFolder();
      const base = dirname(missions);
      const good = put(join(base, 'good.json'), EARN);
      expect(await lazarus(missions, 'policy', 'validate', good)).toMatchObject({
        code: 0,
        out: `${good}: good\n`,
      });
      const bad = put(join(base, 'bad.json'), '{\n "confidence_flor": 1\n}');
      const told = await lazarus(missions, 'policy', 'validate', bad);
      expect(told.code).toBe(2);
      expect(told.out).toMatch(/bad\.json:2 \/confidence_flor .*Did you mean "confidence_floor"/);
      const odd = put(join(base, 'odd.json'), {
        supervisor: { rules: [{ mode: 'recommend' }, ...EARN.supervisor.rules] },
      });
      const warned = await lazarus(missions, 'policy', 'validate', odd);
      expect(warned.code).toBe(0);
      expect(warned.out).toMatch(/rules\/1 this rule never gets a turn: rule 0 before it/);
      expect(await lazarus(missions, 'policy', 'validate', join(base, 'no.json'))).toMatchObject({
        code: 2,
      });
    },
  );

  test('given what was recorded, then another policy is tried on it', TIMEOUT, async () => {
    const missions = missionsFolder();
    const layout = runtimeLayout(join(dirname(missions), 'runtime'));
    const { lines } = new WrittenLog(Date.now() - 120 * MINUTE).stood('vps/web', 0, 30);
    put(layout.agentEventsLog, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const next = put(join(layout.root, 'new.json'), EARN);
    const since = lines[0]?.['timestamp'] as string;
    const tried = (...more: string[]) =>
      lazarus(missions, 'policy', 'test', '--policy', next, '--runtime', layout.root, ...more);
    const said = await tried('--since', since);
    expect(said).toMatchObject({ code: 0, err: '' });
    expect(said.out).toMatch(/^1 case since .*; 1 would have gone otherwise\./);
    expect(said.out).toMatch(/proposed to a person +0 +0 +1/);
    expect(said.out).toMatch(/vps\/web: unhealthy_service +recommended +recommended .*proposed/);
    expect(said.out).toMatch(/never ran has no outcome/);
    const itself = await tried('--since', since, '--against', next, '--json');
    expect(itself.json()).toMatchObject({ cases: 1, differ: 0, differences: [] });
    expect(await tried('--since', 'soon')).toMatchObject({ code: 2 });
    expect(await lazarus(missions, 'policy', 'test')).toMatchObject({ code: 2 });
  });

  test('given a person takes it back while no node runs, then it is kept', TIMEOUT, async () => {
    const missions = missionsFolder();
    vi.stubEnv('RUNTIME_PATH', join(dirname(missions), 'runtime'));
    onTestFinished(() => void vi.unstubAllEnvs());
    const revoked = await lazarus(missions, 'policy', 'revoke', 'redeploy', 'vps/web');
    expect(revoked).toMatchObject({ code: 0, err: '' });
    expect(revoked.out).toMatch(/redeploy vps\/web: taken back/);
    const shown = await lazarus(missions, 'policy', 'show', '--json');
    expect(shown.json()).toMatchObject({ earned: [{ class: 'redeploy vps/web', revoked: true }] });
    const wrong = await lazarus(missions, 'policy', 'revoke', 'diagnostics', 'vps/web');
    expect(wrong).toMatchObject({ code: 2 });
  });
});

test(
  'given a node that runs, then what is in force is shown, also when the file is spoilt, and what is taken back stands in the file',
  TIMEOUT,
  async () => {
    const lab = new HomelabProcess({ NATS_URL: 'off', OLLAMA_HOST: 'http://127.0.0.1:9' });
    onTestFinished(() => lab.dispose());
    put(lab.layout.policyFile, EARN);
    put(join(lab.layout.root, 'inventory/hosts/vps/services.yaml'), 'services: [web]\n');
    await lab.up();
    const shown = await lazarus(lab.missions, 'policy', 'show', '--json');
    expect(shown.json()).toMatchObject({
      running: true,
      file: lab.layout.policyFile,
      in_force: 'it is in force',
      rules: [{ name: 'restarts' }, {}],
    });
    await lazarus(lab.missions, 'policy', 'revoke', 'container_restart', 'vps/web');
    await eventually(() => {
      const lines = JSON.parse(readFileSync(lab.layout.autonomyFile, 'utf8')) as object;
      expect(lines).toMatchObject({ 'container_restart vps/web': { revoked: true } });
    });
    put(lab.layout.policyFile, '{"supervisor": {"rules": [{}]}}');
    const spoilt = await lazarus(lab.missions, 'policy', 'show');
    expect(spoilt.code).toBe(2);
    expect(spoilt.out).toMatch(/the file is no good: what held before it holds/);
    expect(spoilt.out).toMatch(/policy\.json:1 \/supervisor\/rules\/0 .*"mode"/);
    expect(spoilt.out).toMatch(/1\. +restarts +container_restart on vps/);
  },
);
