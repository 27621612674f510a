/**
 * The drivers `command` and `disk_cleanup`: commands that a person wrote into executor.json, and nothing else. An action
 * names one; what it gives for a placeholder must match the pattern that stands there.
 */
import {
  fillIn,
  matchesWhole,
  placeholdersIn,
  PRUNES,
  safeArgument,
} from '../../machines/executor-config.ts';
import type { CommandConfig } from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { EffectSemantics } from '../effects.ts';
import { commandStep, containerOf, dockerOf } from './containers.ts';
import type { Asked, Plan, ProbeAnswer, Step } from './plan.ts';
import { timeoutMs } from './reach.ts';
import type { Host, Setting } from './reach.ts';
import type { Runnable } from '../../machines/action-context.ts';

const SEMANTICS: Readonly<Record<NonNullable<CommandConfig['retry']>, EffectSemantics>> = {
  safe: 'idempotent',
  probe: 'verify',
  never: 'at_most_once',
};

export function command(run: Runnable, setting: Setting, host: Host): Plan {
  const named = namedCommand(run, setting, host);
  const { config, argv } = named;
  const probe = config.probe === undefined ? undefined : filled(run, setting, named, config.probe);
  return {
    driver: 'command',
    semantics: SEMANTICS[config.retry ?? 'never'],
    via: host.via,
    verifies: config.verifies ?? false,
    steps: [commandStep(setting, host, { argv, timeoutMs: limitOf(setting, config) })],
    ...(probe && { probe: async (tools) => told(await tools.look(host, probe)) }),
  };
}

/** Exit 0: it was done; 1: it was not; anything else says nothing. */
function told({ exitCode, reason }: Asked): ProbeAnswer {
  if (reason === null && exitCode === 0) return { kind: 'done', because: 'its probe says so' };
  if (reason === null && exitCode === 1) return { kind: 'not_started' };
  return { kind: 'unknown', because: `its probe: ${reason ?? `exit code ${exitCode}`}` };
}

export function diskCleanup(run: Runnable, setting: Setting, host: Host): Plan {
  const items = host.config.disk_cleanup ?? [];
  if (items.length === 0)
    throw new RuntimeError(`nobody has said what may be cleaned up on ${host.name}`, {
      code: 'NOT_CONFIGURED',
      details: { host: host.name, file: setting.file },
      hint: `Write into ${setting.file}, at "hosts"."${host.name}": "disk_cleanup": ["docker_image_prune"]`,
    });
  const parts = items.map((item) => cleanupPart(item, run, setting, host));
  const kinds = parts.map(({ semantics }) => semantics);
  return {
    driver: 'disk_cleanup',
    semantics: kinds.includes('at_most_once') ? 'at_most_once' : 'idempotent',
    via: host.via,
    verifies: false,
    steps: parts.map(({ step }) => step),
  };
}

/** What is pruned twice is pruned. Of commands one must be safe to repeat for the whole to be. */
function cleanupPart(
  item: string,
  run: Runnable,
  setting: Setting,
  host: Host,
): { step: Step; semantics: EffectSemantics } {
  const prune = Object.hasOwn(setting.config.commands, item) ? undefined : PRUNES[item];
  if (prune !== undefined) {
    const argv = [dockerOf(host), ...prune];
    const step = commandStep(setting, host, {
      argv,
      timeoutMs: timeoutMs(setting, 'disk_cleanup'),
    });
    return { step, semantics: 'idempotent' };
  }
  const { config, argv } = namedCommand({ ...run, payload: { command: item } }, setting, host);
  const step = commandStep(setting, host, { argv, timeoutMs: limitOf(setting, config) });
  return { step, semantics: config.retry === 'safe' ? 'idempotent' : 'at_most_once' };
}

const limitOf = (setting: Setting, { timeout }: CommandConfig): number =>
  timeout === undefined ? timeoutMs(setting, 'command') : timeout * 1000;

export interface NamedCommand {
  name: string;
  config: CommandConfig;
  argv: string[];
}

/** Throws NOT_CONFIGURED and INVALID_ARGUMENT. */
export function namedCommand(run: Runnable, setting: Setting, host: Host): NamedCommand {
  const { commands } = setting.config;
  const name = run.payload['command'];
  const config = typeof name === 'string' && Object.hasOwn(commands, name) && commands[name];
  if (typeof name !== 'string' || !config)
    throw new RuntimeError(`${JSON.stringify(name ?? null).slice(0, 100)} is no allowed command`, {
      code: 'NOT_CONFIGURED',
      details: { known: Object.keys(commands).slice(0, 50), file: setting.file },
      hint: `payload.command names one of "commands" in ${setting.file}: ${Object.keys(commands).slice(0, 20).join(', ') || 'there are none yet'}.`,
    });
  if (config.hosts !== undefined && !config.hosts.includes(host.name))
    throw new RuntimeError(`command ${name} may not run on ${host.name}`, {
      code: 'INVALID_ARGUMENT',
      details: { hosts: config.hosts },
      hint: `It may on ${config.hosts.join(', ')}; see "hosts" of the command in ${setting.file}.`,
    });
  const named = { name, config, argv: config.argv };
  return { ...named, argv: filled(run, setting, named, config.argv) };
}

function filled(
  run: Runnable,
  setting: Setting,
  { name, config }: NamedCommand,
  argv: string[],
): string[] {
  const own = argumentsOf(run);
  const strange = Object.keys(own).find((key) => !Object.hasOwn(config.arguments ?? {}, key));
  if (strange !== undefined)
    throw badArgument(name, strange, 'is not declared in executor.json', setting);
  const values = new Map<string, string>();
  for (const argument of new Set([...config.argv, ...argv].flatMap(placeholdersIn)))
    values.set(argument, valueOf(argument, { run, setting, name, config, own }));
  return fillIn(argv, values);
}

/** What the action names for its command; which of it is taken, executor.json says. */
export function argumentsOf({ payload }: Pick<Runnable, 'payload'>): JsonObject {
  const { arguments: given } = payload;
  return isJsonObject(given) ? given : {};
}

interface Filling {
  run: Runnable;
  setting: Setting;
  name: string;
  config: CommandConfig;
  own: Record<string, JsonValue>;
}

function valueOf(argument: string, { run, setting, name, config, own }: Filling): string {
  if (argument === 'host') return run.host;
  if (argument === 'container') return containerOf(setting, run);
  const declared = Object.hasOwn(config.arguments ?? {}, argument)
    ? config.arguments?.[argument]
    : undefined;
  const value =
    argument === 'service'
      ? run.service
      : Object.hasOwn(own, argument)
        ? own[argument]
        : declared?.default;
  if (value === undefined) throw badArgument(name, argument, 'is missing', setting);
  if (typeof value !== 'string' || !safeArgument(value))
    throw badArgument(
      name,
      argument,
      'has something other than letters, digits and _.,:@%+=/-',
      setting,
    );
  if (declared !== undefined && !matchesWhole(declared.pattern, value))
    throw badArgument(name, argument, `does not match ${declared.pattern}`, setting);
  return value;
}

function badArgument(name: string, argument: string, why: string, { file }: Setting): RuntimeError {
  return new RuntimeError(`argument ${argument.slice(0, 64)} of command ${name} ${why}`, {
    code: 'INVALID_ARGUMENT',
    details: { command: name, argument, file },
    hint: `See "commands"."${name}"."arguments" in ${file}.`,
  });
}
