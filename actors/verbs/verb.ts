/** What a verb is: named, described and checked once, then served by every door (command line, socket, bus). */
import type { CellContext } from '../../machines/cell-context.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { MissionNode } from '../node.ts';
import type { StatusView } from '../status.ts';

/** Committed state, of a node that runs (in this process) or of a folder that none runs on (offline.ts). */
export interface MissionReader {
  status(): StatusView;
  /** What a cell knows; undefined when there is no such cell, or it cannot be read. */
  cell(cellId: string): CellContext | undefined;
}

/** What a door may hand in: checked against `input` before `run` sees it. */
export type VerbInput = Record<string, string | undefined>;

interface Described {
  /** `cell.pause` */
  name: string;
  /** One line, for lists of verbs. */
  summary: string;
  /** JSON Schema of the input. */
  input: JsonObject;
  /** Whether it makes sense from another machine. */
  remote: boolean;
}

export type ReadingVerb = Described & {
  kind: 'reads';
  run(reader: MissionReader, input: VerbInput): JsonValue;
};
export type WritingVerb = Described & {
  kind: 'writes';
  /** Resolves when what was asked for is durable. */
  run(node: MissionNode, input: VerbInput): Promise<JsonValue>;
};
export type Verb = ReadingVerb | WritingVerb;

const MEANINGS = {
  cell: 'cell_id, or its first characters when they name one cell only',
  agent: 'agent_id, or <cell_id>/<agent_id> when several cells have one of that name',
  task: 'task_id, or <cell_id>/<task_id> when several cells have one of that name',
  doubt: 'key of the effect, or the task (<cell_id>/<task_id>) whose step is in doubt',
  address: 'address of an actor, as the status shows it: cell/<cell_id>',
  name: 'name of the success criterion, as cell.json has it',
  reason: 'why, for the record',
  by: 'who asks, for the record',
} as const;

/** The schema of an input that has these text fields and no other. */
export function inputOf(
  required: readonly (keyof typeof MEANINGS)[],
  optional: readonly (keyof typeof MEANINGS)[] = [],
): JsonObject {
  const field = (name: keyof typeof MEANINGS): [string, JsonObject] => [
    name,
    { type: 'string', minLength: 1, maxLength: 1000, description: MEANINGS[name] },
  ];
  return {
    type: 'object',
    additionalProperties: false,
    required: [...required],
    properties: Object.fromEntries([...required, ...optional].map(field)),
  };
}

/** Who asked, when the door did not say. */
export const byOf = ({ by }: VerbInput): string => by ?? 'operator';
