/** What a verb is: named, described and checked once, then served by every door (command line, socket, bus). */
import type { CellContext } from '../../machines/cell-context.ts';
import type { AgentHealth } from '../../machines/heartbeats.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { Invokes } from '../../machines/persisted.ts';
import type { Target } from '../../machines/supervision.ts';
import type { Instant } from '../clock.ts';
import type { HealthReport } from '../health-report.ts';
import type { MissionNode } from '../node.ts';
import type { DoubtView, StatusView } from '../status.ts';

/** One actor as of the last commit. */
export interface ActorView {
  /** `agent@1` */
  machine: string;
  seq: number;
  /** The machine's state, as XState writes it. */
  state: JsonValue;
  context: unknown;
  /** Effects and timers it waits for, by invoke id. */
  invokes: Invokes;
}

/** Committed state, of a node that runs (in this process) or of a folder that none runs on (offline.ts). */
export interface MissionReader {
  status(): StatusView;
  /** What the status has of it, without all the rest. */
  inDoubt(): DoubtView[];
  /** What the daemon was told; see `configView`. */
  config(): JsonObject;
  /** What a cell knows; undefined when there is no such cell, or it cannot be read. */
  cell(cellId: string): CellContext | undefined;
  /** Of all actors whose address begins so. */
  addresses(prefix: string): string[];
  /** One actor, or why it is held; undefined when none lives there. */
  actor(address: string): ActorView | { held: string } | undefined;
  /** Undefined while no node runs: running time stands still then. */
  clock(): Instant | undefined;
  /** The health of all agents, where somebody listens to them. */
  health?(): HealthReport | undefined;
  /** By the inventory, keys of those that depend on it; undefined: nobody looks after a homelab here. */
  dependantsOf?(target: Target): readonly string[] | undefined;
  /** Of which hosts and services nobody says how they are, the first ones; likewise. */
  unknownTargets?(): readonly string[] | undefined;
  /** Of one agent; undefined while not all agents are known. Throws NOT_FOUND, AMBIGUOUS_ID, INVALID_ARGUMENT. */
  agentHealth?(agentId: string, cellId: string | undefined): AgentHealth | undefined;
}

/** What a door may hand in: checked against `input` before `run` sees it. Most verbs take nothing but texts. */
export type VerbInput = Record<string, string | undefined>;
/** What `input` lets through in general; a verb's `run` names the part that its own schema lets through. */
export type CheckedInput = Record<string, JsonValue | undefined>;

/** `read`: looks. `operate`: works with missions. `approve`: says what only a person decides (P7). */
export type Rights = 'read' | 'operate' | 'approve';

interface Described {
  /** `cell.pause` */
  name: string;
  /** One line, for lists of verbs. */
  summary: string;
  /** JSON Schema of the input. */
  input: JsonObject;
  /** JSON Schema of the result, where a door promises one. */
  output?: JsonObject;
  /** Whether it makes sense from another machine. */
  remote: boolean;
}

export type ReadingVerb = Described & {
  kind: 'reads';
  run(reader: MissionReader, input: CheckedInput): JsonValue;
};
export type WritingVerb = Described & {
  kind: 'writes';
  rights: Exclude<Rights, 'read'>;
  /** It ends something or takes it away: work that runs, a person's say. */
  destructive?: true;
  /** Asked for twice, it is done once. */
  idempotent?: true;
  /** Resolves when what was asked for is durable. */
  run(node: MissionNode, input: CheckedInput): Promise<JsonValue>;
};
export type Verb = ReadingVerb | WritingVerb;

export const rightsOf = (verb: Verb): Rights => (verb.kind === 'reads' ? 'read' : verb.rights);

const MEANINGS = {
  cell: 'cell_id, or its first characters when they name one cell only',
  agent: 'agent_id, or <cell_id>/<agent_id> when several cells have one of that name',
  task: 'task_id, or <cell_id>/<task_id> when several cells have one of that name',
  doubt: 'key of the effect, or the task (<cell_id>/<task_id>) whose step is in doubt',
  address: 'address of an actor, as the status shows it: cell/<cell_id>',
  revival:
    'id of a revival, <cell_id>/<agent_id>, or the agent_id when only one agent of that name ever failed',
  choice: 'retry (default), previous_checkpoint, or substitute',
  substitute: 'agent_id of the agent that takes the task over',
  name: 'name of the success criterion, as cell.json has it',
  id: 'action_id: the name of its file without .json',
  subject:
    'a task, an agent or a mission (<cell_id>/<id>), the id of a revival or an action, a service of the homelab (<host>/<service>), the address of an actor, the key of an effect, or <address>#<seq>',
  path: "absolute path of a mission's folder",
  to: 'absolute path for the copy: a folder to put it into, or a new name',
  accept_loss: '`yes`: go on though newer records are elsewhere',
  reason: 'why, for the record',
  by: 'who asks, for the record',
} as const;

/**
 * The schema of an input that has these text fields, those of `more` (schemas of their own, none of them required), and no
 * other.
 */
export function inputOf(
  required: readonly (keyof typeof MEANINGS)[],
  optional: readonly (keyof typeof MEANINGS)[] = [],
  more: JsonObject = {},
): JsonObject {
  const field = (name: keyof typeof MEANINGS): [string, JsonObject] => [
    name,
    { type: 'string', minLength: 1, maxLength: 1000, description: MEANINGS[name] },
  ];
  return {
    type: 'object',
    additionalProperties: false,
    required: [...required],
    properties: { ...Object.fromEntries([...required, ...optional].map(field)), ...more },
  };
}

/** Who asked, when the door did not say. */
export const byOf = ({ by }: VerbInput): string => by ?? 'operator';
