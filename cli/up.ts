/**
 * `lazarus up`: the runtime, until a signal. The first SIGINT or SIGTERM drains and exits 0, a second one exits at once.
 */
import type { Command } from 'commander';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { controlSocketPath } from '../bus/control-socket.ts';
import { openControlDoor } from '../actors/control-door.ts';
import { openHttpDoor } from '../actors/http-door.ts';
import type { HttpDoor } from '../actors/http-door.ts';
import { openNatsDoor } from '../actors/nats-door.ts';
import { openInspectorDoor } from '../actors/inspector-door.ts';
import { describeEvent } from '../actors/mission-log.ts';
import { MissionNode } from '../actors/node.ts';
import type { OpenDoor } from '../actors/node.ts';
import { unsubscribePlanner } from '../actors/planner/bridge-subscription.ts';
import { missionsLayout } from '../cells/layout.ts';
import { httpAddress, isAskedFor } from '../machines/daemon-config.ts';
import type { EffectiveConfig } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import { isAlive, readNodeFile } from './access.ts';
import { act, CONFIG_OPTION, verb } from './command.ts';
import { configSource, followConfig } from './config-source.ts';
import { loadForStart, pinoLevel } from './config-source.ts';
import type { ConfigFlags, ConfigSource, Loaded } from './config-source.ts';
import { LEVEL_NAMES, stdoutLog } from './log.ts';
import type { Log } from './log.ts';
import { makeMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { DONE } from './output.ts';
import type { Flags } from './output.ts';
import { onStop, statusOf } from './signals.ts';
import { VERSION } from './version.ts';

/** A predecessor that was just killed may hold the lock for a moment longer. */
const LOCK_PATIENCE_MS = 1500;

export function command(): Command {
  const up = verb(
    'up',
    'Run the missions of a folder until stopped.',
    'lazarus up --missions ./var/missions',
  )
    .option(...CONFIG_OPTION)
    .option('--http <address>', 'HOST:PORT of the HTTP gateway, or off (default: 127.0.0.1:8080)')
    .option('--http-allowed-hosts <names>', 'by which others may call it, separated by commas')
    .option('--inspector <who>', 'who may watch: on (this machine), off, network (default: on)')
    .option('--redis <url>', 'Redis server that is bridged to, or off (default: off)')
    .option('--nats <place>', 'embedded, off, or the URL of a server (default: embedded)')
    .option('--runtime [dir]', 'folder shared with the homelab (default: off; alone: /opt/homelab)')
    .option('--inventory <dir>', 'what should run where (default: inventory in the runtime folder)')
    .option('--observer <mode>', 'write down what is observed: auto, on or off (default: auto)')
    .option('--executor <mode>', 'approved actions: on, dry-run or off (default: off)')
    .option('--log-level <level>', `one of ${LEVEL_NAMES} (default: info)`);
  return act<ConfigFlags>(up, async (_args, flags) => {
    const source = configSource(flags);
    const loaded = await loadForStart(source);
    return runNode(makeMissions(flags.missions, source.place), { source, ...loaded }, flags);
  });
}

type Configured = Loaded & { source: ConfigSource };

async function runNode(
  missions: Missions,
  { source, config, seen }: Configured,
  flags: Flags,
): Promise<number> {
  const log = await stdoutLog(pinoLevel(config), flags);
  const stopping = Promise.withResolvers<void>();
  onStop((signal, times) => {
    if (times > 1) process.exit(statusOf(signal));
    log.info(
      { signal },
      'draining: steps in hand finish, then everything is saved; again to exit at once',
    );
    stopping.resolve();
  });
  const node = await startNode(missions, config, log);
  const following = followConfig(node, log, source, seen);
  sayWhatHappens(node, log);
  log.info(
    {
      missions: missions.dir,
      because: missions.because,
      pid: process.pid,
      control: controlSocketPath(missionsLayout(missions.dir).own),
      version: VERSION,
      config: source.place.file,
      drop_a_mission: `cp examples/hello.json ${missions.dir}/`,
    },
    'node runs: a mission dropped into the missions folder starts at once',
  );
  await stopping.promise;
  following?.stop();
  await node.stop();
  log.info({ missions: missions.dir }, 'node stopped cleanly');
  process.exit(DONE);
}

async function startNode(
  missions: Missions,
  config: EffectiveConfig,
  log: Log,
): Promise<MissionNode> {
  const deadline = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return await MissionNode.start({
        missionsDir: missions.dir,
        log,
        version: VERSION,
        config,
        openDoors: (node) => openDoors(node, config, log),
      });
    } catch (error) {
      const isLocked = error instanceof RuntimeError && error.code === 'NODE_LOCKED';
      if (!isLocked || performance.now() > deadline || isHeldByAnother(missions)) throw error;
      await sleep(50);
    }
  }
}

