/** How the command line comes by the daemon's configuration, and how a node that runs follows it. */
import { ConfigWatch, stateOf } from '../actors/config-watch.ts';
import { configView, shownValue } from '../actors/running-config.ts';
import type { MissionNode } from '../actors/node.ts';
import { configPlace } from '../cells/config-place.ts';
import type { ConfigPlace } from '../cells/config-place.ts';
import { loadConfig, othersMayWrite } from '../cells/daemon-config.ts';
import type { ConfigOptions } from '../cells/daemon-config.ts';
import { HOMELAB_RUNTIME, LOG_LEVELS } from '../machines/daemon-config.ts';
import type { EffectiveConfig } from '../machines/daemon-config.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Log } from './log.ts';
import { chooseMissions } from './missions.ts';
import type { Missions } from './missions.ts';

export interface ConfigFlags {
  config?: string;
  missions?: string;
  http?: string;
  httpAllowedHosts?: string;
  inspector?: string;
  nats?: string;
  redis?: string;
  runtime?: string | true;
  inventory?: string;
  observer?: string;
  executor?: string;
  logLevel?: string;
}

export interface ConfigSource {
  place: ConfigPlace;
  /** As `loadConfig`. */
  load: () => Promise<EffectiveConfig>;
}

export function configSource(flags: ConfigFlags): ConfigSource {
  const place = configPlace(flags.config, process.env);
  const options: ConfigOptions = {
    ...(flags.missions && { missions_path: { value: flags.missions, option: '--missions' } }),
    ...(flags.http && { http: { value: flags.http, option: '--http' } }),
    ...(flags.httpAllowedHosts && {
      http_allowed_hosts: { value: flags.httpAllowedHosts, option: '--http-allowed-hosts' },
    }),
    ...(flags.inspector && { inspector: { value: flags.inspector, option: '--inspector' } }),
    ...(flags.nats && { nats: { value: flags.nats, option: '--nats' } }),
    ...(flags.redis && { redis_url: { value: flags.redis, option: '--redis' } }),
    ...(flags.runtime && {
      runtime_path: {
        value: flags.runtime === true ? HOMELAB_RUNTIME : flags.runtime,
        option: '--runtime',
      },
    }),
    ...(flags.inventory && { inventory_path: { value: flags.inventory, option: '--inventory' } }),
    ...(flags.observer && { observer: { value: flags.observer, option: '--observer' } }),
    ...(flags.executor && { executor: { value: flags.executor, option: '--executor' } }),
    ...(flags.logLevel && { log_level: { value: flags.logLevel, option: '--log-level' } }),
  };
  return { place, load: () => loadConfig(place, process.env, options) };
}

/** What the next node will be told, for those who look while none runs. */
export async function plannedConfig(): Promise<JsonObject> {
  try {
    return configView(await configSource({}).load());
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return { problem: { message: toPlainError(error).message } };
  }
}

/** A file that cannot be understood does not say where the missions are: then they are looked for where they are without one. */
export function missionsAround(option: string | undefined, place: ConfigPlace): Missions {
  try {
    return chooseMissions(option, place);
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return chooseMissions(option, { file: null, named: null });
  }
}

/** pino's name of the level that holds. */
export const pinoLevel = ({ values }: EffectiveConfig): string =>
  LOG_LEVELS[values.log_level.toLowerCase()] ?? 'info';

export interface Loaded {
  config: EffectiveConfig;
  /** State of the file before it was read. */
  seen: string;
}

/** Throws as `loadConfig` does. */
export async function loadForStart({ place, load }: ConfigSource): Promise<Loaded> {
  const seen = place.file === null ? '' : await stateOf(place.file);
  return { config: await load(), seen };
}

/** From now on changes of the file reach the node; what is wrong with one is said in log and status. */
export function followConfig(
  node: MissionNode,
  log: Log,
  { place, load }: ConfigSource,
  seen: string,
): ConfigWatch<EffectiveConfig> | undefined {
  const { file } = place;
  if (file === null) return undefined;
  const loose = othersMayWrite(file);
  if (loose !== null)
    log.warn({ path: loose }, 'others can write it: they decide what agents of this node may do');
  return ConfigWatch.start(
    {
      file,
      load,
      onChange: (config) => takeOver(node, log, config),
      onProblem: (error) => {
        node.refuseConfig(error);
        const { message } = toPlainError(error);
        log.error({ file, problem: message }, 'configuration not taken; the last good one holds');
      },
    },
    seen,
  );
}

function takeOver(node: MissionNode, log: Log, next: EffectiveConfig): void {
  const { file } = next;
  const before = node.configView();
  const { changed, waiting } = node.applyConfig(next);
  log.level = pinoLevel(node.config);
  const [now, wanted] = [node.configView(), configView(next)];
  const changes = Object.fromEntries(
    changed.map((key) => [key, { from: shownValue(before, key), to: shownValue(now, key) }]),
  );
  if (changed.length > 0) log.info({ file, changes }, 'configuration changed');
  else if (before['problem'] !== null) log.info({ file }, 'configuration is good again');
  if (waiting.length === 0) return;
  const later = Object.fromEntries(waiting.map((key) => [key, shownValue(wanted, key)]));
  log.warn({ file, settings: later }, 'these settings are taken over at the next start');
}
