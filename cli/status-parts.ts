/** What joins the node to the world, for people: a line of names and states, and a line for each thing that keeps it from its work. */
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { brief, paint } from './terminal.ts';
import { unknownText } from './unknown-text.ts';

type Parts = Readonly<Record<string, JsonValue>>;

/** `nats up · redis down · llm 1 of 3` */
export function partsSummary(parts: Parts): string {
  return Object.entries(parts)
    .map(
      ([name, part]) => `${name} ${Array.isArray(part) ? ofModels(part) : textIn(part, 'state')}`,
    )
    .join(' · ');
}

export function partsLines(parts: Parts): string[] {
  const { llm = [], planner = null, actions = null, executor = null, supervisor = null } = parts;
  return [
    ...Object.entries(parts).flatMap(([name, part]) => downLine(name, part)),
    ...modelLines(llm),
    ...problem('policy.json', objectIn(planner, 'policy')),
    ...problem('executor.json', executor),
    ...problem('inventory', objectIn(planner, 'inventory')),
    ...problem('heartbeat', objectIn(planner, 'heartbeat')),
    ...gateLines(actions, executor),
    ...refusedLines(objectIn(actions, 'refused_files')),
    ...driftLines(supervisor),
    ...inventoryLines(supervisor),
    ...countLines(planner, actions),
  ];
}

const textIn = (part: JsonValue | undefined, name: string): string => {
  const value = isJsonObject(part) ? part[name] : undefined;
  return typeof value === 'string' ? value : '';
};
const textsIn = (part: JsonValue, name: string): string[] => {
  const value = isJsonObject(part) ? part[name] : undefined;
  return Array.isArray(value) ? value.map(String) : [];
};
const objectIn = (part: JsonValue, name: string): JsonObject | null => {
  const value = isJsonObject(part) ? part[name] : undefined;
  return isJsonObject(value) ? value : null;
};
const numberIn = (part: JsonValue, name: string): number => {
  const value = isJsonObject(part) ? part[name] : undefined;
  return typeof value === 'number' ? value : 0;
};

function downLine(name: string, part: JsonValue): string[] {
  const reason = textIn(part, 'reason');
  const state = textIn(part, 'state');
  if (state === 'standby' && name === 'actions')
    return [paint('yellow', `  this node stands by: ${brief(reason, 300)}`)];
  if (state !== 'down' || reason === '') return [];
  return [paint('yellow', `  ${name} is down: ${brief(reason, 200)}`)];
}

/** Of a model that nobody has asked yet nothing bad is known. */
const mayBeAsked = (model: JsonValue): boolean =>
  ['up', 'unknown'].includes(textIn(model, 'state'));

const ofModels = (models: readonly JsonValue[]): string =>
  models.length === 0 ? 'none' : `${models.filter(mayBeAsked).length} of ${models.length}`;

function modelLines(models: JsonValue): string[] {
  if (!Array.isArray(models) || models.length === 0 || models.some(mayBeAsked)) return [];
  const why = models.map((model) => `${textIn(model, 'model')}: ${textIn(model, 'reason')}`);
  return [paint('yellow', `  no model can be asked: ${brief(why.join('; '), 300)}`)];
}

function problem(name: string, part: JsonValue): string[] {
  const text = textIn(part, 'problem');
  return text === '' ? [] : [paint('red', `  ${name} is not taken: ${brief(text, 300)}`)];
}

function gateLines(actions: JsonValue, executor: JsonValue): string[] {
  const frozen = objectIn(actions, 'frozen');
  const approved = numberIn(objectIn(actions, 'counts'), 'approved');
  const beyond = numberIn(actions, 'not_looked_after');
  const mode = textIn(executor, 'mode');
  const isOff = approved > 0 && (mode === 'off' || mode === 'dry-run');
  const said = frozen && `${textIn(frozen, 'by')}: ${textIn(frozen, 'reason')}`;
  return [
    ...(said === null
      ? []
      : [paint('red', `  frozen by ${brief(said, 200)}; \`lazarus unfreeze\` lets actions run`)]),
    ...(isOff
      ? [paint('yellow', `  ${approved} approved wait: the executor is ${mode} (--executor on)`)]
      : []),
    ...(beyond > 0
      ? [paint('yellow', `  ${beyond} action files are too many: nobody looks after them`)]
      : []),
  ];
}

