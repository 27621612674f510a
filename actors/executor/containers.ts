/**
 * The drivers of containers: `container_restart` and `redeploy`, by the docker command line on the service's host.
 *
 * C1 Both are `verify`: twice would be a second outage. What was before is remembered, and compared after a cut.
 * C2 What docker's daemon was told it does even when the one who told it was killed: "as before" is believed only when it had
 *    time to show.
 * C3 A command that was sent to another host may go on there when we are cut off. There, "recreated" can be told from
 *    "not yet", and not from "not any more": that is unknown.
 * C4 What has just been started runs, also when it will fall over in a moment: a container without a check of its own is well
 *    when it is found running twice, some seconds apart, and was not started anew in between.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { plainName, safeArgument } from '../../machines/executor-config.ts';
import type { ComposeConfig } from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonValue } from '../../machines/json.ts';
import type { Asked, Health, Plan, ProbeAnswer, Step, Tools } from './plan.ts';
import { argvOn, invalidName, shownArgv, timeoutMs } from './reach.ts';
import type { Host, Setting } from './reach.ts';
import type { RunRecord } from './run-record.ts';
import type { Runnable } from '../../machines/action-context.ts';

export function containerRestart(run: Runnable, setting: Setting, host: Host): Plan {
  const container = containerOf(setting, run);
  const docker = dockerOf(host);
  return {
    driver: 'container_restart',
    semantics: 'verify',
    via: host.via,
    verifies: true,
    steps: [
      commandStep(setting, host, {
        argv: [docker, 'restart', container],
        timeoutMs: timeoutMs(setting, 'container_restart'),
      }),
    ],
    before: async (tools) => (await startedAt(tools, host, container))?.at ?? null,
    probe: (tools, record) => wasRestarted(tools, setting, { host, container, record }),
    health: (tools) => healthOf(tools, setting, host, [container]),
  };
}

export function redeploy(run: Runnable, setting: Setting, host: Host): Plan {
  const compose = composeOf(setting, host, run);
  const service = compose.service ?? run.service;
  if (!plainName(service)) throw invalidName('compose service', service);
  const base = [dockerOf(host), ...composeArguments(compose)];
  const ids = (tools: Tools): Promise<string[] | null> =>
    containerIds(tools, host, [...base, 'ps', '-q', service]);
  return {
    driver: 'redeploy',
    semantics: 'verify',
    via: host.via,
    verifies: true,
    steps: [
      commandStep(setting, host, {
        argv: [...base, 'up', '-d', '--force-recreate', service],
        timeoutMs: timeoutMs(setting, 'redeploy'),
      }),
    ],
    before: ids,
    probe: async (tools, { before }) => wasRecreated(host, before, await ids(tools)),
    health: async (tools) => {
      const all = await containerIds(tools, host, [...base, 'ps', '--all', '-q', service]);
      if (all === null) return 'unknown';
      return all.length === 0 ? 'unhealthy' : healthOf(tools, setting, host, all);
    },
  };
}

/** One command on a host. */
export function commandStep(
  setting: Setting,
  host: Host,
  { argv, timeoutMs: limit }: { argv: string[]; timeoutMs: number },
): Step {
  argvOn(setting, host, argv); // refuses what cannot be quoted, before anything is claimed
  return {
    shown: `${shownArgv(argv)} (on ${host.name}, ${host.via})`,
    identity: { host: host.name, via: host.via, argv },
    timeoutMs: limit,
    perform: (tools) => tools.execute(host, argv, { timeoutMs: limit }),
  };
}

export const dockerOf = ({ config }: Host): string =>
  (config.via === 'nats' ? undefined : config.docker) ?? 'docker';

/** What a service's container is called: as the file says, else as the service. */
export function containerOf({ config }: Setting, { host, service }: Runnable): string {
  const name = `${host}/${service}`;
  const given = Object.hasOwn(config.services, name) ? config.services[name]?.container : undefined;
  const container = given ?? service;
  if (!plainName(container)) throw invalidName('container', container);
  return container;
}

/** Throws NOT_CONFIGURED with what to write where. */
export function composeOf({ config, file }: Setting, host: Host, run: Runnable): ComposeConfig {
  const name = `${run.host}/${run.service}`;
  const service = Object.hasOwn(config.services, name) ? config.services[name] : undefined;
  const ofHost = host.config.compose ?? {};
  const found =
    service?.compose ?? (Object.hasOwn(ofHost, run.service) ? ofHost[run.service] : undefined);
  if (found !== undefined) return found;
  const shown = safeArgument(run.service) ? run.service : '<service>';
  throw new RuntimeError(`nobody has said which compose file ${run.host}/${shown} stands in`, {
    code: 'NOT_CONFIGURED',
    details: { host: run.host, service: run.service, file },
    hint: `Write into ${file}: {"services": {"${run.host}/${shown}": {"compose": {"file": "/path/on/${run.host}/docker-compose.yml"}}}}`,
  });
}

function composeArguments(compose: ComposeConfig): string[] {
  const files = typeof compose.file === 'string' ? [compose.file] : (compose.file ?? []);
  const { project_directory: directory, project_name: project } = compose;
  return [
    'compose',
    ...files.flatMap((file) => ['-f', file]),
    ...(directory === undefined ? [] : ['--project-directory', directory]),
    ...(project === undefined ? [] : ['-p', project]),
  ];
}

