/**
 * A real node in a process of its own. Argument: the missions folder. Says `up` when it accepts work, then answers
 * questions.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MissionNode } from '../../actors/node.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { cellAddress } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { serve, tell } from './child.ts';
import { silent } from './kernel.ts';
import { durableLoad } from './load.ts';
import { stepEvent, tickMachine } from './machine.ts';
import { failTogether, idleFor } from './supervised.ts';

export type Question =
  | { t: 'rss' }
  /** Makes these actors and gives them so many events; answers when upkeep has had its turn and the tail is there. */
  | { t: 'history'; addresses: string[]; events: number; tail: number }
  /** Each of these actors takes one durable event; answers how many did. */
  | { t: 'answer'; addresses: string[] }
  /** Reads every agent there is, a slice at a time; answers how many. */
  | { t: 'agents' }
  /** CPU time and memory while nothing is asked of it. */
  | { t: 'idle'; ms: number }
  /** Every agent fails at the same moment, and comes back. */
  | { t: 'fail together' }
  /** Answers when the first agent of each of these cells is known under this name. */
  | { t: 'renamed'; cellIds: string[]; name: string };

const [missionsDir = ''] = process.argv.slice(2);
const node = await MissionNode.start({
  missionsDir,
  log: silent,
  version: 'bench',
  kernel: { registry: machineRegistry().register({ machine: tickMachine }) },
});
const { system } = node.kernel;

async function answer(question: Question): Promise<unknown> {
  switch (question.t) {
    case 'rss':
      return process.memoryUsage.rss();
    case 'history':
      return makeHistory(question);
    case 'answer':
      await Promise.all(question.addresses.map((address) => system.send(address, stepEvent(0))));
      return question.addresses.length;
    case 'agents':
      return readAgents();
    case 'idle':
      return idleFor(question.ms);
    case 'fail together':
      return failTogether(node);
    case 'renamed':
      return untilRenamed(question);
    default:
      return question satisfies never;
  }
}

/** Segments of the journal that may be left when upkeep has done its work, in bytes: one closed, one being written. */
const UPKEPT_BYTES = 16 << 20;

async function makeHistory({
  addresses,
  events,
  tail,
}: Extract<Question, { t: 'history' }>): Promise<number> {
  await Promise.all(addresses.map((address) => system.spawn(address, 'tick', {})));
  const inFlight = addresses.length;
  let count = 0;
  while (count < events)
    count += (await durableLoad(system, addresses, { inFlight, ms: 100 })).count;
  while (node.kernel.journalBytes() > UPKEPT_BYTES)
    await new Promise((resolve) => setTimeout(resolve, 100));
  for (let n = 0; n < tail; n += inFlight)
    await Promise.all(addresses.map((address) => system.send(address, stepEvent(n))));
  return count + tail;
}

async function inSlices<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
  let since = performance.now();
  for (const item of items) {
    work(item);
    if (performance.now() - since < 10) continue;
    await nextTurn();
    since = performance.now();
  }
}

async function readAgents(): Promise<number> {
  const agents = [...system.actors.keys()].filter((address) => address.includes('/agent/'));
  let count = 0;
  await inSlices(agents, (address) => (count += system.read(address).seq > 0 ? 1 : 0));
  return count;
}

async function untilRenamed({
  cellIds,
  name,
}: Extract<Question, { t: 'renamed' }>): Promise<number> {
  const left = new Set(cellIds);
  while (left.size > 0) {
    for (const cellId of left) {
      const { files } = system.read(cellAddress(cellId)).snapshot.context as CellContext;
      if (files['agents/a0.json']?.people['name'] === name) left.delete(cellId);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return cellIds.length;
}

serve(
  (question) => answer(question as Question),
  () => node.stop(),
);
tell('up');
