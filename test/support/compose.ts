/**
 * docker-compose.yml as Compose reads it: YAML with merge keys, then variables put in. What of the specification we do not
 * use (`${A:+b}`, nested variables) is an error here, not something else.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseDocument } from 'yaml';

export const ROOT = resolve(import.meta.dirname, '../..');
export const COMPOSE_FILE = join(ROOT, 'docker-compose.yml');

export interface ComposeService {
  image: string;
  build?: string | { dockerfile_inline: string };
  user?: string;
  restart?: string;
  init?: boolean;
  privileged?: boolean;
  network_mode?: string;
  read_only?: boolean;
  cap_add?: string[];
  cap_drop?: string[];
  security_opt?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  configs?: { source: string; target: string }[];
  command?: string[];
  healthcheck?: { test: string[] } & Record<string, string | number | string[]>;
  depends_on?: Record<string, { condition: string }>;
}

export interface Compose {
  services: Record<string, ComposeService>;
  volumes: Record<string, unknown>;
  configs: Record<string, { content: string }>;
}

export type Variables = Readonly<Record<string, string>>;

/** Throws what Compose would say of a variable that must be there and is not. */
export function readCompose(variables: Variables): Compose {
  return putIn(parseCompose(), variables) as Compose;
}

/** Before variables are put in. Throws on whatever YAML warns of, a key that stands there twice among it. */
export function parseCompose(): unknown {
  const document = parseDocument(readFileSync(COMPOSE_FILE, 'utf8'), { merge: true });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) throw problem;
  return document.toJS();
}

function putIn(value: unknown, variables: Variables): unknown {
  if (typeof value === 'string') return interpolated(value, variables);
  if (Array.isArray(value)) return value.map((item) => putIn(item, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, putIn(item, variables)]),
  );
}

function interpolated(text: string, variables: Variables): string {
  return text.replaceAll(/\$(\$|\{([^{}]*)\}|)/g, (whole: string, after: string, inside = '') => {
    if (after === '$') return '$';
    const match = /^([A-Za-z_]\w*)(?::([-?])(.*))?$/.exec(String(inside));
    if (match?.[1] === undefined) throw new Error(`Compose would not take ${whole} in: ${text}`);
    const [, name, operator, rest = ''] = match;
    const value = variables[name];
    if (value) return value;
    if (operator === '?') throw new Error(`required variable ${name} is missing a value: ${rest}`);
    return operator === '-' ? rest : '';
  });
}

/** Names of variables that the file asks for. */
export function variablesOf(text: string): string[] {
  return [...new Set([...text.matchAll(/\$\{([A-Z_]+)/g)].map((match) => match[1] ?? ''))].sort();
}

/** What a service is told in a file at `target`. */
export function configOf({ services, configs }: Compose, service: string): string {
  const [mount] = services[service]?.configs ?? [];
  const content = mount && configs[mount.source]?.content;
  if (content === undefined) throw new Error(`${service} has no file of configuration`);
  return content;
}
