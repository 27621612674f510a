/** From the bytes of one file of the inventory to what it says, or to what is wrong with it, with lines. */
import type { FileProblem } from '../../cells/inventory-files.ts';
import { parseYaml } from '../../cells/yaml-file.ts';
import { readHostServices, readTopology } from '../../machines/desired.ts';
import type { HostFile, InventoryProblem, Need, TopologyFile } from '../../machines/desired.ts';
import type { JsonValue } from '../../machines/json.ts';

export interface InventoryKind<T> {
  maxBytes: number;
  understand: (content: JsonValue) => Understood<T>;
}
type Understood<T> =
  | { ok: true; said: T; /** What other files may make wrong. */ names: Need[] }
  | { ok: false; problems: InventoryProblem[] };

export type InventoryFileReading<T> =
  | { ok: true; said: T; lines: ReadonlyMap<string, number> }
  | { ok: false; problems: FileProblem[] };

export const MAX_HOST_BYTES = 256 * 1024;
export const MAX_TOPOLOGY_BYTES = 1024 * 1024;

export const hostKind = (host: string): InventoryKind<HostFile> => ({
  maxBytes: MAX_HOST_BYTES,
  understand(content) {
    const read = readHostServices(host, content);
    if (!read.ok) return read;
    const names = [...read.host.services.values()].flatMap(({ needs }) => needs);
    return { ok: true, said: read.host, names };
  },
});

export const TOPOLOGY_KIND: InventoryKind<TopologyFile> = {
  maxBytes: MAX_TOPOLOGY_BYTES,
  understand(content) {
    const read = readTopology(content);
    if (!read.ok) return read;
    const names = [...read.topology.hosts.values()].flatMap(({ aliases }) => aliases);
    return { ok: true, said: read.topology, names };
  },
};

export function readInventoryFile<T>(
  bytes: Uint8Array,
  file: string,
  { maxBytes, understand }: InventoryKind<T>,
): InventoryFileReading<T> {
  const parsed = parseYaml(bytes, maxBytes);
  if (!parsed.ok)
    return { ok: false, problems: parsed.problems.map((problem) => ({ file, ...problem })) };
  const read = understand(parsed.value);
  const { lineOf } = parsed;
  if (!read.ok)
    return {
      ok: false,
      problems: read.problems.map((problem) => ({ ...problem, line: lineOf(problem.pointer) })),
    };
  const lines = new Map(read.names.map(({ pointer }) => [pointer, lineOf(pointer)]));
  return { ok: true, said: read.said, lines };
}
