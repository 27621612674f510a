/**
 * What verbs promise to answer, for doors that tell it beforehand (MCP). Only what a caller may rely on is named; answers
 * may have more fields. A test holds real answers against these.
 */
import type { JsonObject } from '../../machines/json.ts';

const text: JsonObject = { type: 'string' };
const textOrNull: JsonObject = { type: ['string', 'null'] };
const count: JsonObject = { type: 'integer', minimum: 0 };
const numberOrNull: JsonObject = { type: ['number', 'null'] };
const yesOrNo: JsonObject = { type: 'boolean' };

/** All of its fields are there. */
const record = (properties: JsonObject, optional: JsonObject = {}): JsonObject => ({
  type: 'object',
  required: Object.keys(properties),
  properties: { ...properties, ...optional },
});
const listOf = (items: JsonObject): JsonObject => ({ type: 'array', items });

const added = { cell_id: text, path: text, taken_in: yesOrNo, note: text };
export const ADDED_CELL = record(added);
export const ADDED_AGENT = record({ ...added, agent_id: text });
export const ADDED_TASK = record({ ...added, task_id: text });

/** Handed in by `next` as `after`, it goes on where this answer ends. */
const NEXT = { next: text };

export const CELLS = record(
  {
    cells: listOf(
      record({
        cell_id: text,
        mission_name: text,
        status: text,
        phase: text,
        reason: textOrNull,
        path: textOrNull,
        agents: count,
        tasks: count,
        tasks_completed: count,
      }),
    ),
  },
  NEXT,
);

const AGENT_STATUS = {
  agent_id: text,
  name: text,
  role: text,
  status: text,
  health: text,
  pid: { type: ['integer', 'null'] },
  current_task: textOrNull,
  revivals: count,
  reason: textOrNull,
  complaint: textOrNull,
} satisfies JsonObject;
const TASK_STATUS = {
  task_id: text,
  title: text,
  status: text,
  priority: text,
  assigned_to: textOrNull,
  blocked_reason: textOrNull,
  steps_done: count,
  steps_total: count,
  current_step: textOrNull,
  attempts: count,
} satisfies JsonObject;

const REVIVAL = record({
  revival_id: textOrNull,
  cell_id: text,
  agent_id: text,
  status: text,
  outcome: textOrNull,
  reason: text,
  doing: text,
  needs_person: yesOrNo,
  choices: listOf(record({ choice: text, means: text, command: text })),
  story: listOf(text),
});

const DOUBT = record({
  key: text,
  cell_id: text,
  agent_id: text,
  task_id: text,
  step: text,
  since: text,
  choices: listOf(text),
});

export const ONE_REVIVAL = REVIVAL;
export const REVIVALS = record({ running: yesOrNo, revivals: listOf(REVIVAL) }, NEXT);
export const DOUBTS = record({ in_doubt: listOf(DOUBT) });

export const CELL = record({
  cell_id: text,
  mission_name: text,
  status: text,
  phase: text,
  reason: textOrNull,
  path: textOrNull,
  running: yesOrNo,
  isolation_level: text,
  agents: listOf(record(AGENT_STATUS)),
  tasks: listOf(record(TASK_STATUS)),
  notes: listOf(record({ at: text, text })),
  success_criteria: listOf(
    record({ name: text, met: { type: ['boolean', 'null'] }, detail: textOrNull }),
  ),
  revivals: listOf(REVIVAL),
  in_doubt: listOf(DOUBT),
});

export const TASK = record({ cell_id: text, ...TASK_STATUS, file: { type: 'object' } });

/** The source's fields, and the cell. Times are float epoch seconds. */
export const AGENT_HEALTH = record({
  agent_id: text,
  cell_id: textOrNull,
  status: { enum: ['healthy', 'degraded', 'unhealthy', 'unknown'] },
  last_heartbeat: numberOrNull,
  last_response: numberOrNull,
  consecutive_failures: count,
  response_time: numberOrNull,
  error_message: textOrNull,
  metadata: { type: 'object' },
});

export const LOG = record({ cell_id: text, agent_id: textOrNull, lines: listOf(text) });

export const INJECTED = record({ ok: yesOrNo, to: text, seq: count }, { duplicate: yesOrNo });
export const PUBLIC_EVENT_LIST = record({
  events: listOf(record({ type: text, summary: text, data: { type: 'object' } })),
});

const ACTION_LINE = {
  action_id: text,
  status: text,
  state: text,
  type: text,
  host: text,
  service: text,
  risk: text,
  requires_human: yesOrNo,
  description: text,
  created_at: textOrNull,
  reason: textOrNull,
  waits: textOrNull,
  until: textOrNull,
} satisfies JsonObject;
const objectOrNull: JsonObject = { type: ['object', 'null'] };

export const ACTIONS_LIST = record(
  {
    running: yesOrNo,
    executor: textOrNull,
    frozen: objectOrNull,
    actions: listOf(record(ACTION_LINE)),
  },
  NEXT,
);
export const ONE_ACTION = record({
  ...ACTION_LINE,
  folder: textOrNull,
  sha256: textOrNull,
  by: text,
  approval: objectOrNull,
  run: objectOrNull,
  expected_effect: objectOrNull,
  story: listOf(text),
});
