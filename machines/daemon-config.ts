/**
 * What the daemon can be told, and what holds when it is told by several: pure, so that `up`, `config show`, `doctor` and a
 * change while running all come to the same answer. Durations are seconds.
 *
 * G1 Each key by itself: option > environment > file > default, and its origin is kept beside its value.
 * G2 `auto_revive`, `max_retries` and `ask_expires` at the top and under `policies` are the same settings.
 * G3 Cells are told only what somebody wrote: a default of ours must not stand as the daemon's word.
 */
import { isJsonObject, jsonEqual } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { LlmConfig } from './llm-config.ts';
import { DEFAULT_POLICIES, DEFAULT_RESTART } from './mission.ts';
import { natsServers } from './nats-url.ts';
import type { ExecutorMode } from './remediation.ts';
import type { AutoRevive, Policies, RestartIntensity } from './mission.ts';

export interface DaemonConfig {
  /** Seconds between two looks at the health of all agents, and between two polls of a gateway. */
  poll_interval: number;
  /** Seconds without a sign of life after which a remote agent has failed. */
  timeout: number;
  max_retries: number;
  auto_revive: AutoRevive;
  /** Names, or name to URL: a gateway with a URL is polled. */
  gateways: string[] | Record<string, string>;
  missions_path: string;
  /** One of Python's names or pino's; see `LOG_LEVELS`. */
  log_level: string;
  /** What holds for cells that say nothing, whole: those that stand at the top included. */
  policies: Policies;
  restart: RestartIntensity;
  /** Worker processes that stand by for a revival. */
  standby_workers: number;
  /** `HOST:PORT` or `off`. */
  http: string;
  /** Names and addresses, besides its own, by which others may call the gateway. */
  http_allowed_hosts: string[];
  /** Who may watch on the gateway: this machine, nobody, or whoever reaches the gateway and has the token. */
  inspector: InspectorMode;
  /** `embedded`: a server of our own on loopback; `off`; or the URL of one that runs. */
  nats: string;
  nats_options: NatsOptions;
  /** The Redis server that is bridged to: `redis://...`, `rediss://...`, or `off`. May hold a password. */
  redis_url: string;
  /** Folder that the homelab's programs share: planner, gate and executor work there. `off`: none of them runs. */
  runtime_path: string;
  /** What should run where; null: `inventory` in the runtime folder. */
  inventory_path: string | null;
  /** Whether we write down what is observed (`world/`); `auto`: unless another program does. */
  observer: ObserverMode;
  /** Seconds between two looks at desired and observed, when nothing happens in between. */
  reconcile_interval: number;
  /** What else hosts are called in events and observations, to their names in the inventory. */
  node_aliases: Record<string, string>;
  /** Where the supervisor's log and checkpoint are; null: `state/` of the runtime folder. */
  agent_events_log: string | null;
  supervisor_checkpoint: string | null;
  /** Whether approved actions are carried out, shown only, or left waiting. */
  executor: ExecutorMode;
  /** What this machine is called in events of ours; null: the host's name. */
  node_name: string | null;
  /** Seconds in which a service that had a proposal gets no other. */
  cooldown: number;
  /** Language models: which are asked in which order, and what they may cost. Holds no key. */
  llm: LlmConfig;
  /** Whether commands (`steps`, `run`) may come in by the network. */
  remote_commands: boolean;
  /** Whether MCP clients that come by HTTP may decide what people decide. */
  mcp_approvals: boolean;
  /** Seconds after which a revival request that nobody answered expires. */
  ask_expires: number;
}

export type ObserverMode = 'auto' | 'on' | 'off';
export type InspectorMode = 'on' | 'off' | 'network';

/** Absolute paths of files. */
export interface NatsOptions {
  /** A `.creds` file of NATS, or one line: `user:password`, or a token. */
  credentials_file?: string;
  ca_file?: string;
  cert_file?: string;
  key_file?: string;
  /** Name under which the NATS CLI finds the server; false: it is not told. */
  context?: string | false;
}

const AT_TOP = ['auto_revive', 'max_retries', 'ask_expires'] as const;
type PolicyKey = Exclude<keyof Policies, (typeof AT_TOP)[number]>;
/** A setting by itself: `timeout`, `policies.revive_timeout`. */
export type ConfigKey = Exclude<keyof DaemonConfig, 'policies'> | `policies.${PolicyKey}`;

export type Origin =
  | { from: 'default' }
  | { from: 'file'; file: string; line: number }
  | { from: 'environment'; name: string }
  | { from: 'option'; name: string };

export interface Setting {
  value: JsonValue;
  origin: Origin;
}
/** What one source says: only the keys it names. */
export type ConfigLayer = Partial<Record<ConfigKey, Setting>>;

export interface EffectiveConfig {
  values: DaemonConfig;
  origins: Record<ConfigKey, Origin>;
  /** The file that was looked for; null: none was to be read. */
  file: string | null;
}

