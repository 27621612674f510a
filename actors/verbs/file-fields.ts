/**
 * The fields of a cell's files that a door may hand in, as JSON Schemas: what people write, without what the runtime
 * writes. They say enough for a caller to get it right; what holds in full is the file's own schema (cells/schemas/),
 * which checks the whole before anything is written. A test holds the two together.
 */
import type { JsonObject, JsonValue } from '../../machines/json.ts';

const text = (description: string, maxLength: number): JsonObject => {
  return { type: 'string', minLength: 1, maxLength, description };
};
const oneOf = (description: string, ...values: JsonValue[]): JsonObject => {
  return { enum: values, description };
};
const seconds = (description: string): JsonObject => {
  return { type: 'number', exclusiveMinimum: 0, maximum: 315_360_000, description };
};
const list = (description: string, items: JsonObject, maxItems = 1000): JsonObject => {
  return { type: 'array', maxItems, description, items };
};
const object = (
  description: string,
  properties: JsonObject,
  required: string[] = [],
): JsonObject => {
  return { type: 'object', maxProperties: 100, description, properties, required };
};
/** The same rule as `idProblem` of cells/layout.ts. */
const id = (description: string): JsonObject => {
  return { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$', description };
};

const argv = list('A program and its arguments; no shell is involved.', {
  type: 'string',
  maxLength: 100_000,
});
const capability: JsonObject = { type: 'string', minLength: 1, maxLength: 100 };
const anyObject = (description: string): JsonObject => object(description, {});
const role = oneOf(
  'What the agent may do: lead everything; write its own tasks; read and audit only read.',
  'lead',
  'write',
  'read',
  'audit',
);
const policies = object('Who decides what when an agent fails.', {
  auto_revive: oneOf('Whether a failed agent comes back by itself.', 'yes', 'no', 'ask'),
  max_retries: { type: 'integer', minimum: 0, maximum: 1000 },
  substitute_agents: list('Agents that take over, in this order.', id('agent_id')),
});

export const CELL_ID = id('Id of the mission; a new uuid when it is left out.');
export const AGENT_ID = id("The new agent's id; its file is named after it.");
export const TASK_ID = id("The new task's id; its file is named after it.");

export const AGENT_FIELDS: JsonObject = {
  name: text('What people call the agent; its id when left out.', 200),
  role,
  capabilities: list('What the agent can do, as free words.', capability),
  gateway: { type: ['string', 'null'], maxLength: 1000, description: 'Name of its gateway.' },
  runner: object(
    'How it does tasks without steps: a command (a command needs `run`), a language model, or a process elsewhere.',
    { kind: oneOf('The kind of runner.', 'command', 'llm', 'remote'), run: argv },
    ['kind'],
  ),
  policies,
  budget: anyObject('What it may spend: usd, tokens, turns, wall_s.'),
  mcp_servers: anyObject('MCP servers it may use, by name.'),
};

const step = object(
  'One command of a task.',
  {
    name: text('Different from those of the other steps.', 100),
    run: argv,
    retry: oneOf(
      'When a crash leaves it unknown whether it ran: run it again, ask the probe, or leave it in doubt.',
      'safe',
      'probe',
      'never',
    ),
    probe: argv,
    timeout: seconds('Seconds the step may take.'),
  },
  ['name', 'run'],
);

export const TASK_FIELDS: JsonObject = {
  title: text('What is to be done, in a line; the id when left out.', 200),
  description: { type: 'string', maxLength: 500_000, description: 'What is to be done, in full.' },
  assigned_to: {
    type: ['string', 'null'],
    maxLength: 64,
    description: 'agent_id of the agent that does it; left out, the runtime chooses.',
  },
  priority: oneOf('Which goes first.', 'high', 'medium', 'low'),
  dependencies: list('Tasks that must be completed before.', id('task_id')),
  timeout: seconds('Seconds of active time.'),
  artifacts: list('Files it must leave, relative to the artifacts/ folder.', text('A path.', 1000)),
  requires: object('What an agent must have to be given it.', {
    role,
    capabilities: list('What it must be able to do.', capability),
  }),
  steps: list('The task as commands, in this order.', step),
};

const criterion = object(
  'One criterion.',
  { name: text('Its name.', 200), run: argv, timeout: seconds('Seconds it may take.') },
  ['name'],
);

export const CELL_FIELDS: JsonObject = {
  mission_name: text('What people call the mission.', 200),
  isolation_level: oneOf(
    'How strongly agents are kept apart from the host.',
    'none',
    'level_1',
    'level_2',
    'level_3',
  ),
  max_agents: { type: 'integer', minimum: 1, maximum: 10_000 },
  timeout: seconds('Seconds of active time for the whole mission.'),
  policies,
  success_criteria: list('What must hold before it is completed, besides its tasks.', criterion),
  budget: anyObject('What may be spent: usd, tokens, turns, wall_s.'),
  restart: object('More than `intensity` restarts within `period` seconds are a failure.', {
    intensity: { type: 'integer', minimum: 0, maximum: 1000 },
    period: seconds('Seconds.'),
  }),
};

export const MISSION_PARTS: JsonObject = {
  agents: list(
    'Its agents.',
    object('An agent.', { agent_id: AGENT_ID, ...AGENT_FIELDS }, ['agent_id']),
  ),
  tasks: list('Its tasks.', object('A task.', { task_id: TASK_ID, ...TASK_FIELDS }, ['task_id'])),
  config: object('What becomes the files in config/.', {
    isolation: anyObject('config/isolation.json'),
    policies: anyObject('config/policies.json'),
    permissions: anyObject('config/permissions.json'),
  }),
};

/** Any file of a cell, whole. */
export const WHOLE_FILE: JsonObject = {
  type: 'object',
  description: 'The whole file, as it would lie in the cell; single fields given beside it win.',
};
