/**
 * Every path name the runtime has on disk, in one place; cells/README.md says what each is for. Paths of a missions
 * folder are absolute, paths of a cell are relative to the cell's folder with forward slashes, because they are opened
 * through cells/inside.ts, which takes the folder and the rest apart.
 *
 * L1 Different names never meet in one file: what `encodeName` and `checkpointFolder` return is injective, but for the
 *    64 bits of SHA-256 that stand for the rest of an overlong name.
 */
import { join } from 'node:path';
import { ID_PATTERN, RESERVED_IDS } from '../machines/addresses.ts';
import type { FileKind } from '../machines/mission.ts';
import { sha256 } from './sha256.ts';

/** Marks the file that explains what is wrong with its neighbour: `cell.json.error`. */
export const ERROR_SUFFIX = '.error';

export const REVIVAL_STATES = ['pending', 'approved', 'rejected', 'expired'] as const;
export type RevivalState = (typeof REVIVAL_STATES)[number];

export interface MissionsLayout {
  root: string;
  /** `<missions>/.lazarus`: everything of ours that belongs to no single cell. */
  own: string;
  journal: string;
  lock: string;
  epoch: string;
  nodeId: string;
  node: string;
  /** What whoever calls the HTTP gateway must show (mode 0600). */
  httpToken: string;
  /** The server of the bus that is our own: configuration, store and credentials. */
  nats: string;
  /** How far the journal is on the bus. */
  outbox: string;
  /** How far events were taken from the bus, and which wait. */
  injected: string;
  /** The health report of the last poll. */
  health: string;
  /** Ids that registered themselves by a heartbeat. */
  guests: string;
  index: string;
  dropped: string;
  revivals: Record<RevivalState, string>;
  revivalLedger: string;
}

export function missionsLayout(missionsDir: string): MissionsLayout {
  const own = join(missionsDir, '.lazarus');
  const revivals = join(own, 'revivals');
  return {
    root: missionsDir,
    own,
    journal: join(own, 'journal'),
    lock: join(own, 'lock'),
    epoch: join(own, 'epoch'),
    nodeId: join(own, 'node-id'),
    node: join(own, 'node.json'),
    httpToken: join(own, 'http-token'),
    nats: join(own, 'nats'),
    outbox: join(own, 'outbox.json'),
    injected: join(own, 'injected.json'),
    health: join(own, 'health.json'),
    guests: join(own, 'guests.json'),
    index: join(own, 'index.json'),
    dropped: join(own, 'dropped'),
    revivals: {
      pending: join(revivals, 'pending'),
      approved: join(revivals, 'approved'),
      rejected: join(revivals, 'rejected'),
      expired: join(revivals, 'expired'),
    },
    revivalLedger: join(revivals, 'ledger.jsonl'),
  };
}

/** Folders a new cell is made with; the dot-folder comes with its first owner. */
export const CELL_FOLDERS = [
  'agents',
  'tasks',
  'checkpoints',
  'logs',
  'artifacts',
  'config',
] as const;

/** Paths inside a cell. Ids are checked ids, except step names, which are encoded here. */
export const cellPath = {
  cell: 'cell.json',
  agent: (agentId: string): string => `agents/${agentId}.json`,
  task: (taskId: string): string => `tasks/${taskId}.json`,
  isolation: 'config/isolation.json',
  policies: 'config/policies.json',
  permissions: 'config/permissions.json',
  missionLog: 'logs/mission.log',
  agentLog: (agentId: string): string => `logs/${agentId}.log`,
  artifacts: 'artifacts',
  stepLogs: (taskId: string): string => `artifacts/logs/${taskId}`,
  stepOut: (taskId: string, step: string, attempt: number): string =>
    `${stepFile(taskId, step, attempt)}.out`,
  stepErr: (taskId: string, step: string, attempt: number): string =>
    `${stepFile(taskId, step, attempt)}.err`,
  stepOutcome: (taskId: string, step: string, attempt: number): string =>
    `${stepFile(taskId, step, attempt)}.outcome.json`,
  own: '.lazarus',
  owner: '.lazarus/owner.json',
  /** While a dropped file becomes this cell: the file's hash (cells/drop.ts). */
  dropMarker: '.lazarus/drop.json',
  journal: '.lazarus/journal',
} as const;

