/** What people write about models, what holds together with the environment, and what is refused with its place. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { configView } from '../../actors/running-config.ts';
import { loadConfig } from '../../cells/daemon-config.ts';
import { llmSettings, ollamaUrl } from '../../machines/llm-config.ts';
import type { JsonObject } from '../../machines/json.ts';

describe('what holds', () => {
  test('given nothing is said, then the chain of the contract', () => {
    const { chain, ollama, deadlineMs, limits } = llmSettings({}, {});
    expect(chain.map(({ model, provider, timeoutMs }) => [model, provider, timeoutMs])).toEqual([
      ['ollama/qwen2.5:7b', 'ollama', 8000],
      ['claude-haiku-5-5', 'anthropic', 30_000],
      ['claude-sonnet-5-5', 'anthropic', 30_000],
    ]);
    expect(ollama.url).toBe('http://127.0.0.1:11434');
    expect(deadlineMs).toBeGreaterThanOrEqual(68_000); // room for all three
    expect(limits).toEqual({ nanoUsd: 10e9, tokens: null });
    expect(chain.every(({ price }) => price !== null)).toBe(true);
  });

  test('the environment wins over the file; an empty variable is none', () => {
    const file = { ollama: { host: 'http://file:1' } };
    const named = llmSettings(file, { OLLAMA_HOST: 'gpu:2', OLLAMA_MODEL: 'llama3:8b' });
    expect([named.ollama.url, named.chain[0]?.name]).toEqual(['http://gpu:2', 'llama3:8b']);
    const empty = llmSettings(file, { OLLAMA_HOST: '', OLLAMA_MODEL: '' });
    expect([empty.ollama.url, empty.chain[0]?.name]).toEqual(['http://file:1', 'qwen2.5:7b']);
  });

  test('models of the source by configuration', () => {
    const chain = [{ model: 'anthropic/claude-haiku-4-5', timeout: 12 }, { model: 'rules' }];
    expect(llmSettings({ chain }, {}).chain).toMatchObject([
      {
        model: 'claude-haiku-4-5',
        name: 'claude-haiku-4-5',
        thinking: 'disabled',
        timeoutMs: 12_000,
      },
      { model: 'rules', provider: 'rules' },
    ]);
  });

  test.each([
    ['gpu', 'http://gpu:11434'],
    ['gpu:8080', 'http://gpu:8080'],
    [':8080', 'http://127.0.0.1:8080'],
    ['0.0.0.0:11434', 'http://127.0.0.1:11434'],
    ['https://ollama.lan/api-gate/', 'https://ollama.lan:443/api-gate'],
    ['[::1]:11434', 'http://[::1]:11434'],
    ['http://user:pw@gpu', undefined],
    ['ftp://gpu', undefined],
    ['not a host', undefined],
  ])('OLLAMA_HOST %s is %s', (text, url) => expect(ollamaUrl(text)).toBe(url));
});

async function load(llm: JsonObject, environment: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-llm-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify({ llm }, null, 2), { mode: 0o600 });
  return loadConfig({ file, named: '--config' }, environment);
}

describe('what is refused', () => {
  test.each<[string, JsonObject, string]>([
    ['an unknown key', { chains: [] }, '/llm/chains'],
    ['a key in the file', { anthropic: { api_key: 'sk-ant-1' } }, '/llm/anthropic/api_key'],
    ['a chain of names', { chain: ['rules'] }, '/llm/chain/0'],
    ['a model without a name', { chain: [{ timeout: 8 }] }, '/llm/chain/0'],
    ['a timeout of nothing', { chain: [{ model: 'rules', timeout: 0 }] }, '/llm/chain/0/timeout'],
    ['another variable', { chain: [{ model: 'ollama/${HOME}' }] }, '/llm/chain/0/model'],
    ['a price that is none', { prices: { m: { input: -1, output: 1 } } }, '/llm/prices/m/input'],
    ['a password in an address', { ollama: { host: 'http://u:secret@h' } }, '/llm/ollama/host'],
    ['another scheme', { anthropic: { base_url: 'ftp://h' } }, '/llm/anthropic/base_url'],
    ['a relative key file', { anthropic: { key_file: 'key' } }, '/llm/anthropic/key_file'],
  ])('%s, with its place', async (_name, llm, pointer) => {
    const failure = await load(llm).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'FILE_INVALID' });
    const { message } = failure as Error;
    expect(message).toContain(pointer);
    expect(message).not.toMatch(/u:secret/);
  });

  test('all that is optional may be said, and shows in the view with its place', async () => {
    const llm = {
      chain: [
        { model: 'ollama/${OLLAMA_MODEL}', timeout: 8, first_token: 4, idle: 2, temperature: 0.1 },
        {
          model: 'claude-sonnet-5-5',
          max_output_tokens: 2048,
          thinking: 'adaptive',
          effort: 'low',
        },
        { model: 'rules' },
      ],
      deadline: 60,
      budget: { usd_per_day: 1, tokens_per_day: 1_000_000, usd_per_call: null },
      prices: { 'claude-sonnet-5-5': { input: 2, output: 10, cache_read: 0.2, cache_write: 2.5 } },
      breaker: { threshold: 5, cooldown: 10, longest: 100, blocked: 300 },
      ollama: { host: 'gpu:11434', num_ctx: 16384, concurrency: 2, queue: 8, keep_alive: -1 },
      anthropic: { base_url: 'https://proxy.lan', key_file: '/run/key', concurrency: 2, queue: 8 },
    };
    const config = await load(llm, { ANTHROPIC_API_KEY: 'sk-ant-of-the-environment' });
    expect(config.values.llm).toEqual(llm);
    const view = JSON.stringify(configView(config));
    expect(view).toContain('config.json:2');
    expect(view).not.toContain('sk-ant-of-the-environment');
  });
});
