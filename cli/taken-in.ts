/** A file was written; has the node that runs taken it in? Told, so that the next command of a script finds it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { callVerb } from '../bus/control-client.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { StatusView } from '../actors/status.ts';
import { NOT_YET, TAKEN_IN } from '../actors/additions.ts';
import { readNodeFile } from './access.ts';
import type { Missions } from './missions.ts';

const PATIENCE_MS = 5000;
const POLL_MS = 20;

/** `no node`: it is taken in at the next start. `waiting`: a node runs and has not come to it. */
export type TakenIn = 'yes' | 'no node' | 'waiting';

export async function waitTakenIn(
  missions: Missions,
  isThere: (view: StatusView) => boolean,
): Promise<TakenIn> {
  const node = readNodeFile(missions);
  if (node === undefined) return 'no node';
  const deadline = performance.now() + PATIENCE_MS;
  try {
    while (performance.now() < deadline) {
      const view = (await callVerb(node.control, 'status', {})) as unknown as StatusView;
      if (isThere(view)) return 'yes';
      await sleep(POLL_MS);
    }
    return 'waiting';
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'NOT_RUNNING') return 'no node';
    throw error;
  }
}

export const WORDS: Record<TakenIn, string> = {
  yes: TAKEN_IN,
  'no node': 'no node runs: it is taken in at the next `lazarus up`',
  waiting: NOT_YET,
};
