/**
 * The daemon's configuration where it is written: `~/.lazarus/config.json`, `LAZARUS_*` variables, options. Every bad key
 * or value is named with its place, what is allowed and what was probably meant.
 *
 * D1 "Unreadable" is never "empty" (P6): only a file that is not there gives the defaults, and one that was named by
 *    somebody has to be there.
 * D2 Whoever can write the file decides what agents may do: others' right to write it is told by `up` and `doctor`.
 * D3 The schema's validator is loaded only when there is something to check: most starts have no file.
 */
import { statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { mergeConfig, PATH_KEYS, settingsOf } from '../machines/daemon-config.ts';
import type { ConfigKey, ConfigLayer, EffectiveConfig, Origin } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { fromHome, readConfigBytes } from './config-place.ts';
import type { ConfigPlace, Environment } from './config-place.ts';
import { ruleProblems } from './daemon-config-rules.ts';
import { lineOfPointer, parseJsonObject } from './parse-json.ts';
import type { Problem } from './parse-json.ts';

/** Variables of the environment, one a setting. */
export const VARIABLES: Readonly<Partial<Record<ConfigKey, string>>> = {
  poll_interval: 'LAZARUS_POLL_INTERVAL',
  timeout: 'LAZARUS_TIMEOUT',
  max_retries: 'LAZARUS_MAX_RETRIES',
  auto_revive: 'LAZARUS_AUTO_REVIVE',
  missions_path: 'LAZARUS_MISSIONS',
  log_level: 'LAZARUS_LOG_LEVEL',
  standby_workers: 'LAZARUS_STANDBY_WORKERS',
  http: 'LAZARUS_HTTP',
  http_allowed_hosts: 'LAZARUS_HTTP_ALLOWED_HOSTS',
  inspector: 'LAZARUS_INSPECTOR',
  nats: 'NATS_URL',
  redis_url: 'REDIS_URL',
  runtime_path: 'RUNTIME_PATH',
  inventory_path: 'INVENTORY_PATH',
  observer: 'LAZARUS_OBSERVER',
  reconcile_interval: 'LAZARUS_RECONCILE_INTERVAL',
  node_aliases: 'NODE_ALIAS_MAP',
  agent_events_log: 'AGENT_EVENTS_LOG',
  supervisor_checkpoint: 'SUPERVISOR_CHECKPOINT',
  executor: 'LAZARUS_EXECUTOR',
  node_name: 'NODE_NAME',
  cooldown: 'COOLDOWN_SECONDS',
  remote_commands: 'LAZARUS_REMOTE_COMMANDS',
  mcp_approvals: 'LAZARUS_MCP_APPROVALS',
  ask_expires: 'LAZARUS_ASK_EXPIRES',
};

/** Settings that an option of the command line gives, with the option's name. */
export type ConfigOptions = Partial<Record<ConfigKey, { value: string; option: string }>>;

/**
 * What holds, as all sources say it now. Throws RuntimeError FILE_INVALID with every problem of the file (`details.problems`),
 * INVALID_ARGUMENT for a variable or option that does not fit.
 */
export async function loadConfig(
  place: ConfigPlace,
  environment: Environment,
  options: ConfigOptions = {},
): Promise<EffectiveConfig> {
  const given = Object.entries(options).map(([key, { value, option }]) =>
    textSetting(key as ConfigKey, value, { from: 'option', name: option }),
  );
  const variables = Object.entries(VARIABLES).flatMap(([key, name]) => {
    const value = environment[name];
    return value ? [textSetting(key as ConfigKey, value, { from: 'environment', name })] : [];
  });
  const layers = [await checkedTexts(given), await checkedTexts(variables), await readLayer(place)];
  return mergeConfig(layers, place.file);
}

async function readLayer({ file, named }: ConfigPlace): Promise<ConfigLayer> {
  if (file === null) return {};
  const bytes = readConfigBytes(file);
  if (bytes === null && named === null) return {};
  if (bytes === null)
    throw new RuntimeError(`there is no configuration ${file}, named by ${named}`, {
      code: 'FILE_INVALID',
      details: { file, problems: [] },
      hint: `Make one: lazarus config init --config ${file}`,
    });
  const parsed = parseJsonObject(bytes);
  if (!parsed.ok) throw invalidFile(file, parsed.problems);
  const problems = await problemsOf(parsed.value, parsed.text);
  if (problems.length > 0) throw invalidFile(file, problems);
  const layer: ConfigLayer = {};
  for (const { key, pointer, value } of settingsOf(parsed.value)) {
    const origin: Origin = { from: 'file', file, line: lineOfPointer(parsed.text, pointer) };
    const isPath = PATH_KEYS.includes(key) && typeof value === 'string';
    layer[key] = { value: isPath ? fromHome(value) : value, origin };
  }
  return layer;
}

/** What is wrong with a configuration's content; empty when it is good. */
async function problemsOf(content: JsonObject, text: string): Promise<Problem[]> {
  const { validate } = await import('./validate.ts'); // D3
  const checked = validate('daemon-config', content, { text, path: '' });
  const problems = new Map<string, Problem>();
  for (const problem of checked.ok ? [] : checked.problems) problems.set(problem.pointer, problem);
  for (const rule of ruleProblems(content))
    problems.set(rule.pointer, { ...rule, line: lineOfPointer(text, rule.pointer) });
  return [...problems.values()].sort((a, b) => a.line - b.line);
}

function invalidFile(file: string, problems: readonly Problem[]): RuntimeError {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const lines = problems.map(
    ({ line, pointer, message, fix }) =>
      `  ${file}:${line} ${pointer === '' ? '' : `${pointer} `}${message}. ${fix}`,
  );
  return new RuntimeError([`the configuration has ${count}:`, ...lines].join('\n'), {
    code: 'FILE_INVALID',
    details: { file, problems: [...problems] },
    hint: `Mend ${file}; \`lazarus config show\` checks it.`,
  });
}

interface TextSetting {
  key: ConfigKey;
  text: string;
  value: JsonValue;
  origin: Origin & { name: string };
}

/** Variables and options are texts: what is a number, a truth or a list in the file is read as one. */
function textSetting(key: ConfigKey, text: string, origin: Origin & { name: string }): TextSetting {
  if (key === 'http_allowed_hosts')
    return { key, text, value: text.split(',').map((host) => host.trim()), origin };
  if (key === 'node_aliases') return { key, text, value: jsonOf(text), origin };
  const isNumber = /^-?\d+(\.\d+)?$/.test(text);
  const isTruth = text === 'true' || text === 'false';
  const value = isNumber ? Number(text) : isTruth ? text === 'true' : text;
  if (key === 'node_name') return { key, text, value: text, origin };
  const isPath = PATH_KEYS.includes(key) && text !== 'off';
  return { key, text, value: isPath ? resolve(text) : value, origin };
}

/** A text that is no JSON stays what it is: the schema says what belongs there. */
function jsonOf(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

async function checkedTexts(settings: readonly TextSetting[]): Promise<ConfigLayer> {
  const layer: ConfigLayer = {};
  for (const { key, text, value, origin } of settings) {
    if (key !== 'missions_path') {
      const problem = (await problemsOf({ [key]: value }, ''))[0];
      if (problem)
        throw new RuntimeError(`${origin.name}${shown(key, text)}: ${problem.message}`, {
          code: 'INVALID_ARGUMENT',
          hint: problem.fix,
        });
    }
    for (const { value: normal } of settingsOf({ [key]: value }))
      layer[key] = { value: normal, origin };
  }
  return layer;
}

/** What may hold a password is not quoted. */
const shown = (key: ConfigKey, text: string): string =>
  key === 'redis_url' || key === 'nats' ? '' : ` is '${text.slice(0, 60)}'`;

/** D2. What of a file's place others can write to: the file or its folder. Null: nothing, or there is no file. */
export function othersMayWrite(file: string): string | null {
  const uid = process.getuid?.() ?? 0;
  const isLoose = ({ mode, uid: owner }: Stats, sticky: number): boolean =>
    (owner !== uid && owner !== 0) || ((mode & 0o022) !== 0 && (mode & sticky) === 0);
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return null;
  if (isLoose(stats, 0)) return file;
  return isLoose(statSync(dirname(file)), 0o1000) ? dirname(file) : null;
}
