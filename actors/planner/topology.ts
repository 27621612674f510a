/**
 * What the inventory says of the homelab's machines, for the planner's question: `topology.yaml` with a word on each, and
 * `hosts/<host>/services.yaml` with what runs there. Read again when a question is asked, but not for every one.
 *
 * T1 An inventory that cannot be read is not an empty one: what was read last holds, and the status says so (P6).
 * T2 Files are bounded, and so are hosts and services (P8). The parser is the supervisor's own: one file means one thing.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode, readIfThere } from '../../cells/inside.ts';
import { toPlainError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { plainText } from '../../machines/plain-text.ts';
import type { KnownHost } from '../../machines/planner-prompt.ts';
import type { PlannerLog } from './planner-log.ts';

const MAX_BYTES = 256 * 1024;
const MAX_HOSTS = 200;
const MAX_SERVICES = 100;
const MAX_NAME = 100;
/** What was read serves so long, ms. */
const FRESH_MS = 30_000;

type Parse = (bytes: Uint8Array) => unknown;

export class Topology {
  readonly #folder: string;
  readonly #log: PlannerLog;
  #hosts: readonly KnownHost[] = [];
  #readAt = -Infinity;
  #problem: string | null = null;

  constructor(inventory: string, log: PlannerLog) {
    this.#folder = inventory;
    this.#log = log;
  }

  async hosts(): Promise<readonly KnownHost[]> {
    if (performance.now() - this.#readAt < FRESH_MS) return this.#hosts;
    this.#readAt = performance.now();
    try {
      this.#hosts = readInventory(this.#folder, await yamlParser());
      this.#problem = null;
    } catch (error) {
      this.#tell(toPlainError(error).message); // T1
    }
    return this.#hosts;
  }

  view(): JsonObject {
    return { path: this.#folder, hosts: this.#hosts.length, problem: this.#problem };
  }

  #tell(problem: string): void {
    if (this.#problem !== problem)
      this.#log.warn({ path: this.#folder, problem }, 'inventory not read; the last one holds');
    this.#problem = problem;
  }
}

/** Most starts ask no model. */
async function yamlParser(): Promise<Parse> {
  const { parseYaml } = await import('../../cells/yaml-file.ts');
  return (bytes) => {
    const parsed = parseYaml(bytes, MAX_BYTES);
    if (parsed.ok) return parsed.value;
    const { line, message } = parsed.problems[0] ?? { line: 1, message: 'it is not YAML' };
    throw new Error(`line ${line}: ${message}`);
  };
}

/** Throws what cannot be read, with the file. */
export function readInventory(folder: string, parse: Parse): KnownHost[] {
  const hosts = new Map<string, KnownHost>();
  for (const [name, about] of describedHosts(fileIn(folder, 'topology.yaml', parse)))
    if (hosts.size < MAX_HOSTS) hosts.set(name, { name, about, services: [] });
  for (const name of hostFolders(folder)) {
    const services = servicesIn(fileIn(folder, join('hosts', name, 'services.yaml'), parse));
    const known = hosts.get(name);
    if (known) known.services = services;
    else if (hosts.size < MAX_HOSTS) hosts.set(name, { name, about: '', services });
  }
  return [...hosts.values()];
}

/** Undefined: it is not there. */
function fileIn(folder: string, path: string, parse: Parse): unknown {
  try {
    const bytes = readIfThere(folder, path, { maxBytes: MAX_BYTES });
    return bytes === undefined ? undefined : parse(bytes);
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return undefined;
    throw new Error(`${path}: ${toPlainError(error).message}`, { cause: error });
  }
}

function hostFolders(folder: string): string[] {
  try {
    return readdirSync(join(folder, 'hosts'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && isName(entry.name))
      .map(({ name }) => name)
      .sort()
      .slice(0, MAX_HOSTS);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

/** Under `nodes` or `hosts`, or at the top: a list of records that have a name, or records by name. */
function describedHosts(content: unknown): [name: string, about: string][] {
  if (!isJsonObject(content)) return [];
  const given = content['nodes'] ?? content['hosts'] ?? content;
  if (Array.isArray(given))
    return given.flatMap((entry): [string, string][] => {
      const name = nameOf(entry);
      return name === undefined ? [] : [[name, aboutOf(entry)]];
    });
  if (!isJsonObject(given)) return [];
  return Object.entries(given).flatMap(([name, entry]): [string, string][] =>
    isName(name) && (isJsonObject(entry) || typeof entry === 'string')
      ? [[name, aboutOf(entry)]]
      : [],
  );
}

/** A list of names, or of records that have one, or records by name. */
function servicesIn(content: unknown): string[] {
  if (!isJsonObject(content)) return [];
  const { services = null } = content;
  const names = Array.isArray(services)
    ? services.map(nameOf)
    : isJsonObject(services)
      ? Object.keys(services)
      : [];
  return names
    .filter((name): name is string => name !== undefined && isName(name))
    .slice(0, MAX_SERVICES);
}

const isName = (name: string): boolean =>
  name !== '' && name.length <= MAX_NAME && plainText(name, MAX_NAME) === name;

function nameOf(entry: unknown): string | undefined {
  if (typeof entry === 'string') return isName(entry) ? entry : undefined;
  if (!isJsonObject(entry)) return undefined;
  const name = entry['name'] ?? entry['node'] ?? entry['host'] ?? entry['hostname'] ?? entry['id'];
  return typeof name === 'string' && isName(name) ? name : undefined;
}

function aboutOf(entry: unknown): string {
  if (typeof entry === 'string') return entry;
  if (!isJsonObject(entry)) return '';
  return ['description', 'role', 'roles', 'type', 'location']
    .flatMap((key) => entry[key] ?? [])
    .filter((value) => typeof value === 'string')
    .join('; ');
}
