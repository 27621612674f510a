/**
 * How a host is reached. Here a command for another host becomes one of ours.
 *
 * S1 ssh hands the remote shell one text. Every word of it stands in single quotes, and words with a line end or another
 *    control character are refused: no shell reads anything but the words.
 * S2 The destination comes from the file, never from an action, and stands behind `--`.
 * S3 Nothing is asked at a terminal, nothing is forwarded, and no master connection is left in the background.
 * S4 A request to another host's agent is for it alone: not on a subject that is kept in a stream, where the server would answer
 *    first, and where those who may publish events could ask the agent themselves.
 */
import { DEFAULT_TIMEOUTS, plainName } from '../../machines/executor-config.ts';
import type {
  ExecutorConfig,
  HostConfig,
  Reach,
  TimeoutName,
} from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { streamOf } from '../../bus/streams.ts';
import { hostSubject } from '../../bus/nats-users.ts';

/** What is in force, and what the drivers need to know of us. */
export interface Setting {
  file: string;
  config: ExecutorConfig;
  /** Names of the host we run on. */
  localHosts: readonly string[];
}

export interface Host {
  name: string;
  config: HostConfig;
  /** For people. */
  via: string;
  isLocal: boolean;
}

/** Throws NOT_CONFIGURED with what to write where, INVALID_ARGUMENT for what is no host's name. */
export function hostOf({ file, config, localHosts }: Setting, name: string): Host {
  if (!plainName(name)) throw invalidName('host', name);
  const given = Object.hasOwn(config.hosts, name) ? config.hosts[name] : undefined;
  const own: HostConfig | undefined = localHosts.includes(name) ? { via: 'local' } : undefined;
  const found = given ?? own;
  if (found === undefined)
    throw new RuntimeError(`nobody has said how host ${name} is reached`, {
      code: 'NOT_CONFIGURED',
      details: { host: name, file, local: [...localHosts] },
      hint: `Write into ${file}: {"hosts": {"${name}": {"via": "ssh", "destination": "user@${name}"}}}`,
    });
  return { name, config: found, via: viaText(name, found), isLocal: found.via === 'local' };
}

export function invalidName(what: string, name: string): RuntimeError {
  const shown = JSON.stringify(name.slice(0, 100));
  return new RuntimeError(`${shown} cannot be the name of a ${what}`, {
    code: 'INVALID_ARGUMENT',
    hint: 'Names have letters, digits, `.`, `_` and `-`, and begin with a letter or digit.',
  });
}

function viaText(name: string, reach: Reach): string {
  if (reach.via === 'ssh') return `ssh ${reach.destination}`;
  return reach.via === 'nats' ? `nats ${subjectOf(name, reach)}` : 'local';
}

/** Where that host's agent listens (S4). Throws NOT_CONFIGURED. */
export function subjectOf(name: string, { subject }: { subject?: string }): string {
  const chosen = subject ?? hostSubject(name);
  const stream = streamOf(chosen);
  if (stream === undefined) return chosen;
  throw new RuntimeError(
    `${chosen} is kept in the stream ${stream.name}, which answers by itself`,
    {
      code: 'NOT_CONFIGURED',
      details: { host: name, subject: chosen },
      hint: `Leave "subject" of host ${name} out (it is exec.<host> then), or name one outside of ${stream.subjects.join(', ')}.`,
    },
  );
}

export const timeoutMs = ({ config }: Setting, name: TimeoutName): number =>
  (config.timeouts[name] ?? DEFAULT_TIMEOUTS[name]) * 1000;

/** The argv that runs `argv` on that host. Not for one that is reached by NATS. */
export function argvOn(setting: Setting, { config }: Host, argv: readonly string[]): string[] {
  return config.via === 'ssh' ? sshArgv(config, argv, timeoutMs(setting, 'connect')) : [...argv];
}

/** Of the whole of our environment, ssh alone needs to know where its agent listens. */
export function environmentFor({ config }: Host): Record<string, string> {
  const socket = process.env['SSH_AUTH_SOCK'];
  return config.via === 'ssh' && socket ? { SSH_AUTH_SOCK: socket } : {};
}

/** S3. ssh takes the first value that it is given for an option. */
const FIRST = [
  'BatchMode=yes',
  'ClearAllForwardings=yes',
  'ControlMaster=no',
  'ForwardAgent=no',
  'ForwardX11=no',
  'PermitLocalCommand=no',
  'RemoteCommand=none',
  'RequestTTY=no',
];

export function sshArgv(
  { destination, options = [], port, identity_file: identity }: Reach & { via: 'ssh' },
  argv: readonly string[],
  connectMs: number,
): string[] {
  const connect = `ConnectTimeout=${Math.ceil(connectMs / 1000)}`;
  return [
    'ssh',
    ...[...FIRST, ...options, connect].flatMap((option) => ['-o', option]),
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(identity === undefined ? [] : ['-i', identity]),
    '--', // S2
    destination,
    quoted(argv),
  ];
}

/** S1. */
export function quoted(argv: readonly string[]): string {
  return argv.map(quotedWord).join(' ');
}

function quotedWord(word: string): string {
  if (/\p{Cc}/u.test(word))
    throw new RuntimeError('a word of a command for another host has a control character', {
      code: 'INVALID_ARGUMENT',
      hint: 'Write the command without line ends and tabs, or put it into a script on that host.',
    });
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** For people: quoted only where a shell would need it. */
export const shownArgv = (argv: readonly string[]): string =>
  argv
    .map((word) =>
      /^[A-Za-z0-9_.,:@%+=/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`,
    )
    .join(' ');

/** ssh's own complaints before there was a session; its exit status 255 alone may also be a lost connection. */
const NO_SESSION =
  /^(?:ssh: (?:connect to host|Could not resolve hostname)|\S+: Permission denied \(|Host key verification failed|kex_exchange_identification:|Connection (?:timed out during banner exchange|closed by \S+ port \d+ \[preauth\])|command-line: line \d+: Bad)/m;

/** What ssh's 255 means: `unreached`, nothing ran there; `lost`, something may have. */
export function sshFailure(stdout: string, stderr: string): 'unreached' | 'lost' {
  return stdout === '' && NO_SESSION.test(stderr) ? 'unreached' : 'lost';
}
