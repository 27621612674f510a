/** The address of the Redis server: from where it is taken, and that a password in it is shown to nobody. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { configView } from '../../actors/running-config.ts';
import { configPlace } from '../../cells/config-place.ts';
import { loadConfig } from '../../cells/daemon-config.ts';
import { originText } from '../../machines/daemon-config.ts';
import { RuntimeError } from '../../machines/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'lazarus-redis-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'config.json');

const SECRET = 'hunter2';
const URL = `redis://user:${SECRET}@piha:6380/2`;

test('option > REDIS_URL > file > off, and nothing in the view is secret', async () => {
  const none = await loadConfig(configPlace('none', {}), {});
  expect(none.values.redis_url).toBe('off');
  writeFileSync(file, JSON.stringify({ redis_url: 'redis://in-the-file' }));
  const place = configPlace(file, {});
  expect((await loadConfig(place, { REDIS_URL: '' })).values.redis_url).toBe('redis://in-the-file');
  const config = await loadConfig(place, { REDIS_URL: URL });
  expect(config.values.redis_url).toBe(URL);
  expect(originText(config.origins.redis_url)).toBe('environment REDIS_URL');
  const view = JSON.stringify(configView(config));
  expect(view).toContain('redis://piha:6380/2');
  expect(view).not.toContain(SECRET);
  const option = { redis_url: { value: 'off', option: '--redis' } };
  expect((await loadConfig(place, { REDIS_URL: URL }, option)).values.redis_url).toBe('off');
});

test.each([
  `http://u:${SECRET}@h`,
  `${SECRET}@piha:6379`,
  `redis://:${SECRET}@`,
  `redis://:${SECRET}@h/x${'y'.repeat(3000)}`,
])('%j is refused without being quoted, from wherever it comes', async (text) => {
  const environment = loadConfig(configPlace('none', {}), { REDIS_URL: text });
  writeFileSync(file, JSON.stringify({ redis_url: text }));
  for (const loading of [environment, loadConfig(configPlace(file, {}), {})]) {
    const error: unknown = await loading.catch((thrown: unknown) => thrown);
    if (!(error instanceof RuntimeError)) throw new Error('it was taken');
    const said = `${error.message} ${error.hint} ${JSON.stringify(error.details)}`;
    expect(said).toMatch(/redis_url|REDIS_URL/);
    expect(said).not.toContain(SECRET);
  }
});
