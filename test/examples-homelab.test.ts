/** What examples/homelab gives to a homelab's other programs and to whoever begins: it is true, and it is taken as it stands. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { readExecutorFile } from '../cells/executor-file.ts';
import { readPolicyFile } from '../cells/policy-file.ts';
import { runtimeLayout } from '../cells/runtime-layout.ts';
import { temporaryFolder } from './support/cell-files.ts';
import { EXAMPLES } from './support/example.ts';

const HOMELAB = join(EXAMPLES, 'homelab');
const layout = runtimeLayout('/opt/homelab');

test('service.yaml names the heartbeat, the folders and the variables that there are', () => {
  const { service } = parse(readFileSync(join(HOMELAB, 'service.yaml'), 'utf8')) as {
    service: Record<string, unknown>;
  };
  expect(service).toMatchObject({
    name: 'planner-agent',
    owner_node: 'solaria',
    exposure: 'private',
    dependencies: ['redis', 'ollama'],
    ports: [],
    healthcheck: {
      type: 'file',
      path: layout.plannerHeartbeat,
      max_age_seconds: 300,
      interval: '60s',
      timeout: '10s',
      retries: 3,
    },
    restart_policy: 'unless-stopped',
    persistence: { paths: ['actions', 'events', 'state'].map((name) => `/opt/homelab/${name}`) },
    runtime: {
      directories: [...Object.values(layout.actions), layout.events, layout.state],
      env_vars: [
        'REDIS_URL',
        'OLLAMA_HOST',
        'OLLAMA_MODEL',
        'ANTHROPIC_API_KEY',
        'NODE_NAME',
        'COOLDOWN_SECONDS',
        'RUNTIME_PATH',
      ],
    },
  });
});

test('healthcheck.sh says whether the planner gives a sign of life', () => {
  const root = temporaryFolder();
  const { plannerHeartbeat: heartbeat } = runtimeLayout(root);
  const check = (more = {}) => {
    const environment = { PATH: process.env['PATH'], RUNTIME_PATH: root, ...more };
    const script = join(HOMELAB, 'healthcheck.sh');
    const { status, stderr } = spawnSync(script, { env: environment, encoding: 'utf8' });
    return [status, stderr] as const;
  };
  expect(check()).toEqual([1, `there is no ${heartbeat}\n`]);
  mkdirSync(dirname(heartbeat), { recursive: true });
  writeFileSync(heartbeat, '');
  expect(check()).toEqual([0, '']);
  const old = Date.now() / 1000 - 400;
  utimesSync(heartbeat, old, old);
  expect(check()).toEqual([1, expect.stringMatching(/^the heartbeat is 4\d\d s old; 300 s are/)]);
  expect(check({ MAX_AGE_SECONDS: '900' })).toEqual([0, '']);
});

test('its policy and its executor.json are taken', () => {
  const config = join(HOMELAB, 'config');
  expect(readPolicyFile(join(config, 'policy.json'))).toMatchObject({ ok: true });
  expect(readExecutorFile(join(config, 'executor.json')).sha256).not.toBeNull();
});
