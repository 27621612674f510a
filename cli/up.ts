/**
 * `lazarus up`: the runtime, until a signal. The first SIGINT or SIGTERM drains and exits 0, a second one exits at once.
 */
import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { controlSocketPath } from '../bus/control-socket.ts';
import { openControlDoor } from '../actors/control-door.ts';
import { describeEvent } from '../actors/mission-log.ts';
import { MissionNode } from '../actors/node.ts';
import { missionsLayout } from '../cells/layout.ts';
import { RuntimeError } from '../machines/errors.ts';
import { readNodeFile } from './access.ts';
import { act, verb } from './command.ts';
import { LEVEL_NAMES, levelOf, stdoutLog } from './log.ts';
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
  ).option('--log-level <level>', `one of ${LEVEL_NAMES}`, 'info');
  return act<{ logLevel: string }>(up, async (_args, flags) => {
    const level = levelOf(flags.logLevel);
    return runNode(makeMissions(flags.missions), level, flags);
  });
}

export async function runNode(missions: Missions, level: string, flags: Flags): Promise<number> {
  const log = await stdoutLog(level, flags);
  const stopping = Promise.withResolvers<void>();
  onStop((signal, times) => {
    if (times > 1) process.exit(statusOf(signal));
    log.info(
      { signal },
      'draining: steps in hand finish, then everything is saved; again to exit at once',
    );
    stopping.resolve();
  });
  const node = await startNode(missions, log);
  sayWhatHappens(node, log);
  log.info(
    {
      missions: missions.dir,
      because: missions.because,
      pid: process.pid,
      control: controlSocketPath(missionsLayout(missions.dir).own),
      version: VERSION,
      drop_a_mission: `cp examples/hello.json ${missions.dir}/`,
    },
    'node runs: a mission dropped into the missions folder starts at once',
  );
  await stopping.promise;
  await node.stop();
  log.info({ missions: missions.dir }, 'node stopped cleanly');
  process.exit(DONE);
}

async function startNode(missions: Missions, log: Log): Promise<MissionNode> {
  const deadline = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return await MissionNode.start({
        missionsDir: missions.dir,
        log,
        version: VERSION,
        openDoors: async (node) => [await openControlDoor(node, log)],
      });
    } catch (error) {
      const isLocked = error instanceof RuntimeError && error.code === 'NODE_LOCKED';
      if (!isLocked || performance.now() > deadline || isHeldByAnother(missions)) throw error;
      await sleep(50);
    }
  }
}

/** A node that lives says so in node.json; one that is gone left a pid that is nobody's. */
function isHeldByAnother(missions: Missions): boolean {
  const pid = readNodeFile(missions)?.pid;
  if (pid === undefined) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
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
    if (!TOLD.has(event.type)) return;
    const [, cellId, , agentId] = address.split('/');
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
