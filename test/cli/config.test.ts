/** The configuration as an operator meets it: made, shown, changed under a running node, refused. */
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { isUp, lazarus, missionsFolder, Running, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

function place(): { missions: string; file: string } {
  const missions = missionsFolder();
  return { missions, file: join(dirname(missions), 'config.json') };
}

const write = (file: string, content: unknown): void =>
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2), {
    mode: 0o600,
  });

async function up(missions: string, ...more: string[]): Promise<Running> {
  const running = Running.of(missions, 'up', '--http', 'off', ...more);
  await isUp(missions, running);
  return running;
}

/** The file is looked at once a second, and a bad one twice. */
const says = (node: Running, text: string): Promise<void> =>
  eventually(() => expect(node.out).toContain(text), { timeoutMs: 20_000 });

async function settings(missions: string, file: string): Promise<Record<string, JsonObject>> {
  const { json } = await lazarus(missions, 'config', 'show', '--json', '--config', file);
  return json()['settings'] as Record<string, JsonObject>;
}

describe('config init', () => {
  test('makes one for this user alone, says where, and never replaces one by accident', async () => {
    const { file } = place();
    const made = await lazarus(null, 'config', 'init', '--config', file);
    expect(made).toMatchObject({ code: 0, err: '' });
    expect(made.out).toContain(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const again = await lazarus(null, 'config', 'init', '--config', file);
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/^Error: there is a configuration already.*\nTry: .*--force\n$/);
    const forced = await lazarus(null, 'config', 'init', '--force', '--json', '--config', file);
    expect(forced.json()).toEqual({ file });
  });
});

describe('config show', () => {
  test('given no node, then every setting is shown with where it comes from', async () => {
    const { missions, file } = place();
    write(file, { timeout: 60, policies: { revive_timeout: 5 } });
    const found = await settings(missions, file);
    expect(found['timeout']).toEqual({ value: 60, origin: `${file}:2` });
    expect(found['policies.revive_timeout']).toEqual({ value: 5, origin: `${file}:4` });
    expect(found['poll_interval']).toEqual({ value: 30, origin: 'default' });
    expect(found['missions_path']).toEqual({ value: missions, origin: 'option --missions' });
    const people = await lazarus(missions, 'config', 'show', '--config', file);
    expect(people.out).toMatch(new RegExp(`timeout +60 +${file}:2\n`));
    expect(people.out).toContain(`no node runs on ${missions}`);
  });

  test('given a bad one, then exit 2 and each problem with its line', async () => {
    const { missions, file } = place();
    write(file, { tiemout: 60, max_retries: -1 });
    const { code, out } = await lazarus(missions, 'config', 'show', '--config', file);
    expect(code).toBe(2);
    expect(out).toContain(`${file}:2 /tiemout`);
    expect(out).toContain('Did you mean "timeout"?');
    expect(out).toContain(`${file}:3 /max_retries`);
    const { json } = await lazarus(missions, 'config', 'show', '--json', '--config', file);
    expect(json()).toMatchObject({
      problem: { code: 'FILE_INVALID', problems: [{ pointer: '/tiemout', line: 2 }, { line: 3 }] },
    });
  });
});

describe('a node and its configuration', () => {
  test('given a bad one at start, then it refuses to start with exit 2 and touches nothing', async () => {
    const { missions, file } = place();
    write(file, '{"timeout": 1,}');
    const { code, err } = await lazarus(missions, 'up', '--config', file);
    expect(code).toBe(2);
    expect(err).toContain(`${file}:1`);
    expect(err).toMatch(/\nTry: Mend /);
    expect(existsSync(join(missions, '.lazarus'))).toBe(false);
    expect((await lazarus(missions, 'up', '--config', '/nowhere/config.json')).code).toBe(2);
  });

  test('given it changes while it runs, then what can be is taken over, and the rest is said', async () => {
    const { missions, file } = place();
    write(file, { log_level: 'INFO', timeout: 60 });
    const node = await up(missions, '--config', file);
    write(file, { log_level: 'DEBUG', timeout: 61, missions_path: '/elsewhere' });
    await says(node, 'configuration changed');
    const line = node.lines().find((text) => text.includes('configuration changed')) ?? '';
    expect(JSON.parse(line)).toMatchObject({
      changes: { timeout: { from: 60, to: 61 }, log_level: { from: 'INFO', to: 'DEBUG' } },
    });
    const { json } = await lazarus(missions, 'status', '--json');
    expect(json()['config']).toMatchObject({ poll_interval: 30, timeout: 61, gateways: [] });
    node.child.kill('SIGTERM');
    expect((await node.ended).code).toBe(0);
  });

  test('given a setting that needs a restart, then show tells what is in force meanwhile', async () => {
    const { missions, file } = place();
    write(file, {});
    const node = Running.of(missions, 'up', '--config', file);
    await isUp(missions, node);
    write(file, { http: 'off' });
    await says(node, 'taken over at the next start');
    expect((await settings(missions, file))['http']).toEqual({
      value: 'off',
      origin: `${file}:2`,
      in_force: '127.0.0.1:8080',
    });
    const { out } = await lazarus(missions, 'config', 'show', '--config', file);
    expect(out).toMatch(
      /http +"off" .*in force: "127.0.0.1:8080" \(taken over at the next start\)/,
    );
  });

  test('given a bad change while it runs, then the last good one holds, and log, status and show say why', async () => {
    const { missions, file } = place();
    write(file, { timeout: 60 });
    const node = await up(missions, '--config', file);
    write(file, { timeout: 'soon' });
    await says(node, 'the last good one holds');
    const status = await lazarus(missions, 'status', '--json');
    expect(status.json()['config']).toMatchObject({
      timeout: 60,
      problem: { message: expect.stringContaining(`${file}:2 /timeout`) as string },
    });
    expect((await lazarus(missions, 'status')).out).toContain('/timeout');
    const shown = await lazarus(missions, 'config', 'show', '--config', file);
    expect(shown.code).toBe(2);
    expect(shown.out).toMatch(/in force in the running node:[^]*timeout +60/);
    write(file, { timeout: 61 });
    await says(node, 'configuration changed');
    expect((await lazarus(missions, 'status', '--json')).json()['config']).toMatchObject({
      timeout: 61,
      problem: null,
    });
  });

  test('what others may write is said at start', async () => {
    const { missions, file } = place();
    write(file, {});
    chmodSync(file, 0o666);
    const node = await up(missions, '--config', file);
    await says(node, 'others can write it');
  });
});

describe('missions_path', () => {
  test('is where every verb looks for the node', async () => {
    const { missions, file } = place();
    write(file, { missions_path: missions });
    writeCell(missions, 'c', { agents: [] });
    const status = await lazarus(null, 'status', '--json', '--config', file);
    expect(status.json()).toMatchObject({ node: { missions }, cells: [{ cell_id: 'c' }] });
    write(file, '{');
    const bad = await lazarus(null, 'status', '--config', file);
    expect(bad.code).toBe(2);
    expect(bad.err).toContain(`${file} cannot be read`);
  });
});

describe('the flags of the systems this one replaces', () => {
  test('--create-config, --status and a bare --config are verbs of today', async () => {
    const { missions, file } = place();
    expect((await lazarus(null, '--config', file, '--create-config')).code).toBe(0);
    const content = JSON.parse(readFileSync(file, 'utf8')) as JsonObject;
    write(file, { ...content, missions_path: missions });
    const status = await lazarus(null, '--config', file, '--status', '--json');
    expect(status.json()).toMatchObject({ running: false, node: { missions } });
  });
});
