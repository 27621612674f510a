/** What a JSON Schema cannot say of the daemon's configuration in words that people can act on. */
import { DEFAULT_POLICIES } from '../machines/mission.ts';
import {
  LOG_LEVELS,
  hostName,
  httpAddress,
  isAtTop,
  isNatsPlace,
  PATH_KEYS,
} from '../machines/daemon-config.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { isApiUrl, MODEL_VARIABLE, ollamaUrl } from '../machines/llm-config.ts';
import { redisPlace } from '../machines/redis-url.ts';
import type { Finding } from './explain.ts';
import { describe, toPointer } from './parse-json.ts';

/** Values of the wrong kind are the schema's to name; here they are passed over. */
export function ruleProblems(content: JsonObject): Finding[] {
  return [
    ...misplacedPolicies(content),
    ...contradictions(content),
    ...levelProblem(content['log_level']),
    ...httpProblem(content['http']),
    ...hostProblems(content['http_allowed_hosts']),
    ...natsProblem(content['nats']),
    ...redisProblem(content['redis_url']),
    ...PATH_KEYS.flatMap((key) => pathProblem(key, content[key])),
    ...gatewayProblems(content['gateways']),
    ...llmProblems(content['llm']),
  ];
}

/** A policy at the top, where only a few of them may stand. */
function misplacedPolicies(content: JsonObject): Finding[] {
  const isPolicy = (key: string): boolean => Object.hasOwn(DEFAULT_POLICIES, key);
  return Object.keys(content)
    .filter((key) => isPolicy(key) && !isAtTop(key))
    .map((key) => ({
      pointer: `/${key}`,
      message: `'${key}' stands at the top`,
      fix: `Write it under "policies".`,
    }));
}

/** Policies that may stand in both places, with different values. */
function contradictions(content: JsonObject): Finding[] {
  const { policies } = content;
  if (!isJsonObject(policies)) return [];
  const plain = (value: JsonValue | undefined): JsonValue | undefined =>
    value === true ? 'yes' : value === false ? 'ask' : value;
  const both = Object.keys(policies).filter((key) => isAtTop(key) && content[key] !== undefined);
  return both.flatMap((key) => {
    const [above, below] = [content[key], policies[key]];
    if (plain(above) === plain(below)) return [];
    const message = `${key} is ${describe(below)} here and ${describe(above)} at the top`;
    return [{ pointer: `/policies/${key}`, message, fix: 'Remove one of the two.' }];
  });
}

function levelProblem(level: JsonValue | undefined): Finding[] {
  if (typeof level !== 'string' || Object.hasOwn(LOG_LEVELS, level.toLowerCase())) return [];
  return [
    {
      pointer: '/log_level',
      message: `log_level is ${describe(level)}; use one of DEBUG, INFO, WARNING, ERROR, CRITICAL`,
      fix: 'Write one of them.',
    },
  ];
}

function httpProblem(http: JsonValue | undefined): Finding[] {
  if (typeof http !== 'string' || httpAddress(http) !== undefined) return [];
  return [
    {
      pointer: '/http',
      message: `http is ${describe(http)}; it must be HOST:PORT with a port from 0 to 65535, or "off"`,
      fix: 'Write for example "127.0.0.1:8080".',
    },
  ];
}

function hostProblems(hosts: JsonValue | undefined): Finding[] {
  if (!Array.isArray(hosts)) return [];
  return hosts.flatMap((host, index) => {
    if (typeof host !== 'string' || host === '' || hostName(host) !== undefined) return [];
    return [
      {
        pointer: `/http_allowed_hosts/${index}`,
        message: `${describe(host)} is neither a host name nor an address`,
        fix: 'Write it alone, without scheme, port and wildcards: "lazarus", "nas.lan", "192.168.1.5".',
      },
    ];
  });
}

function natsProblem(nats: JsonValue | undefined): Finding[] {
  if (typeof nats !== 'string' || isNatsPlace(nats)) return [];
  return [
    {
      pointer: '/nats',
      message: 'nats must be embedded, off, or the URL of a server', // it may hold a password: not shown
      fix: 'Write for example "nats://127.0.0.1:4222".',
    },
  ];
}

function redisProblem(url: JsonValue | undefined): Finding[] {
  if (typeof url !== 'string' || url === 'off' || redisPlace(url) !== undefined) return [];
  return [
    {
      pointer: '/redis_url',
      message: 'redis_url must be the URL of a Redis server, or off', // not quoted: it may hold a password
      fix: 'Write for example "redis://127.0.0.1:6379".',
    },
  ];
}

/** A daemon is started from anywhere, so a relative path would name another folder each time. */
function pathProblem(key: string, path: JsonValue | undefined): Finding[] {
  if (typeof path !== 'string' || path.startsWith('/') || /^~(\/|$)/.test(path)) return [];
  if (key === 'runtime_path' && path === 'off') return [];
  return [
    {
      pointer: `/${key}`,
      message: `${key} is ${describe(path)}; it must be absolute`,
      fix: 'Begin it with / or ~/.',
    },
  ];
}

function gatewayProblems(gateways: JsonValue | undefined): Finding[] {
  if (!isJsonObject(gateways)) return [];
  return Object.entries(gateways).flatMap(([name, url]) => {
    if (typeof url !== 'string' || isWebUrl(url)) return [];
    const pointer = `/gateways${toPointer([name])}`;
    // Not quoted whole: a URL may hold a password.
    const message = `the URL of gateway '${name.slice(0, 60)}' is none of http:// or https://`;
    return [{ pointer, message, fix: 'Write for example "http://127.0.0.1:8080".' }];
  });
}

/** Addresses are not quoted: they may hold a password, which has no place in them. */
function llmProblems(llm: JsonValue | undefined): Finding[] {
  if (!isJsonObject(llm)) return [];
  const { chain, ollama, anthropic } = llm;
  const found: Finding[] = [];
  const host = isJsonObject(ollama) ? ollama['host'] : undefined;
  if (typeof host === 'string' && ollamaUrl(host) === undefined)
    found.push({
      pointer: '/llm/ollama/host',
      message: 'host must be the address of an Ollama server, without a password',
      fix: 'Write for example "http://127.0.0.1:11434".',
    });
  const base = isJsonObject(anthropic) ? anthropic['base_url'] : undefined;
  if (typeof base === 'string' && !isApiUrl(base))
    found.push({
      pointer: '/llm/anthropic/base_url',
      message: 'base_url must be an http:// or https:// URL, without a password',
      fix: 'Write for example "https://api.anthropic.com".',
    });
  for (const [index, entry] of (Array.isArray(chain) ? chain : []).entries()) {
    const model = isJsonObject(entry) ? entry['model'] : undefined;
    if (typeof model === 'string' && model.replace(MODEL_VARIABLE, '').includes('${'))
      found.push({
        pointer: `/llm/chain/${index}/model`,
        message: `${describe(model)} names a variable other than ${MODEL_VARIABLE}`,
        fix: 'Write the model itself.',
      });
  }
  return found;
}

function isWebUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:');
}