/** Settings that name a folder; a relative one is meant from where the command was given. */
export const PATH_KEYS: readonly ConfigKey[] = [
  'missions_path',
  'runtime_path',
  'inventory_path',
  'agent_events_log',
  'supervisor_checkpoint',
];

/** Where missions are, unless that folder cannot be had: then in `./var/missions` (cli/missions.ts). */
export const SYSTEM_MISSIONS = '/var/missions';
/** Where the shared folder of a homelab is, unless that cannot be had: then `./opt/homelab`. */
export const HOMELAB_RUNTIME = '/opt/homelab';

const DEFAULTS: Record<ConfigKey, JsonValue> = {
  poll_interval: 30,
  timeout: 300,
  max_retries: DEFAULT_POLICIES.max_retries,
  // The source's daemon says true, its cells say "ask"; where nobody said anything a person is asked.
  auto_revive: DEFAULT_POLICIES.auto_revive,
  gateways: [],
  missions_path: SYSTEM_MISSIONS,
  log_level: 'INFO',
  restart: { ...DEFAULT_RESTART },
  standby_workers: 2,
  http: '127.0.0.1:8080',
  http_allowed_hosts: [],
  inspector: 'on',
  nats: 'embedded',
  nats_options: {},
  redis_url: 'off',
  runtime_path: 'off',
  inventory_path: null,
  observer: 'auto',
  reconcile_interval: 60,
  node_aliases: {},
  agent_events_log: null,
  supervisor_checkpoint: null,
  executor: 'off',
  node_name: null,
  cooldown: 300,
  llm: {},
  remote_commands: false,
  mcp_approvals: false,
  ask_expires: DEFAULT_POLICIES.ask_expires,
  'policies.revive_timeout': DEFAULT_POLICIES.revive_timeout,
  'policies.substitute_agents': DEFAULT_POLICIES.substitute_agents,
  'policies.handoff_allowed': DEFAULT_POLICIES.handoff_allowed,
  'policies.handoff_approval': DEFAULT_POLICIES.handoff_approval,
  'policies.checkpoint_required': DEFAULT_POLICIES.checkpoint_required,
  'policies.checkpoint_interval': DEFAULT_POLICIES.checkpoint_interval,
  'policies.progress_timeout': DEFAULT_POLICIES.progress_timeout,
};

/** In the order in which they are shown. */
export const CONFIG_KEYS = Object.keys(DEFAULTS) as ConfigKey[];

/** Settings that a running node cannot take over. */
export const NEEDS_RESTART: readonly ConfigKey[] = [
  'missions_path',
  'http',
  'inspector',
  'nats',
  'nats_options',
  'redis_url',
  'runtime_path',
  'inventory_path',
  'observer',
  'reconcile_interval',
  'node_aliases',
  'agent_events_log',
  'supervisor_checkpoint',
  'executor',
  'node_name',
];

/** Names of Python's logging, which older configurations have, and pino's own; to pino's. */
export const LOG_LEVELS: Readonly<Record<string, string>> = {
  trace: 'trace',
  notset: 'trace',
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  critical: 'fatal',
  fatal: 'fatal',
  silent: 'silent',
};

/** G1. `layers`: the strongest first. */
export function mergeConfig(layers: readonly ConfigLayer[], file: string | null): EffectiveConfig {
  const settings = Object.fromEntries(
    CONFIG_KEYS.map((key) => [key, layers.find((layer) => layer[key])?.[key] ?? fallback(key)]),
  ) as Record<ConfigKey, Setting>;
  return fromSettings(settings, file);
}

const fallback = (key: ConfigKey): Setting => ({
  value: DEFAULTS[key],
  origin: { from: 'default' },
});

/** What a file's content, valid by its schema, says setting by setting (G2). `pointer` is where it says it. */
export function settingsOf(
  content: JsonObject,
): { key: ConfigKey; pointer: string; value: JsonValue }[] {
  const found: { key: ConfigKey; pointer: string; value: JsonValue }[] = [];
  const add = (name: string, pointer: string, value: JsonValue): void => {
    const key = CONFIG_KEYS.find((known) => known === name);
    if (key !== undefined) found.push({ key, pointer, value: normal(key, value) });
  };
  for (const [name, value] of Object.entries(content)) {
    if (name !== 'policies') add(name, `/${name}`, value);
    else if (isJsonObject(value))
      for (const [policy, given] of Object.entries(value))
        add(isAtTop(policy) ? policy : `policies.${policy}`, `/policies/${policy}`, given);
  }
  return found;
}

/** Policies that may stand at the top of the file too (G2). */
export const isAtTop = (policy: string): policy is (typeof AT_TOP)[number] =>
  (AT_TOP as readonly string[]).includes(policy);

function normal(key: ConfigKey, value: JsonValue): JsonValue {
  if (key !== 'auto_revive' || typeof value !== 'boolean') return value;
  return value ? 'yes' : 'ask';
}