interface Started {
  /** As docker writes it. */
  at: string;
  isRunning: boolean;
}

/** Null: it could not be found out. */
async function startedAt(tools: Tools, host: Host, container: string): Promise<Started | null> {
  const [state] = (await statesOf(tools, host, [container])) ?? [];
  if (!isJsonObject(state)) return null;
  const { StartedAt: at, Running: running } = state;
  return typeof at === 'string' && at !== '' ? { at, isRunning: running === true } : null;
}

/** C1, C2. */
async function wasRestarted(
  tools: Tools,
  setting: Setting,
  { host, container, record }: { host: Host; container: string; record: RunRecord },
): Promise<ProbeAnswer> {
  const shownBy = Date.parse(record.started_at) + timeoutMs(setting, 'settle');
  const deadline = performance.now() + Math.min(shownBy - Date.now(), timeoutMs(setting, 'settle'));
  for (;;) {
    const now = await startedAt(tools, host, container);
    const isSince = now === null ? false : startedSince(now.at, record, host);
    if (isSince === null) break;
    if (now !== null && isSince && now.isRunning)
      return { kind: 'done', because: `container ${container} was started at ${now.at}` };
    if (performance.now() >= deadline) {
      if (now === null) break;
      return { kind: 'not_started' };
    }
    await sleep(500, null, { signal: tools.signal });
  }
  const because = `when container ${container} was started last cannot be found out, or not compared`;
  return { kind: 'unknown', because };
}

/** Null: it cannot be told, since clocks of two hosts differ. */
function startedSince(at: string, record: RunRecord, host: Host): boolean | null {
  if (typeof record.before === 'string') return at !== record.before;
  return host.isLocal ? Date.parse(at) >= Date.parse(record.started_at) : null;
}

/** C3. */
function wasRecreated(host: Host, before: JsonValue, now: string[] | null): ProbeAnswer {
  if (!Array.isArray(before) || now === null)
    return { kind: 'unknown', because: 'which containers there were, or are, cannot be found out' };
  if (now.length > 0 && now.every((id) => !before.includes(id)))
    return { kind: 'done', because: `its containers are new: ${now.join(', ')}` };
  if (host.isLocal) return { kind: 'not_started' };
  return { kind: 'unknown', because: `the command may still be running on ${host.name}` };
}

/** Null: it could not be found out. */
async function containerIds(tools: Tools, host: Host, argv: string[]): Promise<string[] | null> {
  const asked = await tools.look(host, argv);
  if (!isGood(asked)) return null;
  const ids = asked.stdout.split('\n').filter((line) => line !== '');
  return ids.every((id) => /^[0-9a-f]{12,64}$/.test(id)) ? ids : null;
}

/** C4. */
async function healthOf(
  tools: Tools,
  setting: Setting,
  host: Host,
  names: string[],
): Promise<Health> {
  const states = await statesOf(tools, host, names);
  const health = healthOfAll(states);
  if (states === null || health !== 'healthy' || states.every(hasCheck)) return health;
  await sleep(timeoutMs(setting, 'steady'), null, { signal: tools.signal });
  const later = await statesOf(tools, host, names);
  const isSteady = later?.every((state, i) => startOf(state) === startOf(states[i])) !== false;
  return isSteady ? healthOfAll(later) : 'unhealthy';
}

function healthOfAll(states: readonly JsonValue[] | null): Health {
  const each = states?.map(healthOfState) ?? ['unknown'];
  if (each.includes('unhealthy')) return 'unhealthy';
  return each.includes('unknown') ? 'unknown' : 'healthy';
}

function healthOfState(state: JsonValue): Health {
  if (!isJsonObject(state)) return 'unknown';
  const { Running: running, Restarting: restarting } = state;
  if (running !== true || restarting === true) return 'unhealthy';
  if (!hasCheck(state)) return 'healthy';
  const status = checkOf(state);
  return status === 'healthy' || status === 'unhealthy' ? status : 'unknown'; // starting
}

/** What the container's own check says; undefined: it has none. */
function checkOf(state: JsonValue): JsonValue | undefined {
  const health = isJsonObject(state) ? state['Health'] : undefined;
  const status = isJsonObject(health) ? health['Status'] : undefined;
  return status === '' || status === 'none' ? undefined : status;
}
const hasCheck = (state: JsonValue): boolean => checkOf(state) !== undefined;
const startOf = (state: JsonValue | undefined): JsonValue | undefined =>
  isJsonObject(state) ? state['StartedAt'] : undefined;

/** What docker says of each container's state; null: nothing that can be relied on. */
async function statesOf(tools: Tools, host: Host, names: string[]): Promise<JsonValue[] | null> {
  const argv = [dockerOf(host), 'inspect', '--type', 'container', '--format', '{{json .State}}'];
  const asked = await tools.look(host, [...argv, ...names]);
  if (!isGood(asked)) return null;
  try {
    const lines = asked.stdout.split('\n').filter((line) => line.trim() !== '');
    const states = lines.map((line) => JSON.parse(line) as JsonValue);
    return states.length === names.length ? states : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

const isGood = ({ exitCode, reason }: Asked): boolean => exitCode === 0 && reason === null;