/** All of them or none. Throws RuntimeError CONFLICT when an address that was asked for cannot be had. */
async function openDoors(
  node: MissionNode,
  config: EffectiveConfig,
  log: Log,
): Promise<OpenDoor[]> {
  const doors: OpenDoor[] = [];
  const address = httpAddress(config.values.http);
  try {
    let http: HttpDoor | undefined;
    if (address !== undefined && address !== 'off') {
      http = await openHttpDoor(node, { ...address, isAskedFor: isAskedFor(config, 'http'), log });
      doors.push(http);
    }
    doors.push(openInspectorDoor(node, { mode: config.values.inspector, http, log }));
    const { nats, nats_options: natsOptions } = config.values;
    const modelDoor = nextTurn().then(() => import('../actors/model-door.ts')); // while a server starts
    const bus = await openNatsDoor(node, { nats, options: natsOptions, log });
    doors.push(bus);
    const { redis_url: redisUrl, runtime_path: runtime } = config.values;
    const redis = redisUrl === 'off' ? {} : { redisUrl };
    const { openModelDoor } = await modelDoor;
    const models = openModelDoor(node, { environment: process.env, log, ...redis });
    doors.push(models);
    if (runtime === 'off') await unsubscribePlanner(node.kernel.system);
    else {
      const { openRemediationDoors } = await import('./remediation-doors.ts'); // most nodes need none of it
      const { router } = models;
      const options = { config: config.values, router, bus: bus.bus, hosts: bus.hosts, log };
      doors.push(...(await openRemediationDoors(node, options)));
    }
    if (redisUrl !== 'off') {
      const { openRedisDoor } = await import('../actors/redis-door.ts');
      doors.push(await openRedisDoor(node, { url: redisUrl, log })); // last: nobody misses what is heard first
    }
    doors.push(await openControlDoor(node, log));
    return doors;
  } catch (error) {
    await Promise.all(doors.map((door) => door.close()));
    throw error;
  }
}

/** A node that lives says so in node.json; one that is gone left a pid that is nobody's. */
function isHeldByAnother(missions: Missions): boolean {
  const pid = readNodeFile(missions)?.pid;
  return pid !== undefined && isAlive(pid);
}

/** The log of the node is for operators: starts, ends and faults, not each step. */
const TOLD = new Set([
  'actor.spawned',
  'task.finished',
  'task.doubted',
  'agent.reported',
  'agent.revive',
]);

function sayWhatHappens(node: MissionNode, log: Log): void {
  const { system } = node.kernel;
  system.on('committed', ({ address, event, error }) => {
    const [kind, cellId, , agentId] = address.split('/');
    if (kind !== 'cell' || !TOLD.has(event.type)) return;
    const text = describeEvent(event, agentId);
    if (text === undefined) return;
    if (error) log.warn({ cellId, error: error.message }, text);
    else log.info({ cellId }, text);
  });
  system.on('held', (address, reason) => {
    if (address !== 'node') return;
    log.fatal({ reason }, 'THE JOURNAL CANNOT BE WRITTEN: nothing new is taken until it can');
    process.stderr.write(`Error: the journal cannot be written: ${reason}\n`);
    process.stderr.write(
      'Try: free disk space or mend the disk; the node goes on by itself then.\n',
    );
  });
  system.on('released', (address) => {
    if (address === 'node') log.info({}, 'the journal can be written again: the node goes on');
  });
}
