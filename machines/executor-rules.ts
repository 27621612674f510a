/**
 * What a JSON Schema cannot check of `executor.json`.
 *
 * X3 No placeholder stands in the program's name or in a script (`sh -c`): there a plain value could still be code.
 */
import {
  BUILT_IN,
  isPlainUrl,
  matchesWhole,
  placeholdersIn,
  plainName,
  PRUNES,
  safeArgument,
  URL_FIX,
  URL_PROBLEM,
} from './executor-config.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** Those that start another program, send the environment or switch off the host's key check are not among them. */
export const SSH_OPTIONS: ReadonlySet<string> = new Set([
  'AddressFamily',
  'Ciphers',
  'Compression',
  'ConnectionAttempts',
  'ConnectTimeout',
  'HostKeyAlgorithms',
  'HostKeyAlias',
  'IdentitiesOnly',
  'KexAlgorithms',
  'MACs',
  'ProxyJump',
  'ServerAliveCountMax',
  'ServerAliveInterval',
  'StrictHostKeyChecking',
  'TCPKeepAlive',
  'UserKnownHostsFile',
]);

const DESTINATION = /^(?:[A-Za-z_][A-Za-z0-9._-]{0,63}@)?[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/;
const SSH_OPTION = /^([A-Za-z]{1,40})=([A-Za-z0-9/~][A-Za-z0-9@._,:/+~-]{0,255})$/;

export interface ConfigFinding {
  /** JSON pointer. */
  pointer: string;
  message: string;
  fix: string;
}

/** What the schema leaves open. The content fits it. */
export function executorFindings(content: JsonObject): ConfigFinding[] {
  return [
    ...each(content, 'hosts').flatMap(([name, host]) => hostFindings(name, host, content)),
    ...each(content, 'services').flatMap(([name]) => serviceFindings(name)),
    ...each(content, 'commands').flatMap(([name, command]) => commandFindings(name, command)),
    ...(Array.isArray(content['notify']) ? content['notify'] : []).flatMap(notifyFindings),
  ];
}

function hostFindings(name: string, host: JsonObject, content: JsonObject): ConfigFinding[] {
  const at = `/hosts/${escaped(name)}`;
  const commands = isJsonObject(content['commands']) ? content['commands'] : {};
  const isKnown = (item: string): boolean =>
    Object.hasOwn(PRUNES, item) || Object.hasOwn(commands, item);
  return [
    ...unless(plainName(name), at, `'${name.slice(0, 60)}' is no name of a host`, NAME_FIX),
    ...unless(
      typeof host['destination'] !== 'string' || DESTINATION.test(host['destination']),
      `${at}/destination`,
      'destination is not of the form user@host',
      'Write for example "lazarus@piha"; a port goes into "port".',
    ),
    ...texts(host['options']).flatMap((option, i) => sshFindings(option, `${at}/options/${i}`)),
    ...texts(host['disk_cleanup']).flatMap((item, i) =>
      unless(
        isKnown(item),
        `${at}/disk_cleanup/${i}`,
        `'${item.slice(0, 60)}' is no command of this file`,
        `Write it under "commands", or use ${Object.keys(PRUNES).join(', ')}.`,
      ),
    ),
    ...each(host, 'compose').flatMap(([service]) =>
      unless(
        safeArgument(service),
        `${at}/compose/${escaped(service)}`,
        'that is no name of a service',
        NAME_FIX,
      ),
    ),
  ];
}

function sshFindings(option: string, at: string): ConfigFinding[] {
  const [, name, value] = SSH_OPTION.exec(option) ?? [];
  if (name === undefined || value === undefined)
    return unless(
      false,
      at,
      'that is not of the form Name=value',
      'Write for example "ConnectTimeout=5".',
    );
  const isOff = name === 'StrictHostKeyChecking' && !/^(?:yes|accept-new)$/.test(value);
  return [
    ...unless(
      SSH_OPTIONS.has(name),
      at,
      `ssh's ${name} is not among the options that are let through`,
      `Use ${[...SSH_OPTIONS].join(', ')}; all else belongs into ~/.ssh/config.`,
    ),
    ...unless(
      !isOff,
      at,
      'the check of host keys cannot be switched off',
      'Use yes or accept-new.',
    ),
  ];
}

function serviceFindings(name: string): ConfigFinding[] {
  const slash = name.indexOf('/');
  const isGood = plainName(name.slice(0, slash)) && safeArgument(name.slice(slash + 1));
  return unless(
    slash > 0 && isGood,
    `/services/${escaped(name)}`,
    `'${name.slice(0, 60)}' is not of the form <host>/<service>`,
    'Write for example "piha/homeassistant".',
  );
}

function commandFindings(name: string, command: JsonObject): ConfigFinding[] {
  const at = `/commands/${escaped(name)}`;
  const declared = each(command, 'arguments');
  const names = [...BUILT_IN, ...declared.map(([argument]) => argument)];
  return [
    ...unless(
      command['retry'] !== 'probe' || command['probe'] !== undefined,
      `${at}/retry`,
      'retry is probe, and there is no probe',
      'Add "probe": a command that exits 0 when it was done and 1 when it was not.',
    ),
    ...argvFindings(texts(command['argv']), `${at}/argv`, names),
    ...argvFindings(texts(command['probe']), `${at}/probe`, names),
    ...declared.flatMap(([argument, { pattern, default: value }]) =>
      argumentFindings(`${at}/arguments/${escaped(argument)}`, argument, pattern, value),
    ),
  ];
}

/** X3. `-c`, `-e` and their kind are how shells and languages take a script. */
const SCRIPT_FLAG = /^(?:-[A-Za-z]*[ce]|--(?:eval|command|execute|expression|rsh))$/;

function argvFindings(argv: string[], at: string, names: string[]): ConfigFinding[] {
  return argv.flatMap((text, i) => {
    const used = placeholdersIn(text);
    const strange = used.find((name) => !names.includes(name));
    const isScript = i > 0 && SCRIPT_FLAG.test(argv[i - 1] ?? '');
    return [
      ...unless(
        used.length === 0 || (i > 0 && !isScript),
        `${at}/${i}`,
        i === 0 ? 'the program itself has a placeholder' : 'a script has a placeholder',
        'Hand it on as a word of its own: ["sh", "-c", "echo \\"$1\\"", "sh", "{service}"].',
      ),
      ...unless(
        strange === undefined,
        `${at}/${i}`,
        `{${strange ?? ''}} is not declared`,
        `Declare it under "arguments", or use ${BUILT_IN.map((name) => `{${name}}`).join(', ')}.`,
      ),
    ];
  });
}

function argumentFindings(
  at: string,
  name: string,
  pattern: JsonValue | undefined,
  value: JsonValue | undefined,
): ConfigFinding[] {
  if (BUILT_IN.includes(name))
    return unless(false, at, `{${name}} is given already`, 'Use another name.');
  if (typeof pattern !== 'string') return [];
  try {
    new RegExp(pattern, 'u').test(''); // by itself: `a)|(b` must not become good where it is anchored
    const fits = typeof value !== 'string' || (matchesWhole(pattern, value) && safeArgument(value));
    return unless(fits, `${at}/default`, 'the default does not fit the pattern', 'Change one.');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return unless(false, `${at}/pattern`, why, 'Write a regular expression of JavaScript.');
  }
}

function notifyFindings(target: JsonValue, index: number): ConfigFinding[] {
  const at = `/notify/${index}`;
  if (!isJsonObject(target)) return [];
  const { kind, url, url_file: urlFile } = target;
  if (kind === 'command')
    return texts(target['argv']).flatMap((text, i) =>
      unless(
        placeholdersIn(text).length === 0,
        `${at}/argv/${i}`,
        'a notification has no placeholders',
        'It gets all there is to know as JSON on its standard input.',
      ),
    );
  return [
    ...unless(
      (url === undefined) !== (urlFile === undefined),
      at,
      'one of url and url_file is needed, and only one',
      'A URL that is itself a secret stands in a file that only you can read: "url_file".',
    ),
    // Not quoted: it may hold a password.
    ...unless(typeof url !== 'string' || isPlainUrl(url), `${at}/url`, URL_PROBLEM, URL_FIX),
  ];
}

const NAME_FIX = 'Use letters, digits, `.`, `_` and `-`, beginning with a letter or digit.';

const unless = (isGood: boolean, pointer: string, message: string, fix: string): ConfigFinding[] =>
  isGood ? [] : [{ pointer, message, fix }];

const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');

const texts = (value: JsonValue | undefined): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

function each(content: JsonObject, name: string): [string, JsonObject][] {
  const object = content[name];
  if (!isJsonObject(object)) return [];
  return Object.entries(object).flatMap(([key, value]) =>
    isJsonObject(value) ? [[key, value] as [string, JsonObject]] : [],
  );
}
