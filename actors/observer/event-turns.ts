/**
 * Which folder of event files is read next. What is read out of its time may come too late to count: of each thing only the
 * newest events are kept one by one (machines/observed-timeline.ts).
 */
import type { EventFolder } from './event-folders.ts';

/** The next one; undefined: nothing is left in any. */
type Turns = () => EventFolder | undefined;

export const isOpen = ({ unread, hasLines }: EventFolder): boolean => unread.length > 0 || hasLines;

/** Day by day, and within a day hosts in turn. `folders`: the oldest day first. */
export function inOrder(folders: readonly EventFolder[]): Turns {
  const days = Map.groupBy(folders, ({ key }) => key.slice(0, 10));
  const queues = [...days.values()].map(inTurns);
  return () => {
    for (; queues.length > 0; queues.shift()) {
      const folder = queues[0]?.();
      if (folder !== undefined) return folder;
    }
    return undefined;
  };
}

/** Hosts in turn, so that none waits for another's; of a host one folder after the other. Each is given until nothing is left in it. */
export function inTurns(folders: readonly EventFolder[]): Turns {
  const queues = [...Map.groupBy(folders, ({ host }) => host).values()];
  return () => {
    for (let tries = queues.length; tries > 0; tries -= 1) {
      const queue = queues.shift();
      if (queue === undefined) return undefined;
      while (queue[0] !== undefined && !isOpen(queue[0])) queue.shift();
      const [folder] = queue;
      if (folder === undefined) continue;
      queues.push(queue);
      return folder;
    }
    return undefined;
  };
}
