/**
 * How a verb of the command line reaches the missions: through the control socket of the node that runs, or, when none
 * does, by itself.
 *
 * W1 Reading folds the journal and changes nothing (actors/offline.ts).
 * W2 Changing something visits: a node is started under the lock that starts no effects, does the one thing, and stops.
 * W3 A node that is just starting or stopping holds the lock and does not answer: it is waited for, within a bound.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { callVerb } from '../bus/control-client.ts';
import { missionsLayout } from '../cells/layout.ts';
import { isLocked } from '../cells/lock.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import type { NodeInfo } from '../actors/status.ts';
import { requireMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { VERSION } from './version.ts';

const WAIT_FOR_NODE_MS = 10_000;
/** A node that takes the connection and says nothing for so long is shown as unreachable. */
const READ_TIMEOUT_MS = 10_000;
const MOVE_TIMEOUT_MS = 3_600_000;
const STARTING: Partial<NodeInfo> = {
  state: 'starting',
  reason:
    'the lock is held and nobody answers yet: a node replays its journal, or a command is at work',
};

interface NodeFile {
  pid: number;
  version: string;
  control: string;
  missions?: string;
  runtime?: string | null;
  redis?: string | null;
}

/** What node.json says; undefined when there is none, or it names no socket. */
export function readNodeFile({ dir }: Missions): NodeFile | undefined {
  let text: string;
  try {
    text = readFileSync(missionsLayout(dir).node, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new RuntimeError(`${missionsLayout(dir).node} cannot be read: ${String(cause)}`, {
      code: 'CONFLICT',
      cause,
      hint: 'Run the command as the user who runs the node.',
    });
  }
  try {
    const file = JSON.parse(text) as Partial<NodeFile>;
    if (typeof file.pid !== 'number' || typeof file.control !== 'string') return undefined;
    if (isElsewhere(file.missions, dir)) return undefined; // copied with its folder: that node runs on the original
    return { version: '', ...file } as NodeFile;
  } catch {
    return undefined; // damaged by hand: the lock tells whether somebody runs
  }
}

/** A folder that a container or another host knows under a name of its own is not told from a copy: it is taken as it says. */
function isElsewhere(missions: string | undefined, dir: string): boolean {
  try {
    return missions !== undefined && realpathSync(missions) !== realpathSync(dir);
  } catch {
    return false; // no such folder here
  }
}

/** W1. */
export async function read(missions: Missions, verb: string, input: JsonValue): Promise<JsonValue> {
  requireMissions(missions);
  const node = readNodeFile(missions);
  let found: Partial<NodeInfo> = {};
  if (node) {
    try {
      return await callVerb(node.control, verb, input, { timeoutMs: READ_TIMEOUT_MS });
    } catch (error) {
      found = whyNotAnswered(error, node);
    }
  }
  if (found.state === undefined && isLocked(missionsLayout(missions.dir).lock)) found = STARTING;
  const [{ readOffline }, { readVerb }, { plannedConfig }] = await Promise.all([
    import('../actors/offline.ts'),
    import('../actors/control.ts'),
    import('./config-source.ts'),
  ]);
  const known = { version: VERSION, ...found };
  const reader = await readOffline(missions.dir, known, await plannedConfig());
  return readVerb(reader, verb, input);
}

/** W2. The name of who asks is added. */
export async function write(
  missions: Missions,
  verb: string,
  input: Record<string, JsonValue>,
): Promise<JsonValue> {
  requireMissions(missions);
  const signed = { ...input, by: whoAsks() };
  const deadline = performance.now() + WAIT_FOR_NODE_MS;
  for (;;) {
    try {
      const node = readNodeFile(missions);
      if (node) return await callVerb(node.control, verb, signed, patienceFor(verb));
    } catch (error) {
      if (!isCode(error, 'NOT_RUNNING')) throw error;
    }
    if (verb === 'agent.kill')
      throw new RuntimeError(`no node runs on ${missions.dir}, so no agent has a worker`, {
        code: 'NOT_RUNNING',
        hint: 'Start one: `lazarus up`.',
      });
    try {
      return await visit(missions, verb, signed);
    } catch (error) {
      if (!isCode(error, 'NODE_LOCKED') || performance.now() > deadline) throw error; // W3
      await sleep(100);
    }
  }
}

/** A mission that moves is copied, file by file. */
const patienceFor = (verb: string): { timeoutMs?: number } =>
  verb === 'cell.export' || verb === 'cell.import' ? { timeoutMs: MOVE_TIMEOUT_MS } : {};

async function visit(missions: Missions, verb: string, input: JsonValue): Promise<JsonValue> {
  const [{ MissionNode }, { runVerb }, { stderrLog }] = await Promise.all([
    import('../actors/node.ts'),
    import('../actors/control.ts'),
    import('./log.ts'),
  ]);
  const node = await MissionNode.start({
    missionsDir: missions.dir,
    log: stderrLog('error'),
    version: VERSION,
    effects: false,
  });
  try {
    await node.scanned;
    return await runVerb(node, verb, input);
  } finally {
    await node.stop();
  }
}

/** P9: what is known of a node that did not answer. Throws again what is not about that. */
function whyNotAnswered(error: unknown, { pid }: NodeFile): Partial<NodeInfo> {
  if (isCode(error, 'BUSY'))
    return { state: 'unreachable', pid, reason: (error as RuntimeError).message };
  if (isCode(error, 'OUTCOME_UNKNOWN')) return {}; // it died while it was asked
  if (!isCode(error, 'NOT_RUNNING')) throw error;
  // The socket goes shortly before the process, on a clean stop; after a crash it lies there and refuses.
  const isStopping = (error as RuntimeError).details['reason'] === 'absent' && isAlive(pid);
  return isStopping ? { state: 'stopping', pid } : {};
}

const isCode = (error: unknown, code: string): boolean =>
  error instanceof RuntimeError && error.code === code;

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** For the record. */
export function whoAsks(): string {
  try {
    return `${userInfo().username} (command line)`;
  } catch {
    return `uid ${process.getuid?.() ?? '?'} (command line)`; // a user without an entry in passwd
  }
}
