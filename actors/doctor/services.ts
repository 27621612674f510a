/** Programs and servers beside the runtime. It runs without any of them (P10); what is asked for and absent is named. */
import { findNatsServer } from '../../bus/nats-server.ts';
import type { JsonValue } from '../../machines/json.ts';
import { isJsonObject } from '../../machines/json.ts';
import { installing, missing, ok, warn } from './check.ts';
import type { Probe } from './check.ts';
import { findProgram, firstLine, getJson, run } from './probe.ts';
import { pingRedis } from './redis-ping.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export function serviceProbes(environment: Environment): Probe[] {
  return [
    { group: 'services', name: 'nats-server', look: () => lookAtNats(environment) },
    { group: 'services', name: 'redis', look: () => lookAtRedis(environment) },
    { group: 'services', name: 'ollama', look: () => lookAtOllama(environment) },
    { group: 'services', name: 'anthropic', look: () => lookAtAnthropic(environment) },
  ];
}

/** The oldest that has what the bus uses. */
const OLDEST_NATS = [2, 9] as const;

async function lookAtNats(environment: Environment) {
  const { NATS_SERVER_BIN: named } = environment;
  const install = installing({ name: 'nats-server' });
  const program = findNatsServer(environment);
  if (program === undefined && named)
    return missing(`NATS_SERVER_BIN names ${named}, which is no program`, 'unset NATS_SERVER_BIN');
  if (program === undefined)
    return missing('not installed: the runtime starts without a bus', install);
  const said = await run([program, '--version']);
  const version = said.kind === 'ended' ? /v?(\d+)\.(\d+)\.(\d+)/.exec(said.out) : null;
  if (version === null) return missing(`${program} does not say its version`, install);
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const isOld = major < OLDEST_NATS[0] || (major === OLDEST_NATS[0] && minor < OLDEST_NATS[1]);
  const detail = `${version[0]}, ${program}`;
  return isOld ? warn(`${detail}: older than ${OLDEST_NATS.join('.')}`, install) : ok(detail);
}

/** The URL may hold a password: only host and port are shown. */
async function lookAtRedis({ REDIS_URL: text }: Environment) {
  if (!text) return ok('REDIS_URL is not set: the bridge is off');
  const url = URL.parse(text);
  if (url === null || !/^rediss?:$/.test(url.protocol))
    return warn('REDIS_URL is no redis:// URL', 'export REDIS_URL=redis://127.0.0.1:6379');
  const where = `${url.hostname}:${url.port || 6379}`;
  try {
    const answer = await pingRedis(url);
    if (answer.kind === 'pong') return ok(`answers on ${where}`);
    return warn(
      `${where} refuses: ${firstLine(answer.reason)}`,
      'put user and password in REDIS_URL',
    );
  } catch (error) {
    const fix = isHere(url.hostname) ? installing({ name: 'redis-server', brew: 'redis' }) : null;
    return missing(`nobody answers on ${where}: ${messageOf(error)}`, fix);
  }
}

async function lookAtOllama({ OLLAMA_HOST, OLLAMA_MODEL }: Environment) {
  const model = OLLAMA_MODEL || 'qwen2.5:7b';
  const text = OLLAMA_HOST || '127.0.0.1:11434';
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `http://${text}`);
  if (url === null) return warn('OLLAMA_HOST is no address', 'unset OLLAMA_HOST');
  try {
    const { models } = await getJson(new URL('/api/tags', url).href);
    const names = Array.isArray(models) ? models.map(nameOf) : [];
    const isThere = names.includes(model) || names.includes(`${model}:latest`);
    if (isThere) return ok(`answers on ${url.host}, with ${model}`);
    return warn(`answers on ${url.host}, without ${model}`, `ollama pull ${model}`);
  } catch (error) {
    const isInstalled = findProgram('ollama') !== null;
    const isMac = process.platform === 'darwin'; // elsewhere it comes as a script of its makers
    const install = isMac ? installing({ name: 'ollama' }) : 'see https://ollama.com/download';
    const fix = isInstalled ? 'ollama serve' : install;
    const detail = `nobody answers on ${url.host}: ${messageOf(error)}`;
    return missing(detail, isHere(url.hostname) ? fix : null);
  }
}

const nameOf = (model: JsonValue): JsonValue =>
  isJsonObject(model) ? (model['name'] ?? null) : null;

/** Whether it is right, only the service knows; what it is, is shown to nobody. */
function lookAtAnthropic({ ANTHROPIC_API_KEY: key }: Environment) {
  if (!key) return missing('ANTHROPIC_API_KEY is not set', 'export ANTHROPIC_API_KEY=...');
  if (key !== key.trim() || /\s/.test(key))
    return warn('ANTHROPIC_API_KEY is set, with a space or line end in it', 'set it anew');
  return ok('ANTHROPIC_API_KEY is set');
}

const isHere = (host: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]', '0.0.0.0'].includes(host);

/** fetch says only that it failed; its cause says why. */
function messageOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  const inner = cause instanceof Error ? cause : error;
  const { code } = inner as NodeJS.ErrnoException;
  const message = inner instanceof Error ? inner.message : String(inner);
  return firstLine(code && !message.includes(code) ? `${code} ${message}` : message);
}
