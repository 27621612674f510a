/** Programs and servers beside the runtime. It runs without any of them (P10); what is asked for and absent is named. */
import { findNatsServer } from '../../bus/nats-server.ts';
import type { DaemonConfig } from '../../machines/daemon-config.ts';
import { installing, missing, ok, warn } from './check.ts';
import type { Probe } from './check.ts';
import { isHere, messageOf, modelProbes } from './models.ts';
import { firstLine, run } from './probe.ts';
import { pingRedis } from './redis-ping.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What the next start is told; left out, the environment alone counts. */
export interface Told extends Partial<Pick<DaemonConfig, 'redis_url' | 'llm'>> {
  /** By a node that runs, without its password; null: by none. */
  bridged?: string | null;
  /** A node runs. */
  isRunning?: boolean;
}

export function serviceProbes(environment: Environment, told: Told = {}): Probe[] {
  const redis = told.redis_url ?? (environment['REDIS_URL'] || 'off');
  return [
    { group: 'services', name: 'nats-server', look: () => lookAtNats(environment) },
    { group: 'services', name: 'redis', look: () => lookAtRedis(redis, told.bridged ?? null) },
    ...modelProbes(environment, told.llm ?? {}, told.isRunning ?? false),
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
async function lookAtRedis(text: string, bridged: string | null) {
  if (text === 'off' && bridged !== null)
    return ok(`the node that runs is bridged to ${bridged}: see \`lazarus status\``);
  if (text === 'off') return ok('none: the bridge is off (REDIS_URL, or `lazarus up --redis URL`)');
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
