/** What stands in a runtime folder, as other programs of the homelab read it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { JsonObject } from '../../machines/json.ts';

export function jsonFiles(folder: string): JsonObject[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as JsonObject);
}

export function eventFilesIn({ events }: RuntimeLayout): JsonObject[] {
  if (!existsSync(events)) return [];
  return readdirSync(events, { withFileTypes: true, recursive: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.json') && !entry.name.startsWith('.'),
    )
    .map(
      (entry) => JSON.parse(readFileSync(join(entry.parentPath, entry.name), 'utf8')) as JsonObject,
    );
}