function stepFile(taskId: string, step: string, attempt: number): string {
  return `artifacts/logs/${taskId}/${encodeName(step)}.${attempt}`;
}

export interface CheckpointPaths {
  folder: string;
  state: string;
  /** An older checkpoint, kept beside `state.json`. */
  older(seq: number): string;
  context: string;
  artifacts: string;
}

export function checkpointPaths(address: string): CheckpointPaths {
  const folder = checkpointFolder(address);
  return {
    folder,
    state: `${folder}/state.json`,
    older: (seq) => `${folder}/state.${seq}.json`,
    context: `${folder}/context.json`,
    artifacts: `${folder}/artifacts`,
  };
}

/** Longest file name we make for a system actor; the file systems' own bound is 255 bytes. */
const MAX_FOLDER_NAME = 200;

/**
 * Folder of an actor's checkpoints in its home cell (`homeCell` of machines/addresses.ts). Agents have their own id, a
 * cell has `_cell` (no id may start with `_`), system actors have their dotted rest: `system/planner/vps/nginx` is
 * `checkpoints/planner.vps.nginx`.
 */
export function checkpointFolder(address: string): string {
  const parts = address.split('/');
  if (parts[0] === 'cell' && parts.length === 2) return 'checkpoints/_cell';
  if (parts[0] === 'cell' && parts[2] === 'agent' && parts.length === 4)
    return `checkpoints/${encodeName(parts[3] ?? '')}`;
  const rest = parts[0] === 'system' ? parts.slice(1) : parts;
  return `checkpoints/${bounded(rest.map(encodeName).join('.'), MAX_FOLDER_NAME)}`;
}

/** Longest result of `encodeName`, in characters. */
const MAX_NAME = 100;

/** Any text as part of a file name: bytes outside [A-Za-z0-9_-] become %XX; an empty text is a lone `%`. */
export function encodeName(text: string): string {
  if (text === '') return '%';
  if (/^[A-Za-z0-9_-]{1,100}$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const character = String.fromCharCode(byte);
    encoded += /[A-Za-z0-9_-]/.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return bounded(encoded, MAX_NAME);
}

/** `~` stands in no encoded name, so a shortened one never equals a whole one (L1). */
function bounded(name: string, max: number): string {
  if (name.length <= max) return name;
  const hash = sha256(name).slice(0, 16);
  return `${name.slice(0, max - hash.length - 1)}~${hash}`;
}

/** What a path relative to a cell's folder is, or null when it is none of the files people write. */
export function fileKindOf(path: string): { kind: FileKind; id: string } | null {
  const [folder, name, ...deeper] = path.split('/');
  if (deeper.length > 0) return null;
  if (folder === 'cell.json' && name === undefined) return { kind: 'cell', id: 'cell' };
  if (name === undefined || isIgnoredName(name) || !name.endsWith('.json')) return null;
  const id = name.slice(0, -'.json'.length);
  if (folder === 'agents') return { kind: 'agent', id };
  if (folder === 'tasks') return { kind: 'task', id };
  if (folder !== 'config') return null;
  return id === 'isolation' || id === 'policies' || id === 'permissions' ? { kind: id, id } : null;
}

/** Temporary and hidden files (a leading dot) and our own error files are never input. */
export function isIgnoredName(name: string): boolean {
  return name.startsWith('.') || name.endsWith(ERROR_SUFFIX);
}

/** Whether people may use this as the id of a cell, agent or task; the reason when not. */
export function idProblem(id: string): string | null {
  if (RESERVED_IDS.has(id)) return `'${id}' is a name of the runtime's own`;
  if (!ID_PATTERN.test(id))
    return `'${id.slice(0, 80)}' is no id: 1 to 64 of A-Z a-z 0-9 _ -, beginning with a letter or digit`;
  return null;
}