/** What somebody dropped, and nobody takes for an action. */
function refusedLines(files: JsonObject | null): string[] {
  const count = numberIn(files, 'count');
  const { first = [] } = files ?? {};
  if (count === 0 || !Array.isArray(first)) return [];
  const names = first.map(String).join(', ');
  const verb = count === 1 ? 'file is' : 'files are';
  return [
    paint('yellow', `  ${count} ${verb} no action: ${brief(names, 200)}; see the .error beside`),
  ];
}

/** Nothing while all is as it should be. */
function driftLines(supervisor: JsonValue): string[] {
  const summary = textIn(supervisor, 'summary');
  const drifts = numberIn(supervisor, 'drifts');
  const services = counted(objectIn(objectIn(supervisor, 'counts'), 'services'), SERVICES_SHOWN);
  const silent = textIn(supervisor, 'stale_since');
  const doubt = textIn(supervisor, 'doubt');
  const autonomy = textIn(supervisor, 'autonomy_problem');
  const said = [
    `${drifts} ${drifts === 1 ? 'drift' : 'drifts'}`,
    ...(services.length === 0 ? [] : [`services: ${services.join(', ')}`]),
    ...unknownText(textsIn(supervisor, 'unknown')),
    ...(silent === '' ? [] : [`the observer is silent since ${silent}`]),
    ...(doubt === '' ? [] : [brief(doubt, 120)]),
  ];
  const isWell = drifts === 0 && (summary === 'nominal' || summary === 'unknown');
  const line = `  homelab ${summary}: ${said.join('; ')}: \`lazarus drift\``;
  return [
    ...(summary === '' || isWell ? [] : [paint(summary === 'unstable' ? 'red' : 'yellow', line)]),
    ...(autonomy === '' ? [] : [paint('red', `  ${brief(autonomy, 200)}`)]),
  ];
}

/** What it said before holds meanwhile. */
function inventoryLines(supervisor: JsonValue): string[] {
  const inventory = objectIn(supervisor, 'inventory');
  const whole = textIn(inventory, 'problem');
  const { problems } = inventory ?? {};
  const first = Array.isArray(problems) ? problems[0] : undefined;
  const others = numberIn(inventory, 'problem_count') - 1;
  const said = [
    ...(whole === '' ? [] : [whole]),
    ...(first === undefined
      ? []
      : [`${textIn(first, 'file')}:${numberIn(first, 'line')} ${textIn(first, 'problem')}`]),
    ...(others > 0 ? [`${others} more: \`lazarus reconcile --dry-run\``] : []),
  ];
  return said.map((text) => paint('yellow', `  inventory: ${brief(text, 200)}`));
}

const SERVICES_SHOWN = ['unhealthy', 'missing', 'unknown'];

/** What the planner is at, and how many actions stand where; nothing while there is nothing. */
function countLines(planner: JsonValue, actions: JsonValue): string[] {
  const incidents = counted(planner, ['diagnosing', 'proposing', 'cooling']);
  const stands = counted(objectIn(actions, 'counts'), ACTIONS_SHOWN);
  const said = [
    ...(incidents.length === 0 ? [] : [`incidents: ${incidents.join(', ')}`]),
    ...(stands.length === 0 ? [] : [`actions: ${stands.join(', ')}`]),
  ];
  const refused = numberIn(planner, 'refused');
  const unplanned = numberIn(planner, 'unplanned');
  const failed = `  ${unplanned} without a proposal, as the last look failed: \`lazarus incidents\``;
  return [
    ...(said.length === 0 ? [] : [paint('dim', `  ${said.join(' · ')}`)]),
    ...(unplanned === 0 ? [] : [paint('yellow', failed)]),
    ...(refused === 0
      ? []
      : [paint('yellow', `  ${refused} events had no room: there are too many incidents`)]),
  ];
}

const ACTIONS_SHOWN = ['pending', 'approved', 'running', 'held', 'failed'];

const counted = (part: JsonValue, names: readonly string[]): string[] =>
  names.flatMap((name) => (numberIn(part, name) > 0 ? [`${numberIn(part, name)} ${name}`] : []));
