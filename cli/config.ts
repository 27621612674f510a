/** `lazarus config init|show`: the daemon's configuration, and where each value of it comes from. */
import type { Command } from 'commander';
import { configView, shownValue } from '../actors/running-config.ts';
import { callVerb } from '../bus/control-client.ts';
import { writeDefaultConfig } from '../cells/default-config.ts';
import { CONFIG_KEYS, NEEDS_RESTART } from '../machines/daemon-config.ts';
import type { ConfigKey } from '../machines/daemon-config.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import { isJsonObject, jsonEqual } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { readNodeFile } from './access.ts';
import { act, CONFIG_OPTION, group, verb } from './command.ts';
import { configSource, missionsAround } from './config-source.ts';
import type { ConfigFlags, ConfigSource } from './config-source.ts';
import { DONE, MISUSED, printable, show } from './output.ts';
import { paint, table } from './terminal.ts';

const ASK_TIMEOUT_MS = 3000;

export function command(): Command {
  return group('config', 'The configuration of the daemon: make one, see what holds and why.', [
    init(),
    showing(),
  ]);
}

function init(): Command {
  const making = verb('init', 'Write a configuration that says what holds without one.', INIT)
    .option(...CONFIG_OPTION)
    .option('--force', 'replace the one that is there');
  return act<ConfigFlags & { force?: boolean }>(making, async (_args, flags) => {
    const { file } = configSource(flags).place;
    if (file === null)
      throw new RuntimeError('`none` is no file', { code: 'INVALID_ARGUMENT', hint: INIT });
    await writeDefaultConfig(file, { force: flags.force === true });
    show(flags, { file }, () => [`wrote ${file}; a running node takes changes of it over`]);
  });
}

const INIT = 'lazarus config init --config ~/.lazarus/config.json';

function showing(): Command {
  const looking = verb(
    'show',
    'Every setting: what holds, and where it comes from. Checks the file.',
    'lazarus config show',
  ).option(...CONFIG_OPTION);
  return act<ConfigFlags>(looking, async (_args, flags) => {
    const source = configSource(flags);
    const planned = await plan(source);
    const { view: node, note } = await askNode(flags, source);
    const result = { ...planned, node, settings: settingsOf(planned, node) };
    show(flags, result, () => [...lines(planned, node), ...(note === null ? [] : [note])]);
    return planned['problem'] === undefined ? DONE : MISUSED;
  });
}

/** What a node that starts now would be told; or the problem, with the file's places. */
async function plan(source: ConfigSource): Promise<JsonObject> {
  try {
    return configView(await source.load());
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    const { details, hint = null } = error;
    const { message, code = null } = toPlainError(error);
    const problems = (details['problems'] ?? []) as JsonValue;
    return { file: source.place.file, problem: { code, message, hint, problems } };
  }
}

/** What is in force in the node that runs, or why nobody knows. */
async function askNode(flags: ConfigFlags, { place }: ConfigSource): Promise<Asked> {
  const missions = missionsAround(flags.missions, place);
  const node = readNodeFile(missions);
  const nobody = { view: null, note: `no node runs on ${missions.dir}` };
  if (node === undefined) return nobody;
  try {
    const said = await callVerb(node.control, 'config.show', {}, { timeoutMs: ASK_TIMEOUT_MS });
    return { view: isJsonObject(said) ? said : null, note: null };
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return error.code === 'NOT_RUNNING' ? nobody : { view: null, note: error.message };
  }
}

interface Asked {
  view: JsonObject | null;
  /** For people, when there is no view. */
  note: string | null;
}

interface Row {
  key: ConfigKey;
  value: JsonValue;
  origin: string;
  /** Only where it differs. */
  inForce?: JsonValue;
}

/** Of what is planned; when that is no good, of what the node has in force. */
function rowsOf(planned: JsonObject, node: JsonObject | null): Row[] {
  const isGood = planned['problem'] === undefined;
  const view = isGood ? planned : node;
  if (view === null) return [];
  const origins = isJsonObject(view['origins']) ? view['origins'] : {};
  return CONFIG_KEYS.map((key) => {
    const row = { key, value: shownValue(view, key), origin: textOf(origins[key]) ?? '' };
    const inForce = isGood && node !== null ? shownValue(node, key) : row.value;
    return jsonEqual(row.value, inForce) ? row : { ...row, inForce };
  });
}

function settingsOf(planned: JsonObject, node: JsonObject | null): JsonObject {
  return Object.fromEntries(
    rowsOf(planned, node).map(({ key, value, origin, inForce }) => [
      key,
      { value, origin, ...(inForce === undefined ? {} : { in_force: inForce }) },
    ]),
  );
}

function lines(planned: JsonObject, node: JsonObject | null): string[] {
  const problem = messageOf(planned['problem']);
  const nodeProblem = messageOf(node?.['problem'] ?? null);
  const rows = rowsOf(planned, node);
  const cells = rows.map(({ key, value, origin, inForce }) => [
    key,
    printable(JSON.stringify(value)),
    origin,
    inForce === undefined ? '' : difference(key, inForce),
  ]);
  return [
    `configuration ${textOf(planned['file']) ?? 'none'}`,
    ...(problem === null ? [] : [paint('red', printable(problem))]),
    ...(problem !== null && node !== null ? ['in force in the running node:'] : []),
    ...(rows.length > 0 ? table(['SETTING', 'VALUE', 'FROM', ''], cells) : []),
    ...(nodeProblem !== null && problem === null
      ? [paint('yellow', `the running node last met: ${printable(nodeProblem)}`)]
      : []),
  ];
}

function difference(key: ConfigKey, inForce: JsonValue): string {
  const why = NEEDS_RESTART.includes(key)
    ? 'taken over at the next start'
    : 'its own options or environment';
  return paint('yellow', `in force: ${printable(JSON.stringify(inForce))} (${why})`);
}

function messageOf(problem: JsonValue | undefined): string | null {
  return isJsonObject(problem) ? textOf(problem['message']) : null;
}

function textOf(value: JsonValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
