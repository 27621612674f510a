/** Language models of the chain, as the next start would meet them: which can be asked, and what is missing of the others. */
import type { JsonValue } from '../../machines/json.ts';
import { isJsonObject } from '../../machines/json.ts';
import { llmSettings } from '../../machines/llm-config.ts';
import type { LlmConfig, LlmSettings } from '../../machines/llm-config.ts';
import { ApiKeySource } from '../llm/api-key.ts';
import { installing, missing, ok, warn } from './check.ts';
import type { Finding, Probe } from './check.ts';
import { findProgram, firstLine, getJson } from './probe.ts';
import type { Environment } from './services.ts';

interface Found extends Finding {
  /** Models of the chain that can be asked. */
  ready: string[];
}

/** `isRunning`: a node runs, with an environment of its own. */
export function modelProbes(
  environment: Environment,
  config: LlmConfig,
  isRunning = false,
): Probe[] {
  const settings = llmSettings(config, environment);
  const isNamed = (provider: string): boolean =>
    settings.chain.some((rung) => rung.provider === provider);
  let [ollama, anthropic]: (Promise<Found> | undefined)[] = [];
  const lookAtOllama = (): Promise<Found> => (ollama ??= ollamaOf(settings));
  const lookAtKey = (): Promise<Found> => (anthropic ??= keyOf(settings, environment));
  const verdict = async (): Promise<Finding> => {
    const looks = [
      ...(isNamed('ollama') ? [lookAtOllama()] : []),
      ...(isNamed('anthropic') ? [lookAtKey()] : []),
    ];
    const verdict = verdictOf(settings, await Promise.all(looks));
    if (!isRunning || verdict.state === 'ok') return verdict;
    const detail = `${verdict.detail} from here; what the node that runs can ask: \`lazarus models\``;
    return { ...verdict, detail };
  };
  const group = 'services';
  return [
    ...(isNamed('ollama') ? [{ group, name: 'ollama', look: lookAtOllama } as const] : []),
    ...(isNamed('anthropic') ? [{ group, name: 'anthropic', look: lookAtKey } as const] : []),
    { group, name: 'models', look: verdict },
  ];
}

function verdictOf({ chain }: LlmSettings, looks: readonly Found[]): Finding {
  const ready = new Set(looks.flatMap((found) => found.ready));
  const first = chain.find(({ model, provider }) => provider === 'rules' || ready.has(model));
  const names = chain.map(({ model }) => model).join(', ');
  if (first?.provider === 'rules')
    return warn('only the fixed table (rules) can be asked', looks[0]?.fix ?? null);
  if (first !== undefined) return ok(`${first.model} is asked first, of ${names}`);
  return warn(
    `no event is diagnosed, and tasks without steps wait: none of ${names} can be asked`,
    looks.flatMap(({ fix }) => fix ?? []).join('   (or) ') || null,
  );
}

async function ollamaOf({ chain, ollama: { url: base } }: LlmSettings): Promise<Found> {
  const rungs = chain.filter(({ provider }) => provider === 'ollama');
  if (base === null) return nothing(warn('OLLAMA_HOST is no address', 'unset OLLAMA_HOST'));
  const { host, hostname } = new URL(base);
  try {
    const { models } = await getJson(`${base}/api/tags`);
    const names = Array.isArray(models) ? models.map(nameOf) : [];
    const isThere = (name: string): boolean =>
      names.includes(name) || names.includes(`${name}:latest`);
    const has = rungs.filter(({ name }) => isThere(name));
    const ready = has.map(({ model }) => model);
    const lacks = rungs.filter((rung) => !has.includes(rung)).map(({ name }) => name);
    if (lacks.length === 0)
      return { ...ok(`answers on ${host}, with ${has.map(({ name }) => name).join(', ')}`), ready };
    const fix = lacks.map((name) => `ollama pull ${name}`).join(' && ');
    return { ...warn(`answers on ${host}, without ${lacks.join(', ')}`, fix), ready };
  } catch (error) {
    const isInstalled = findProgram('ollama') !== null;
    const isMac = process.platform === 'darwin'; // elsewhere it comes as a script of its makers
    const install = isMac ? installing({ name: 'ollama' }) : 'see https://ollama.com/download';
    const fix = isInstalled ? 'ollama serve' : install;
    const detail = `nobody answers on ${host}: ${messageOf(error)}`;
    return nothing(missing(detail, isHere(hostname) ? fix : null));
  }
}

/** Whether it is right, only the service knows; what it is, is shown to nobody. */
async function keyOf(
  { chain, anthropic: { keyFile } }: LlmSettings,
  environment: Environment,
): Promise<Found> {
  const { ANTHROPIC_API_KEY: key } = environment;
  if (key !== undefined && key !== '' && /\s/.test(key))
    return nothing(warn('ANTHROPIC_API_KEY is set, with a space or line end in it', 'set it anew'));
  const found = await new ApiKeySource(environment, keyFile).read();
  const ready = chain.flatMap(({ provider, model }) => (provider === 'anthropic' ? [model] : []));
  if (found.ok)
    return { ...ok(key ? 'ANTHROPIC_API_KEY is set' : `the key stands in ${keyFile}`), ready };
  if (keyFile === null)
    return nothing(missing('ANTHROPIC_API_KEY is not set', 'export ANTHROPIC_API_KEY=...'));
  return nothing(missing(found.reason, found.hint));
}

const nothing = (finding: Finding): Found => ({ ...finding, ready: [] });

const nameOf = (model: JsonValue): JsonValue =>
  isJsonObject(model) ? (model['name'] ?? null) : null;

export const isHere = (host: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]', '0.0.0.0'].includes(host);

/** fetch says only that it failed; its cause says why. */
export function messageOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  const inner = cause instanceof Error ? cause : error;
  const { code } = inner as NodeJS.ErrnoException;
  const message = inner instanceof Error ? inner.message : String(inner);
  return firstLine(code && !message.includes(code) ? `${code} ${message}` : message);
}
