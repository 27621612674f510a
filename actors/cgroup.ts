/**
 * A control group for each worker, where the host lets us make one (cgroup v2, Linux 5.14 or newer, root or a delegated
 * group). Whatever a worker starts is in its group and cannot leave it by detaching, double forks, setsid or a cleared
 * environment; one write ends all of it.
 *
 * G1 A worker goes into its group by itself and starts nothing before it is there, so nothing of it was ever outside. The host
 *    does not move it: the kernel may take 15 ms for that, in which the host would do nothing else.
 * G2 The groups of a node stand below one of its own, named by the node: what an earlier life left is ended there.
 * G3 Nobody removes a group of another node, not even an empty one: a worker may be on its way into it.
 *
 * Not caught: a step with the right to write to other groups (root) that moves itself there.
 */
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../cells/inside.ts';

const PREFIX = 'lazarus-';
/** How long killed processes may take to vanish before we say that they did not. */
const KILL_WAIT_MS = 5000;

export class Cgroups {
  readonly #base: string;

  private constructor(base: string) {
    this.#base = base;
  }

  /** Null where the host gives none. */
  static open(nodeId: string): Cgroups | null {
    const parent = ownGroup();
    if (parent === undefined) return null;
    const cgroups = new Cgroups(join(parent, `${PREFIX}${nodeId}`));
    return cgroups.#isUsable() ? cgroups : null;
  }

  /** The group of a worker, as a path: it goes there by itself (G1). Null when none can be made. */
  make(workerId: string): string | null {
    const group = join(this.#base, workerId);
    try {
      mkdirSync(group, { recursive: true });
      return group;
    } catch {
      return null; // the right to it is gone: then the tree is ended by other means, as before
    }
  }

  /** Ends all that is in a worker's group, and the group. Resolves with the pids that are still there. */
  end(workerId: string): Promise<number[]> {
    return endGroup(join(this.#base, workerId));
  }

  /** G2: everything of this node. */
  async endAll(): Promise<number[]> {
    return (await Promise.all(subgroups(this.#base).map(endGroup))).flat();
  }

  /** Of a node whose workers are gone. What cannot be removed yet its next life removes (G2). */
  close(): void {
    for (const group of subgroups(this.#base)) removeEmpty(group);
    removeEmpty(this.#base);
  }

  #isUsable(): boolean {
    try {
      mkdirSync(this.#base, { recursive: true });
      return readdirSync(this.#base).includes('cgroup.kill');
    } catch {
      return false; // no right to it, or a file system that is read-only: what a host does not give is no error
    }
  }
}

async function endGroup(group: string): Promise<number[]> {
  const deadline = performance.now() + KILL_WAIT_MS;
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 25)) {
    try {
      const left = pidsIn(group);
      if (left.length === 0) {
        void removeSoon(group);
        return [];
      }
      if (performance.now() >= deadline) return left;
      writeFileSync(join(group, 'cgroup.kill'), '1');
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENODEV')) return []; // removed
      throw error;
    }
    await sleep(waitMs);
  }
}

/** A group can be removed when the last trace of its processes is gone; what they were can do nothing any more. */
async function removeSoon(group: string): Promise<void> {
  for (let waitMs = 1; waitMs < 1000; waitMs *= 2) {
    if (removeEmpty(group)) return;
    await sleep(waitMs, null, { ref: false });
  }
}

const pidsIn = (group: string): number[] =>
  readFileSync(join(group, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean).map(Number);

/** False while it holds a process, also one that is about to vanish. */
function removeEmpty(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    return hasCode(error, 'ENOENT');
  }
}

function subgroups(group: string): string[] {
  try {
    return readdirSync(group, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(group, name));
  } catch {
    return []; // it is not there, or not ours to see
  }
}

/** This process's own group of the v2 hierarchy, as a path; undefined where there is none. */
function ownGroup(): string | undefined {
  try {
    const line = readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(\/.*)$/m)?.[1];
    const mount = readFileSync('/proc/self/mountinfo', 'utf8').match(
      /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m,
    )?.[1];
    return line === undefined || mount === undefined ? undefined : join(mount, line);
  } catch {
    return undefined; // no Linux
  }
}
