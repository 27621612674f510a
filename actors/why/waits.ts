/** What an actor waits for, in words and with the time: its timers and its effects under way. */
import { isJsonObject } from '../../machines/json.ts';
import type { JsonValue } from '../../machines/json.ts';
import type { Invoke } from '../../machines/persisted.ts';
import type { ActorView } from '../verbs/verb.ts';
import type { WhyReader } from './explanation.ts';
import { isoOf } from './explanation.ts';
import type { Next } from './explanation.ts';

/** By `<machine>.<invoke id>`. */
const TIMERS: Record<string, string> = {
  'lazarus.backoff': 'the next revival begins',
  'lazarus.deadline': 'the revival counts as failed unless it is verified by then (revive_timeout)',
  'lazarus.turn': 'the agent is asked whether its worker still waits its turn to start',
  'lazarus.expiry': 'the question to a person lapses (ask_expires)',
  'lazarus.patience': 'a person is asked, unless a substitute has the task by then',
  'lazarus.ledgerRetry': 'the ledger entry is written, tried again',
  'agent.deadline': 'the task runs into its timeout',
  'agent.interval': 'the next regular checkpoint of its context',
  'agent.spareTime': 'its spare worker is ended',
  'action.expiry': 'its approval lapses (approval_expires): its file goes back to pending/',
  'action.deadline': 'it counts as failed unless its service is reported healthy by then',
  'action.retry': 'its result is written into its file, tried again',
  'gate.look': 'the gate looks again who may run',
  'incident.cooldown': 'its next event is diagnosed (COOLDOWN_SECONDS)',
  'incident.patience': 'its action is asked again whether its file is written',
  'incident.announceAgain': 'its event file is written, tried again',
  'cell.deadline': 'the mission runs into its timeout',
};

/** What an actor is at by itself all the time: nobody waits for what comes of it. */
const UPKEEP: readonly string[] = ['interval', 'spareTime', 'worker', 'periodicContext'];

/** By `src`: what happens next when such an effect ends. */
const NEXT: Record<string, string> = {
  writeContext: 'what it knows is written to disk',
  verifyRevival: 'it is verified that the agent is whole again',
  finishTask: 'the declared outputs are looked for',
  writeLedger: 'the ledger gets its line',
  fileRequest: 'the request goes to its folder',
  writePending: 'its file is written to pending/',
  moveFile: 'its file goes to its next folder',
  planRun: 'its driver says how it would be run',
  runAction: 'its run ends',
  awaitHealthy: 'its service is seen healthy',
  diagnose: 'a model answers, or none does',
  writeEvent: 'its event file is written',
};

/** Timers first, the earliest first. */
export function waitsOf(
  reader: WhyReader,
  actor: ActorView | { held: string } | undefined,
  { upkeep = false }: { upkeep?: boolean } = {},
): Next[] {
  if (actor === undefined || 'held' in actor) return [];
  const machine = actor.machine.split('@')[0] ?? '';
  const entries = Object.entries(actor.invokes).filter(([id]) => upkeep || !UPKEEP.includes(id));
  const timers = entries
    .filter(([, { src }]) => src === 'waitUntil')
    .map(([id, { input }]) => timerOf(reader, `${machine}.${id}`, input))
    .toSorted((a, b) => ((a.at ?? '~') < (b.at ?? '~') ? -1 : 1));
  const effects = entries.filter(([, { src }]) => src !== 'waitUntil');
  return [
    ...timers,
    ...effects.map(([, invoke]) => ({ at: null, what: nextWords(reader, actor, invoke) })),
  ];
}

/** `{at}` is the time itself; `{up}` counts only while a node runs. */
function timerOf(reader: WhyReader, name: string, input: JsonValue): Next {
  const what = TIMERS[name] ?? `timer ${name} ends`;
  if (isJsonObject(input) && typeof input['at'] === 'number')
    return { at: isoOf(input['at']), what };
  const up = isJsonObject(input) ? input['up'] : undefined;
  if (typeof up !== 'number') return { at: null, what };
  const clock = reader.clock();
  return clock
    ? { at: isoOf(clock.at + up - clock.up), what }
    : { at: null, what: `${what} (its time stands still while no node runs)` };
}

function nextWords(reader: WhyReader, { context }: ActorView, invoke: Invoke): string {
  const { src, input } = invoke;
  if (src !== 'runStep') return NEXT[src] ?? effectWords(invoke);
  const words = effectWords({ src, input });
  const { agentId, taskId } = isJsonObject(input) ? input : {};
  const isOpen = reader
    .inDoubt()
    .some(({ agent_id: agent, task_id: task }) => agent === agentId && task === taskId);
  if (isOpen) return `${words}: it is settled how it ended`;
  const { lost } = context as { lost?: unknown };
  return lost === undefined || lost === null
    ? `${words} ends`
    : `${words} goes on, once its agent is back`;
}

export function effectWords({ src, input, started }: Pick<Invoke, 'src' | 'input' | 'started'>) {
  const about = isJsonObject(input) ? input : {};
  const { step, taskId } = about;
  const name = isJsonObject(step) ? step['name'] : undefined;
  const began = started ? ', begun' : '';
  if (src === 'runStep') return `step ${nameOf(name)} of task ${nameOf(taskId)}${began}`;
  if (src === 'runWorker') return 'its worker process';
  return `effect ${src}${began}`;
}

const nameOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '?');
