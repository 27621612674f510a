/**
 * What a person writes in `executor.json`: how hosts are reached and what may be run there. Types, and the words that may
 * become part of a command.
 *
 * X1 Names that come from events and models (host, service) reach a command line only by `plainName` or `safeArgument`:
 *    no blank, quote or shell character, and no leading `-`.
 * X2 An argument of a command has a pattern that its whole value matches, besides X1: never free text.
 */
export interface ExecutorConfig {
  hosts: Record<string, HostConfig>;
  /** By `<host>/<service>`. */
  services: Record<string, ServiceConfig>;
  commands: Record<string, CommandConfig>;
  notify: NotifyTarget[];
  timeouts: Partial<Record<TimeoutName, number>>;
}

export type Reach =
  | { via: 'local' }
  | {
      via: 'ssh';
      destination: string;
      /** `Name=value`, of SSH_OPTIONS. */
      options?: string[];
      port?: number;
      identity_file?: string;
    }
  | { via: 'nats'; subject?: string };

export type HostConfig = Reach & {
  /** The program; default `docker`. */
  docker?: string;
  /** By service. */
  compose?: Record<string, ComposeConfig>;
  /** Names of commands, or of PRUNES. */
  disk_cleanup?: string[];
};

export interface ComposeConfig {
  file?: string | string[];
  project_directory?: string;
  project_name?: string;
  /** Its name in the compose file; default: the service's own. */
  service?: string;
}

export interface ServiceConfig {
  /** Default: the service's own name. */
  container?: string;
  compose?: ComposeConfig;
}

export interface CommandConfig {
  argv: string[];
  arguments?: Record<string, { pattern: string; default?: string }>;
  /** Where it may run; left out: on every host. */
  hosts?: string[];
  timeout?: number;
  probe?: string[];
  retry?: 'safe' | 'probe' | 'never';
  /** Whether the service must report healthy afterwards; default false. */
  verifies?: boolean;
}

export type NotifyTarget =
  | ({ kind: 'webhook'; headers_file?: string } & HttpPlace)
  | ({ kind: 'ntfy'; topic: string; token_file?: string; priority?: number } & HttpPlace)
  | { kind: 'command'; argv: string[] };

/** One of the two; a URL that is itself a secret stands in a file. */
export interface HttpPlace {
  url?: string;
  url_file?: string;
}

export type TimeoutName = keyof typeof DEFAULT_TIMEOUTS;

/** Seconds. */
export const DEFAULT_TIMEOUTS = {
  container_restart: 120,
  redeploy: 600,
  notify: 15,
  disk_cleanup: 600,
  command: 300,
  probe: 30,
  connect: 10,
  /** A restart that was cut off, and of which nothing shows by then, was not begun. Docker gives a container 10 s to stop. */
  settle: 15,
  /** A container without a check of its own is well when it has run on for so long. */
  steady: 3,
};

export const EMPTY_EXECUTOR_CONFIG: ExecutorConfig = {
  hosts: {},
  services: {},
  commands: {},
  notify: [],
  timeouts: {},
};

/** What `disk_cleanup` can do without a command of one's own; arguments of docker. Volumes hold data: none of these removes one. */
export const PRUNES: Readonly<Record<string, string[]>> = {
  docker_system_prune: ['system', 'prune', '-f'],
  docker_image_prune: ['image', 'prune', '-f'],
  docker_builder_prune: ['builder', 'prune', '-f'],
};

const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const SAFE_ARGUMENT = /^[A-Za-z0-9_.,:@%+=/][A-Za-z0-9_.,:@%+=/-]{0,255}$/;

/** X1: of a container, a compose service or project, or a host. */
export const plainName = (name: string): boolean => PLAIN_NAME.test(name);

/** X1: one word of a command. No `..` between slashes, so that a pattern need not think of it. */
export const safeArgument = (text: string): boolean =>
  SAFE_ARGUMENT.test(text) && !text.split('/').includes('..');

/** X2. `pattern` is good: it was checked with the file. */
export const matchesWhole = (pattern: string, text: string): boolean =>
  new RegExp(`^(?:${pattern})$`, 'u').test(text);

/** Names that every command may use, besides its own arguments. */
export const BUILT_IN = ['host', 'service', 'container'];
const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_]{0,63})\}/g;

export const placeholdersIn = (text: string): string[] =>
  [...text.matchAll(PLACEHOLDER)].map((match) => match[1] ?? '');

export const fillIn = (argv: readonly string[], values: ReadonlyMap<string, string>): string[] =>
  argv.map((text) =>
    text.replaceAll(PLACEHOLDER, (whole, name: string) => values.get(name) ?? whole),
  );

export const URL_PROBLEM = 'the URL is none of http:// or https://, or has a user or password';
export const URL_FIX =
  'Write for example "https://ntfy.sh"; what is secret goes into a file ("headers_file", "token_file", "url_file").';

export function isPlainUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.username + url.password === '';
}
