/**
 * The tools of the MCP server. Each is a verb under the name and with the arguments that a model expects; what it takes and
 * answers is said by the verb's own schemas, so that nothing is described twice.
 */
import type { Tool } from '@modelcontextprotocol/server';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { ServedVerb } from './control-socket.ts';

interface ToolPlan {
  name: string;
  verb: string;
  title: string;
  /** Default: the verb's summary. */
  description?: string;
  /** The verb's field for an argument that has another name here. */
  fields?: Record<string, string>;
  /** Required here, beyond what the verb requires. */
  required?: readonly string[];
  /** For arguments that are left out. */
  defaults?: JsonObject;
}

/** Said by the door, or too long to be typed by a model. */
const NOT_OFFERED: readonly string[] = ['by', 'file'];
/** An answer of a list: a model reads it whole. */
const PAGE = { limit: 100 };

const CELL = { cell_id: 'cell' };
const TASK_IN_DOUBT = { task_id: 'doubt' };
const REVIVAL = { revival_id: 'revival' };
const ACTION = { action_id: 'id' };

const PLANS: readonly ToolPlan[] = [
  {
    name: 'create_mission_cell',
    verb: 'cell.create',
    title: 'Create a mission',
    description:
      'Makes a new mission cell, with its agents and tasks if they are given, and begins to work on it. Agents and tasks can be added later. Commands (steps, run) are refused unless the runtime allows them from outside.',
    required: ['mission_name'],
  },
  {
    name: 'add_agent_to_cell',
    verb: 'agent.add',
    title: 'Add an agent',
    description: 'Adds an agent to a mission; it is given tasks that fit it.',
    fields: CELL,
    required: ['agent_id'],
  },
  {
    name: 'add_task_to_cell',
    verb: 'task.add',
    title: 'Add a task',
    description:
      'Adds a task to a mission. It begins when its dependencies are completed and an agent is free.',
    fields: CELL,
    required: ['task_id', 'title'],
  },
  {
    name: 'get_agent_health',
    verb: 'agent.health',
    title: 'Health of an agent',
    description:
      'Signs of life of one agent: status healthy, degraded, unhealthy or unknown, last heartbeat, failures in a row. Name the cell when several have an agent of that id.',
    fields: { agent_id: 'agent', ...CELL },
  },
  {
    name: 'list_cells',
    verb: 'cell.list',
    title: 'List missions',
    description: 'The missions, a line each: status, why it is so, how many tasks are completed.',
    defaults: PAGE,
  },
  {
    name: 'get_cell',
    verb: 'cell.show',
    title: 'Show a mission',
    description:
      'One mission in full: its agents, its tasks and why each is where it is, success criteria, revivals, steps in doubt.',
    fields: CELL,
  },
  {
    name: 'inject_event',
    verb: 'inject',
    title: 'Inject an event',
    description:
      'Hands an event to a mission or an agent, as list_public_events tells them: {"type": ..., "data": {...}}. One with an id of your own in it is applied once, however often it is sent.',
  },
  {
    name: 'list_public_events',
    verb: 'inject.list',
    title: 'List events that can be injected',
  },
  {
    name: 'list_revivals',
    verb: 'revivals.list',
    title: 'List revivals',
    description:
      'Agents that failed: what the runtime does about each, the whole story, and what waits for a person.',
    defaults: PAGE,
  },
  {
    name: 'list_doubts',
    verb: 'doubt.list',
    title: 'List steps in doubt',
  },
  {
    name: 'approve_revival',
    verb: 'revivals.approve',
    title: 'Approve a revival',
    fields: REVIVAL,
  },
  { name: 'reject_revival', verb: 'revivals.reject', title: 'Reject a revival', fields: REVIVAL },
  {
    name: 'confirm_criterion',
    verb: 'criterion.confirm',
    title: 'Confirm a success criterion',
    fields: CELL,
  },
  {
    name: 'settle_step_as_done',
    verb: 'doubt.done',
    title: 'Settle a step in doubt: done',
    fields: TASK_IN_DOUBT,
  },
  {
    name: 'settle_step_as_not_run',
    verb: 'doubt.retry',
    title: 'Settle a step in doubt: run it again',
    fields: TASK_IN_DOUBT,
  },
  {
    name: 'settle_step_as_failed',
    verb: 'doubt.fail',
    title: 'Settle a step in doubt: failed',
    fields: TASK_IN_DOUBT,
  },
  {
    name: 'list_actions',
    verb: 'actions.list',
    title: 'List actions',
    description:
      'Actions on the homelab: what is proposed, what is approved and waits (and for what), what runs, what ended lately.',
    defaults: PAGE,
  },
  { name: 'get_action', verb: 'actions.show', title: 'Show an action', fields: ACTION },
  {
    name: 'approve_action',
    verb: 'actions.approve',
    title: 'Approve an action',
    fields: ACTION,
    required: ['sha256'],
  },
  { name: 'reject_action', verb: 'actions.reject', title: 'Reject an action', fields: ACTION },
  { name: 'freeze', verb: 'freeze', title: 'Let no action run' },
  { name: 'unfreeze', verb: 'unfreeze', title: 'Let approved actions run again' },
];

/** A tool that is there, and the verb behind it. */
export interface OfferedTool {
  tool: Tool;
  verb: ServedVerb;
  /** It decides what only people decide. */
  isApproval: boolean;
  /** The verb's input; who asks is added. */
  inputOf(args: JsonObject, by: string): JsonObject;
}

export function offeredTools(verbs: readonly ServedVerb[]): OfferedTool[] {
  return PLANS.flatMap((plan) => {
    const verb = verbs.find(({ name }) => name === plan.verb);
    return verb === undefined ? [] : [offered(plan, verb)];
  });
}

function offered(plan: ToolPlan, verb: ServedVerb): OfferedTool {
  const { fields = {}, defaults = {} } = plan;
  const isSigned = 'by' in propertiesOf(verb.input);
  return {
    tool: {
      name: plan.name,
      title: plan.title,
      description: plan.description ?? verb.summary,
      inputSchema: inputSchema(plan, verb.input),
      ...(verb.output && { outputSchema: verb.output }),
      annotations: {
        title: plan.title,
        readOnlyHint: verb.rights === 'read',
        destructiveHint: verb.destructive === true,
        idempotentHint: verb.idempotent === true,
        openWorldHint: false,
      },
    },
    verb,
    isApproval: verb.rights === 'approve',
    inputOf: (args, by) => {
      const given = { ...defaults, ...args };
      const named = Object.entries(given).map(([name, value]) => [fields[name] ?? name, value]);
      return { ...(Object.fromEntries(named) as JsonObject), ...(isSigned && { by }) };
    },
  };
}

/** The verb's, with the arguments' own names. */
function inputSchema(
  { fields = {}, required = [] }: ToolPlan,
  input: JsonObject,
): Tool['inputSchema'] {
  const names = new Map(Object.entries(fields).map(([argument, field]) => [field, argument]));
  const properties = Object.entries(propertiesOf(input))
    .filter(([field]) => !NOT_OFFERED.includes(field))
    .map(([field, schema]): [string, JsonValue] => [names.get(field) ?? field, schema]);
  const needed = ((input['required'] ?? []) as string[]).map((field) => names.get(field) ?? field);
  return {
    type: 'object',
    additionalProperties: false,
    required: [...new Set([...needed, ...required])],
    properties: Object.fromEntries(properties),
  };
}

function propertiesOf({ properties }: JsonObject): JsonObject {
  return isJsonObject(properties) ? properties : {};
}
