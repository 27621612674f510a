import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configPlace, configuredMissions } from '../../cells/config-place.ts';
import { loadConfig, othersMayWrite } from '../../cells/daemon-config.ts';
import type { ConfigOptions } from '../../cells/daemon-config.ts';
import { writeDefaultConfig } from '../../cells/default-config.ts';
import type { Problem } from '../../cells/parse-json.ts';
import { schemaOf } from '../../cells/validate.ts';
import { CONFIG_KEYS, mergeConfig, originText } from '../../machines/daemon-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { DEFAULT_POLICIES } from '../../machines/mission.ts';
import { temporaryFolder } from '../support/cell-files.ts';

function fileOf(content: JsonValue | string): string {
  const file = join(temporaryFolder(), 'config.json');
  const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

const load = (file: string, environment = {}, options: ConfigOptions = {}) =>
  loadConfig(configPlace(file, {}), environment, options);

async function refused(work: Promise<unknown>): Promise<RuntimeError> {
  const error = await work.then(
    () => new Error('it was taken'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(RuntimeError);
  return error as RuntimeError;
}

async function problemsIn(content: JsonValue | string): Promise<Problem[]> {
  const error = await refused(load(fileOf(content)));
  expect(error.code).toBe('FILE_INVALID');
  return error.details['problems'] as Problem[];
}

describe('which file is read', () => {
  test.each([
    ['the option first', '/a/x.json', { LAZARUS_CONFIG: '/b' }, '/a/x.json', '--config'],
    ['then the variable', undefined, { LAZARUS_CONFIG: '/b' }, '/b', 'LAZARUS_CONFIG'],
    ['else the one in the home folder', undefined, {}, `${homedir()}/.lazarus/config.json`, null],
    [
      'an empty variable is unset',
      undefined,
      { LAZARUS_CONFIG: '' },
      `${homedir()}/.lazarus/config.json`,
      null,
    ],
    ['none is none', 'none', {}, null, '--config'],
    ['from home', '~/c.json', {}, `${homedir()}/c.json`, '--config'],
  ])('%s', (_name, option, environment, file, named) => {
    expect(configPlace(option, environment)).toEqual({ file, named });
  });
});

describe('a good file', () => {
  test('given a configuration of the source, then it holds, with the line of each value', async () => {
    const file = fileOf({
      poll_interval: 10,
      timeout: 60,
      max_retries: 5,
      auto_revive: true,
      gateways: ['gateway_1', 'gateway_2'],
      missions_path: '/srv/missions',
      log_level: 'WARNING',
    });
    const { values, origins } = await load(file);
    expect(values).toMatchObject({
      poll_interval: 10,
      auto_revive: 'yes',
      gateways: ['gateway_1', 'gateway_2'],
      missions_path: '/srv/missions',
    });
    expect(originText(origins.timeout)).toBe(`${file}:3`);
    expect(originText(origins.http)).toBe('default');
    expect(originText(origins['policies.revive_timeout'])).toBe('default');
  });

  test('option > environment > file > default, each with its origin', async () => {
    const file = fileOf({ timeout: 1, poll_interval: 1, http: 'off' });
    const environment = {
      LAZARUS_TIMEOUT: '2',
      LAZARUS_HTTP: '127.0.0.1:1',
      LAZARUS_LOG_LEVEL: '',
    };
    const options = { http: { value: '127.0.0.1:2', option: '--http' } };
    const { values, origins } = await load(file, environment, options);
    expect(values).toMatchObject({ timeout: 2, poll_interval: 1, http: '127.0.0.1:2' });
    expect(originText(origins.http)).toBe('option --http');
    expect(originText(origins.timeout)).toBe('environment LAZARUS_TIMEOUT');
    expect(originText(origins.poll_interval)).toBe(`${file}:1`.replace(':1', ':3'));
    expect(originText(origins.log_level)).toBe('default'); // an empty variable is unset
  });

  test('a path may begin at the home folder', async () => {
    const file = fileOf({ missions_path: '~/missions' });
    expect((await load(file)).values.missions_path).toBe(`${homedir()}/missions`);
    expect(configuredMissions(configPlace(file, {}))).toBe(`${homedir()}/missions`);
  });

  test('given there is none and nobody named one, then the defaults hold', async () => {
    const place = { file: join(temporaryFolder(), 'absent/config.json'), named: null };
    expect((await loadConfig(place, {})).values).toEqual(mergeConfig([], null).values);
    expect(configuredMissions(place)).toBeUndefined();
  });
});

describe('a bad file is refused, and everything wrong in it is named', () => {
  test.each<[string, JsonObject, string, RegExp, RegExp]>([
    [
      'an unknown key',
      { pol_interval: 3 },
      '/pol_interval',
      /no key of .*poll_interval, timeout/,
      /Did you mean "poll_interval"/,
    ],
    ['another spelling', { autoRevive: true }, '/autoRevive', /no key/, /"auto_revive"/],
    ['one that nothing is like', { xyzzy: 1 }, '/xyzzy', /no key/, /Remove/],
    [
      'a policy at the top',
      { revive_timeout: 3 },
      '/revive_timeout',
      /stands at the top/,
      /"policies"/,
    ],
    [
      'an unknown policy',
      { policies: { auto_reviv: 'yes' } },
      '/policies/auto_reviv',
      /no key of policies/,
      /"auto_revive"/,
    ],
    [
      'a policy of a wrong kind',
      { policies: { revive_timeout: -1 } },
      '/policies/revive_timeout',
      /more than 0/,
      /seconds/,
    ],
    [
      'two that contradict',
      { max_retries: 1, policies: { max_retries: 2 } },
      '/policies/max_retries',
      /2 here and the number 1 at the top/,
      /Remove one/,
    ],
    ['a wrong kind', { timeout: 'long' }, '/timeout', /'long'; it must be a number/, /seconds/],
    ['a value out of bounds', { max_retries: 2000 }, '/max_retries', /at most 1000/, /./],
    [
      'a fraction of a worker',
      { standby_workers: 1.5 },
      '/standby_workers',
      /whole number/,
      /0 to 64/,
    ],
    [
      'a word that is none',
      { auto_revive: 'maybe' },
      '/auto_revive',
      /use one of yes, no, ask/,
      /yes/,
    ],
    ['an unknown level', { log_level: 'LOUD' }, '/log_level', /DEBUG, INFO, WARNING/, /./],
    ['no address', { http: '8080' }, '/http', /HOST:PORT/, /127.0.0.1:8080/],
    [
      'a name with a port',
      { http_allowed_hosts: ['nas', 'nas:8080'] },
      '/http_allowed_hosts/1',
      /'nas:8080' is neither a host name nor an address/,
      /without scheme, port and wildcards/,
    ],
    ['a wildcard', { http_allowed_hosts: ['*'] }, '/http_allowed_hosts/0', /'\*'/, /"lazarus"/],
    ['a name that is none', { http_allowed_hosts: [5] }, '/http_allowed_hosts/0', /text/, /name/],
    ['one name', { http_allowed_hosts: 'nas' }, '/http_allowed_hosts', /list/, /names/i],
    ['a relative path', { missions_path: 'missions' }, '/missions_path', /absolute/, /~\//],
    [
      'a gateway without a web address',
      { gateways: { a: 'ftp://u:secret@x' } },
      '/gateways/a',
      /gateway 'a'/,
      /http:/,
    ],
    ['a gateway named twice', { gateways: ['a', 'a'] }, '/gateways', /twice/, /Remove/],
    [
      'half a restart intensity',
      { restart: { intensity: 1 } },
      '/restart',
      /'period' is missing/,
      /period/,
    ],
  ])('%s', async (_name, content, pointer, message, fix) => {
    const [problem, ...more] = await problemsIn(content);
    expect(more).toEqual([]);
    expect(problem?.pointer).toBe(pointer);
    expect(problem?.message).toMatch(message);
    expect(problem?.fix).toMatch(fix);
    expect(problem?.message).not.toContain('secret');
  });

  test('all of them at once, in the order of their lines, with the file in each line', async () => {
    const file = fileOf({ timeout: 'x', nonsense: 1, http: 'y' });
    const { message, hint } = await refused(load(file));
    const lines = message.split('\n').slice(1);
    expect(lines.map((line) => line.trim().split(' ').slice(0, 2))).toEqual([
      [`${file}:2`, '/timeout'],
      [`${file}:3`, '/nonsense'],
      [`${file}:4`, '/http'],
    ]);
    expect(hint).toContain('lazarus config show');
  });

  test.each<[string, string, RegExp]>([
    ['half a file', '{"timeout": 3,\n "http"', /not JSON at line 2/],
    ['nothing', '', /empty/],
    ['a list', '[]', /an object is expected/],
    ['a key twice', '{"timeout": 1,\n"timeout": 2}', /stands twice/],
  ])('%s', async (_name, text, message) => {
    expect((await problemsIn(text))[0]?.message).toMatch(message);
  });

  test('given it is not there but was named, then that is said', async () => {
    const { message, hint, code } = await refused(load('/nowhere/config.json'));
    expect(code).toBe('FILE_INVALID');
    expect(message).toContain('named by --config');
    expect(hint).toContain('config init --config /nowhere/config.json');
  });

  test('given a folder, a fifo or something huge in its place, then it is refused and waited for by nobody', async () => {
    const folder = temporaryFolder();
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const huge = fileOf(`{"x": "${'x'.repeat(1 << 20)}"}`);
    expect((await refused(load(folder))).message).toMatch(/not a file/);
    expect((await refused(load(fifo))).message).toMatch(/not a file/);
    expect((await refused(load(huge))).message).toMatch(/more than 1048576 bytes/);
    expect(() => configuredMissions(configPlace(huge, {}))).toThrow(/more than/);
  });

  test('only its missions are asked for: JSON that cannot be read is not taken for "says nothing" (P6)', () => {
    const place = configPlace(fileOf('{'), {});
    expect(() => configuredMissions(place)).toThrow(/cannot be read/);
    expect(configuredMissions(configPlace(fileOf({ missions_path: '/m' }), {}))).toBe('/m');
    expect(configuredMissions(configPlace(fileOf({ nonsense: 1 }), {}))).toBeUndefined();
  });

  test.each([
    [{ LAZARUS_TIMEOUT: 'long' }, /^LAZARUS_TIMEOUT is 'long': timeout is .*must be a number/],
    [{ LAZARUS_AUTO_REVIVE: 'perhaps' }, /use one of yes, no, ask/],
    [{ LAZARUS_HTTP: 'x' }, /HOST:PORT/],
    [
      { LAZARUS_HTTP_ALLOWED_HOSTS: 'nas,http://nas' },
      /^LAZARUS_HTTP_ALLOWED_HOSTS is 'nas,http:\/\/nas': the text 'http:\/\/nas' is neither/,
    ],
    [{ LAZARUS_HTTP_ALLOWED_HOSTS: 'nas,' }, /^LAZARUS_HTTP_ALLOWED_HOSTS is 'nas,'/],
  ])('a variable that does not fit: %j', async (environment, message) => {
    const error = await refused(loadConfig(configPlace('none', {}), environment));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(message);
  });

  test('variables are read as what they mean', async () => {
    const environment = { LAZARUS_AUTO_REVIVE: 'true', LAZARUS_REMOTE_COMMANDS: 'true' };
    const { values } = await loadConfig(configPlace('none', {}), environment);
    expect(values).toMatchObject({ auto_revive: 'yes', remote_commands: true });
  });

  test('a list of one text is a list, also when it looks like a number', async () => {
    const options = {
      http_allowed_hosts: { value: 'lazarus, 10.0.0.5', option: '--http-allowed-hosts' },
    };
    const { values, origins } = await loadConfig(configPlace('none', {}), {}, options);
    expect(values.http_allowed_hosts).toEqual(['lazarus', '10.0.0.5']);
    expect(origins.http_allowed_hosts).toEqual({ from: 'option', name: '--http-allowed-hosts' });
    const environment = { LAZARUS_HTTP_ALLOWED_HOSTS: '42' };
    const one = await loadConfig(configPlace('none', {}), environment);
    expect(one.values.http_allowed_hosts).toEqual(['42']);
  });
});

describe('a new file', () => {
  test('says what holds without one, names its schema, and is for this user alone', async () => {
    const file = join(temporaryFolder(), 'home/.lazarus/config.json');
    await writeDefaultConfig(file, { force: false });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(file, '..')).mode & 0o777).toBe(0o700);
    const content = JSON.parse(readFileSync(file, 'utf8')) as JsonObject;
    expect(content['$schema']).toBe('https://lazarus.dev/schemas/daemon-config.json');
    const { values, origins } = await load(file);
    expect(values).toEqual(mergeConfig([], null).values);
    for (const key of CONFIG_KEYS) expect(origins[key].from).toBe('file'); // nothing is left out
  });

  test('never replaces one, nor a link, unless it is told to', async () => {
    const file = fileOf({ timeout: 1 });
    const link = join(temporaryFolder(), 'link.json');
    symlinkSync('/nowhere', link);
    for (const there of [file, link]) {
      const error = await refused(writeDefaultConfig(there, { force: false }));
      expect(error).toMatchObject({ code: 'CONFLICT' });
      expect(error.hint).toContain('--force');
    }
    expect((await load(file)).values.timeout).toBe(1);
    await writeDefaultConfig(file, { force: true });
    expect((await load(file)).values.timeout).toBe(300);
  });
});

test('who else may write it is told: the file, or the folder it can be replaced in', () => {
  const folder = join(temporaryFolder(), 'own');
  mkdirSync(folder, { mode: 0o700 });
  const file = join(folder, 'config.json');
  expect(othersMayWrite(file)).toBeNull();
  writeFileSync(file, '{}', { mode: 0o600 });
  expect(othersMayWrite(file)).toBeNull();
  chmodSync(file, 0o666);
  expect(othersMayWrite(file)).toBe(file);
  chmodSync(file, 0o600);
  chmodSync(folder, 0o777);
  expect(othersMayWrite(file)).toBe(folder);
  chmodSync(folder, 0o1777); // as /tmp: nobody can replace what is not his
  expect(othersMayWrite(file)).toBeNull();
});

describe('the schema', () => {
  const properties = (value: JsonValue | undefined): JsonObject => {
    const found = isJsonObject(value) ? value['properties'] : undefined;
    return isJsonObject(found) ? found : {};
  };
  const schema = schemaOf('daemon-config');

  test('knows every setting and every policy there is, and no other', () => {
    const { $schema: _, policies, ...top } = properties(schema);
    const isTop = (key: string): boolean => !key.includes('.');
    expect(Object.keys(top).sort()).toEqual(CONFIG_KEYS.filter(isTop).sort());
    expect(Object.keys(properties(policies)).sort()).toEqual(Object.keys(DEFAULT_POLICIES).sort());
  });

  test('shows editors the defaults that hold', () => {
    const { values } = mergeConfig([], null);
    for (const [key, property] of Object.entries(properties(schema)))
      if (isJsonObject(property) && property['default'] !== undefined)
        expect([key, property['default']]).toEqual([key, (values as unknown as JsonObject)[key]]);
  });
});
