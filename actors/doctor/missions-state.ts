/** What lies in the missions folder of a node that runs, or of one that is gone: lock, node file, socket, secrets. */
import { lstatSync, readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { controlSocketPath } from '../../bus/control-socket.ts';
import { hasCode } from '../../cells/inside.ts';
import { missionsLayout } from '../../cells/layout.ts';
import { isJsonObject } from '../../machines/json.ts';
import { pidAlive } from '../processes.ts';
import { asRoot, needed, ok, warn } from './check.ts';
import type { Probe } from './check.ts';
import { lockState } from './lock-holder.ts';

export function missionsStateProbes(missionsDir: string): Probe[] {
  return [
    { group: 'missions', name: 'lock', look: () => lookAtLock(missionsDir) },
    { group: 'missions', name: 'control socket', look: () => lookAtSocket(missionsDir) },
    { group: 'missions', name: 'secrets', look: () => lookAtSecrets(missionsDir) },
    { group: 'missions', name: 'newest write', look: () => lookAtTimes(missionsDir) },
  ];
}

/** The pid in node.json, of a process that lives. */
export function runningNode(missionsDir: string): number | null {
  const pid = pidInNodeFile(missionsDir);
  return pid !== null && pidAlive(pid, null) ? pid : null;
}

function pidInNodeFile(missionsDir: string): number | null {
  try {
    const file: unknown = JSON.parse(readFileSync(missionsLayout(missionsDir).node, 'utf8'));
    const pid = isJsonObject(file) ? file['pid'] : undefined;
    return typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null; // absent or damaged: the lock tells whether somebody runs
  }
}

function lookAtLock(missionsDir: string) {
  const { lock, node } = missionsLayout(missionsDir);
  const state = lockState(lock);
  const named = pidInNodeFile(missionsDir);
  if (state.kind === 'free') {
    if (named === null) return ok('free: no node runs here');
    return warn(
      `free, and ${node} names pid ${named}: that node was killed`,
      'lazarus up   (or rm it)',
    );
  }
  const holder = state.pid ?? named;
  if (holder === null) return warn('held by a process that cannot be seen from here', null);
  if (named === holder) return ok(`held by the node that runs, pid ${holder}`);
  if (named === null) return ok(`held by pid ${holder}: a node that starts or stops, or a verb`);
  return warn(`held by pid ${holder}, while ${node} names ${named}`, `ps -p ${holder}`);
}

async function lookAtSocket(missionsDir: string) {
  const path = controlSocketPath(missionsLayout(missionsDir).own);
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return ok('none: no node runs here');
  if (!stats.isSocket()) return needed(`${path} is no socket, and in its place`, `rm ${path}`);
  const isLoose = (stats.mode & 0o077) !== 0 && (lstatSync(dirname(path)).mode & 0o077) !== 0;
  if (isLoose) return warn(`${path} is open to other users`, `chmod 600 ${path}`);
  if (await answers(path)) return ok(`${path} answers`);
  const isStale = lockState(missionsLayout(missionsDir).lock).kind === 'free';
  if (!isStale) return warn(`${path} does not answer, though a node runs`, 'lazarus status');
  return warn(`${path} was left by a node that is gone`, `rm ${path}   (\`up\` does it, too)`);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.setTimeout(1000, () => probe.destroy());
    probe.once('connect', () => probe.end(() => resolve(true)));
    probe.once('error', () => resolve(false));
    probe.once('close', () => resolve(false)); // after an answer: too late to matter
  });
}

const SECRET = /token|secret|password|creds|^node\.json$/;

/** Files that let in whoever can read them. */
function lookAtSecrets(missionsDir: string) {
  const { own } = missionsLayout(missionsDir);
  let names: string[];
  try {
    names = readdirSync(own);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return ok('none yet');
    throw error;
  }
  const ownMode = lstatSync(own).mode & 0o777;
  if ((ownMode & 0o022) !== 0) return needed(`${own} can be written by others`, `chmod 700 ${own}`);
  const secret = names.filter((name) => SECRET.test(name)).map((name) => join(own, name));
  const open = secret.filter((path) => {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    return stats?.isFile() === true && (stats.mode & 0o077) !== 0;
  });
  if (open.length > 0)
    return warn(`open to others: ${open.join(', ')}`, `chmod 600 ${open.join(' ')}`);
  return ok(`${secret.length === 0 ? 'none' : secret.length}; ${own} is this user's`);
}

/** A clock that was put back: what is stamped now would be older than what is there. */
const TOLERANCE_MS = 5000;

function lookAtTimes(missionsDir: string) {
  const { journal, index, epoch } = missionsLayout(missionsDir);
  const times = [journal, index, epoch].map(
    (path) => lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0,
  );
  const newest = Math.max(...times);
  if (newest === 0) return ok('nothing was written yet');
  const aheadMs = newest - Date.now();
  const at = new Date(newest).toISOString();
  if (aheadMs <= TOLERANCE_MS) return ok(at);
  return warn(
    `${at}: ${Math.round(aheadMs / 1000)} s in the future`,
    asRoot('timedatectl set-ntp true'),
  );
}