/** G3. */
export function explicitPolicies(config: EffectiveConfig): Partial<Policies> {
  const names = Object.keys(DEFAULT_POLICIES) as (keyof Policies)[];
  const said = names.filter((name) => config.origins[keyOfPolicy(name)].from !== 'default');
  return Object.fromEntries(said.map((name) => [name, config.values.policies[name]]));
}

const keyOfPolicy = (name: keyof Policies): ConfigKey =>
  isAtTop(name) ? name : `policies.${name}`;

/** G3. */
export function explicitRestart(config: EffectiveConfig): RestartIntensity | null {
  return config.origins.restart.from === 'default' ? null : config.values.restart;
}

/** `HOST:PORT`, `[::1]:PORT` or `off`; undefined when it is none of them. Port 0: any that is free. */
export function httpAddress(text: string): { host: string; port: number } | 'off' | undefined {
  if (text === 'off') return 'off';
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

/**
 * As it stands in a `Host` header, without a port: a name, an IPv4 address, an IPv6 address in brackets. Undefined when it
 * is none of them; a wildcard is none.
 */
export function hostName(text: string): string | undefined {
  const name = text.toLowerCase();
  const address = /^\[?([0-9a-f:.]*:[0-9a-f:.]*)\]?$/.exec(name)?.[1];
  if (address !== undefined)
    return URL.parse(`http://[${address}]/`) === null ? undefined : `[${address}]`;
  const isName = name.length <= 253 && name.split('.').every((label) => LABEL.test(label));
  return isName ? name : undefined;
}

/** Underscores: names of containers have them. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** Whether this is `embedded`, `off` or one or more addresses of NATS servers, separated by commas. */
export function isNatsPlace(text: string): boolean {
  if (text === 'embedded' || text === 'off') return true;
  return natsServers(text) !== undefined;
}

/** Whether somebody wants exactly this value: one that equals the default (`config init` writes those) is not insisted on. */
export function isAskedFor(config: EffectiveConfig, key: ConfigKey): boolean {
  const { value, origin } = settingOf(config, key);
  if (origin.from === 'default') return false;
  return origin.from !== 'file' || !jsonEqual(value, DEFAULTS[key]);
}

/** Gateways that can be polled. */
export function gatewayUrls({ gateways }: DaemonConfig): Record<string, string> {
  return Array.isArray(gateways) ? {} : gateways;
}

export function settingOf(config: EffectiveConfig, key: ConfigKey): Setting {
  return { value: valueOf(config.values, key), origin: config.origins[key] };
}

/** Keys whose values differ. */
export function changedKeys(before: EffectiveConfig, after: EffectiveConfig): ConfigKey[] {
  return CONFIG_KEYS.filter(
    (key) => !jsonEqual(settingOf(before, key).value, settingOf(after, key).value),
  );
}

/** What a running node makes of a new configuration: all of it, but for what needs a restart. */
export function takeOver(
  running: EffectiveConfig,
  next: EffectiveConfig,
): { config: EffectiveConfig; changed: ConfigKey[]; waiting: ConfigKey[] } {
  const different = changedKeys(running, next);
  const waiting = different.filter((key) => NEEDS_RESTART.includes(key));
  const settings = Object.fromEntries(
    CONFIG_KEYS.map((key) => [key, settingOf(waiting.includes(key) ? running : next, key)]),
  ) as Record<ConfigKey, Setting>;
  const changed = different.filter((key) => !waiting.includes(key));
  return { config: fromSettings(settings, next.file), changed, waiting };
}

export function originText(origin: Origin): string {
  switch (origin.from) {
    case 'default':
      return 'default';
    case 'file':
      return `${origin.file}:${origin.line}`;
    case 'environment':
      return `environment ${origin.name}`;
    case 'option':
      return `option ${origin.name}`;
    default:
      return origin satisfies never;
  }
}

function fromSettings(settings: Record<ConfigKey, Setting>, file: string | null): EffectiveConfig {
  const values: JsonObject = {};
  const policies: JsonObject = {};
  for (const key of CONFIG_KEYS) {
    const { value } = settings[key];
    if (key.startsWith('policies.')) policies[key.slice('policies.'.length)] = value;
    else values[key] = value;
    if (isAtTop(key)) policies[key] = value;
  }
  const origins = Object.fromEntries(
    CONFIG_KEYS.map((key) => [key, settings[key].origin]),
  ) as Record<ConfigKey, Origin>;
  return { values: { ...values, policies } as unknown as DaemonConfig, origins, file };
}

function valueOf(values: DaemonConfig, key: ConfigKey): JsonValue {
  const whole = values as unknown as JsonObject;
  const policies = values.policies as unknown as JsonObject;
  return (
    (key.startsWith('policies.') ? policies[key.slice('policies.'.length)] : whole[key]) ?? null
  );
}
