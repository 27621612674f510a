/** `lazarus doctor` on folders without a node, with one, and where something that is needed is missing. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import type { Check } from '../../actors/doctor/check.ts';
import { hasProc } from '../../actors/proc-fs.ts';
import { isUp, lazarus, missionsFolder, Running } from '../support/cli.ts';

const byName = (json: Record<string, unknown>): Map<string, Check> =>
  new Map((json['checks'] as Check[]).map((check) => [check.name, check]));

test('given nothing that is needed is missing, then exit 0, whether a node runs or not', async () => {
  const missions = missionsFolder();
  const down = await lazarus(missions, 'doctor', '--json');
  expect(down).toMatchObject({ code: 0, err: '' });
  expect(down.json()).toMatchObject({ ok: true, missions });
  expect(byName(down.json()).get('lock')?.detail).toContain('no node runs here');

  const node = Running.of(missions, 'up', '--http', 'off');
  await isUp(missions, node);
  const up = byName((await lazarus(missions, 'doctor', '--json')).json());
  const pid = hasProc ? `pid ${node.child.pid}` : '';
  expect(up.get('lock')).toMatchObject({ state: 'ok', detail: expect.stringContaining(pid) });
  expect(up.get('control socket')).toMatchObject({ state: 'ok' });
  expect(up.get('secrets')).toMatchObject({ state: 'ok' });
  node.child.kill('SIGKILL');
  await node.ended;

  const killed = byName((await lazarus(missions, 'doctor', '--json')).json());
  expect(killed.get('lock')).toMatchObject({ state: 'warn' });
  expect(killed.get('control socket')).toMatchObject({ state: 'warn' });
});

test('given something that is needed is missing, then exit 1, and each line says what mends it', async () => {
  const missions = missionsFolder();
  const config = join(dirname(missions), 'config.json');
  writeFileSync(config, '{"tiemout": 1}', { mode: 0o600 });
  const { code, out } = await lazarus(missions, 'doctor', '--config', config);
  expect(code).toBe(1);
  expect(out).toContain(`${config}:1 /tiemout`);
  expect(out).toMatch(/Try: Mend /);
  expect(out).toContain('Something that is needed is missing.');
  const file = join(dirname(missions), 'file');
  writeFileSync(file, '');
  expect((await lazarus(file, 'doctor')).code).toBe(1);
});
