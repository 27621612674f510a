/** `<cell>/logs/mission.log`: what happened to a mission, for people; never read back. Lines follow the commit (P1). */
import { closeSync, fstatSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { faultPoint } from '../cells/durable.ts';
import { hasCode, mkdirInside, openInside } from '../cells/inside.ts';
import { cellPath } from '../cells/layout.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { CellPlaces } from './cell-places.ts';
import type { Mending } from './mendings.ts';
import type { CommittedRecord, SystemLog } from './system.ts';

const MAX_LOG_BYTES = 16 << 20;
/** Lines gather for so long, so that a busy mission costs few writes. */
const INTERVAL_MS = 100;

export class MissionLog {
  readonly #places: CellPlaces;
  readonly #log: SystemLog;
  readonly #pending = new Map<string, string[]>();
  #timer: NodeJS.Timeout | undefined;

  constructor(places: CellPlaces, log: SystemLog) {
    this.#places = places;
    this.#log = log;
  }

  record({ address, at, event, error }: CommittedRecord): void {
    const [kind, cellId = '', , agentId] = address.split('/');
    if (kind !== 'cell') return;
    const line = describeEvent(event, agentId);
    if (line === undefined) return;
    const refused = error ? ` (refused: ${error.message})` : '';
    this.#add(cellId, `${new Date(at).toISOString()} ${line}${refused}`);
  }

  /** Damage on disk that the node mended. */
  mended({ what, how, at }: Mending): void {
    const [kind, cellId = '', , agentId] = what.split('/');
    if (kind !== 'cell') return;
    const who = agentId === undefined ? 'the mission' : `agent ${agentId}`;
    this.#add(cellId, `${at} ${who}: ${how}; a new checkpoint is written`);
  }

  #add(cellId: string, line: string): void {
    const lines = this.#pending.get(cellId) ?? [];
    this.#pending.set(cellId, lines);
    lines.push(line.replaceAll('\n', ' '));
    this.#timer ??= setTimeout(() => this.flush(), INTERVAL_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [cellId, lines] of this.#pending) this.#write(cellId, `${lines.join('\n')}\n`);
    this.#pending.clear();
  }

  #write(cellId: string, text: string): void {
    const root = this.#places.folderOf(cellId);
    if (root === undefined) return;
    try {
      mkdirInside(root, 'logs');
      const fd = openInside(root, cellPath.missionLog, 'a');
      try {
        faultPoint('mission-log.before-write');
        writeSync(fd, text);
        faultPoint('mission-log.after-write');
        const path = join(root, cellPath.missionLog);
        if (fstatSync(fd).size > MAX_LOG_BYTES) renameSync(path, `${path}.1`);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      if (!hasCode(error, 'ENOENT'))
        this.#log.warn({ cellId, error: String(error) }, 'mission log not written');
    }
  }
}

/** An event for people, in a line; undefined: not worth one. */
export function describeEvent(
  event: { type: string } & JsonObject,
  agentId: string | undefined,
): string | undefined {
  const task = `task ${text(event['taskId'])}`;
  if (agentId !== undefined) {
    if (event.type === 'worker.started')
      return `agent ${agentId}: worker started, pid ${text(event['pid'])}`;
    if (event.type === 'xstate.done.actor.worker')
      return `agent ${agentId}: worker gone, ${JSON.stringify(event['output'])}`;
    if (event.type === 'agent.revive')
      return `agent ${agentId}: revival ${text(event['revivalId'])} begins`;
    return undefined;
  }
  switch (event.type) {
    case 'actor.spawned':
      return 'mission taken in';
    case 'files.changed':
      return `files: ${(event['changes'] as { path: string }[]).map(({ path }) => path).join(', ')}`;
    case 'task.progressed':
      return `${task}: ${text(event['stepsDone'])} steps done, agent ${text(event['agentId'])}${event['step'] === null ? '' : `, now ${text(event['step'])}`}`;
    case 'task.finished':
      return `${task}: ${text(event['outcome'])}${event['error'] ? `, ${(event['error'] as { message: string }).message}` : ''}`;
    case 'agent.reported':
      return `agent ${text(event['agentId'])}: ${text(event['status'])}${event['reason'] === null ? '' : `, ${text(event['reason'])}`}`;
    case 'task.doubted':
      return `${task}: in doubt, ${text(event['reason'] ?? 'settled')}`;
    case 'agent.substitute':
      return `agent ${text(event['agentId'])}: its task is to go to ${(event['substitutes'] as string[]).join(' or ')}`;
    case 'agent.strayed':
      return `agent ${text(event['agentId'])}: is told what it has in hand`;
    case 'xstate.done.actor.deadline':
      return 'timeout';
    case 'xstate.done.actor.criteria':
      return `success criteria: ${JSON.stringify(event['output'])}`;
    default:
      return /^(cell|agent|task|criterion)\./.test(event.type) &&
        event.type !== 'agent.checkpointed'
        ? `${event.type} ${text(event['taskId'] ?? event['agentId'] ?? event['name'])}`.trim()
        : undefined;
  }
}

function text(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
}
