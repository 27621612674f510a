import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  changedKeys,
  CONFIG_KEYS,
  explicitPolicies,
  explicitRestart,
  hostName,
  httpAddress,
  isAskedFor,
  mergeConfig,
  NEEDS_RESTART,
  settingOf,
  settingsOf,
  takeOver,
} from '../../machines/daemon-config.ts';
import type { ConfigKey, ConfigLayer, Origin } from '../../machines/daemon-config.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { DEFAULT_POLICIES } from '../../machines/mission.ts';

const inFile: Origin = { from: 'file', file: '/c.json', line: 3 };
const layerOf = (content: JsonObject, origin: Origin = inFile): ConfigLayer =>
  Object.fromEntries(settingsOf(content).map(({ key, value }) => [key, { value, origin }]));
const configOf = (content: JsonObject) => mergeConfig([layerOf(content)], '/c.json');

describe('what holds when several say something (G1)', () => {
  const origins: Origin[] = [
    { from: 'option', name: '--x' },
    { from: 'environment', name: 'X' },
    inFile,
  ];

  test('each key by itself comes from the strongest that names it, with its origin', () => {
    const layer = fc.dictionary(fc.constantFrom(...CONFIG_KEYS), fc.integer());
    fc.assert(
      fc.property(fc.array(layer, { minLength: 3, maxLength: 3 }), (said) => {
        const layers = said.map((values, i) =>
          Object.fromEntries(
            Object.entries(values).map(([key, value]) => [key, { value, origin: origins[i] }]),
          ),
        ) as ConfigLayer[];
        const config = mergeConfig(layers, null);
        for (const key of CONFIG_KEYS) {
          const strongest = layers.find((one) => one[key])?.[key];
          const found = settingOf(config, key);
          expect(found.origin).toEqual(strongest?.origin ?? { from: 'default' });
          if (strongest) expect(found.value).toBe(strongest.value);
        }
      }),
    );
  });

  test('given nobody says anything, then the defaults hold and cells are told nothing (G3)', () => {
    const config = mergeConfig([], null);
    expect(config.values).toMatchObject({
      poll_interval: 30,
      timeout: 300,
      max_retries: 3,
      auto_revive: 'ask',
      gateways: [],
      missions_path: '/var/missions',
      log_level: 'INFO',
      standby_workers: 2,
      http: '127.0.0.1:8080',
      remote_commands: false,
      ask_expires: 86_400,
      policies: DEFAULT_POLICIES,
    });
    expect(explicitPolicies(config)).toEqual({});
    expect(explicitRestart(config)).toBeNull();
  });
});

describe('policies (G2, G3)', () => {
  test.each<[string, JsonObject, JsonObject]>([
    ['true is yes', { auto_revive: true }, { auto_revive: 'yes' }],
    ['false is ask', { auto_revive: false }, { auto_revive: 'ask' }],
    ['no is no', { auto_revive: 'no' }, { auto_revive: 'no' }],
    ['at the top', { max_retries: 7 }, { max_retries: 7 }],
    ['below', { policies: { max_retries: 7 } }, { max_retries: 7 }],
    ['one that is a default is still said', { max_retries: 3 }, { max_retries: 3 }],
    ['a null counts', { policies: { progress_timeout: null } }, { progress_timeout: null }],
    ['how long a question stands', { ask_expires: 60 }, { ask_expires: 60 }],
  ])('%s', (_name, content, told) => {
    const config = configOf(content);
    expect(explicitPolicies(config)).toEqual(told);
    expect(config.values.policies).toEqual({ ...DEFAULT_POLICIES, ...told });
  });

  test('the restart intensity is told only when it was said', () => {
    const restart = { intensity: 5, period: 60 };
    expect(explicitRestart(configOf({ restart }))).toEqual(restart);
    expect(explicitRestart(configOf({ timeout: 1 }))).toBeNull();
  });
});

describe('a change while running', () => {
  const values: Partial<Record<ConfigKey, JsonValue[]>> = {
    timeout: [300, 5],
    http: ['127.0.0.1:8080', 'off'],
    missions_path: ['/var/missions', '/srv/missions'],
    gateways: [[], ['a'], { a: 'http://a' }],
    auto_revive: ['ask', 'yes'],
    'policies.revive_timeout': [300, 10],
    restart: [
      { intensity: 5, period: 60 },
      { intensity: 1, period: 2 },
    ],
  };
  const config = fc
    .record(
      Object.fromEntries(
        Object.entries(values).map(([key, all]) => [key, fc.constantFrom(...all)]),
      ),
      { requiredKeys: [] },
    )
    .map((said) => {
      const settings = Object.entries(said).map(([key, value]) => [key, { value, origin: inFile }]);
      return mergeConfig([Object.fromEntries(settings) as ConfigLayer], '/c.json');
    });

  test('is taken over but for what needs a restart, and taking it twice is taking it once', () => {
    fc.assert(
      fc.property(config, config, (running, next) => {
        const first = takeOver(running, next);
        for (const key of CONFIG_KEYS) {
          const from = NEEDS_RESTART.includes(key) ? running : next;
          expect(settingOf(first.config, key).value).toEqual(settingOf(from, key).value);
        }
        expect([...first.changed, ...first.waiting].sort()).toEqual(
          changedKeys(running, next).sort(),
        );
        const second = takeOver(first.config, next);
        expect(second.changed).toEqual([]);
        expect(second.waiting).toEqual(first.waiting);
        expect(second.config.values).toEqual(first.config.values);
      }),
    );
  });
});

test.each([
  ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['localhost:65535', { host: 'localhost', port: 65_535 }],
  ['off', 'off'],
  ['8080', undefined],
  ['::1:8080', undefined],
  ['host:65536', undefined],
  ['http://host:1', undefined],
  ['', undefined],
])('the address %s', (text, found) => {
  expect(httpAddress(text)).toEqual(found);
});

test.each([
  ['lazarus', 'lazarus'],
  ['NAS.lan', 'nas.lan'],
  ['compose_lazarus-1', 'compose_lazarus-1'],
  ['192.168.1.5', '192.168.1.5'],
  ['::1', '[::1]'],
  ['[FE80::1]', '[fe80::1]'],
  ['a'.repeat(63), 'a'.repeat(63)],
  ['a'.repeat(64), undefined],
  [`${'a.'.repeat(126)}aa`, undefined],
  ['', undefined],
  ['*', undefined],
  ['*.lan', undefined],
  ['nas.lan:8080', undefined],
  ['http://nas.lan', undefined],
  ['nas..lan', undefined],
  ['nas.lan.', undefined],
  ['-nas', undefined],
  ['user@nas', undefined],
  ['na s', undefined],
  ['nas/x', undefined],
  ['[::1]:8080', undefined],
  ['::zz', undefined],
  ['żółw.lan', undefined],
])('the host name %s', (text, found) => {
  expect(hostName(text)).toBe(found);
});

test('what `config init` writes is not insisted on; what a person or a unit says is', () => {
  const http = '127.0.0.1:8080';
  expect(isAskedFor(configOf({}), 'http')).toBe(false);
  expect(isAskedFor(configOf({ http }), 'http')).toBe(false);
  expect(isAskedFor(configOf({ http: '127.0.0.1:9000' }), 'http')).toBe(true);
  const option: Origin = { from: 'option', name: '--http' };
  expect(isAskedFor(mergeConfig([layerOf({ http }, option)], null), 'http')).toBe(true);
});
