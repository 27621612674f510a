/**
 * A configuration for people to begin with: everything there is, with the value it has anyway.
 *
 * It is made 0600 in a folder 0700: whoever can write it decides what agents may do.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { CONFIG_KEYS, isAtTop, mergeConfig } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { writeWhole } from './durable.ts';

/** A new configuration that says what holds without one. Throws RuntimeError CONFLICT when there is one already. */
export async function writeDefaultConfig(
  file: string,
  { force }: { force: boolean },
): Promise<void> {
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { SCHEMA_BASE } = await import('./validate.ts');
  const content = { $schema: `${SCHEMA_BASE}daemon-config.json`, ...defaultContent() };
  const isFree = (): boolean => force || lstatSync(file, { throwIfNoEntry: false }) === undefined;
  const text = `${JSON.stringify(content, null, 2)}\n`;
  const options = { sync: true, mode: 0o600, what: 'daemon-config', onlyIf: isFree };
  if (await writeWhole(file, text, options)) return;
  throw new RuntimeError(`there is a configuration already: ${file}`, {
    code: 'CONFLICT',
    hint: 'Look at it: lazarus config show. Write it anew: lazarus config init --force',
  });
}

/** In the form people write. */
function defaultContent(): JsonObject {
  const { values } = mergeConfig([], null);
  const below = Object.entries(values.policies).filter(([name]) => !isAtTop(name));
  const order = CONFIG_KEYS.filter((key) => !key.startsWith('policies.'));
  const top = order.map((key) => [key, (values as unknown as JsonObject)[key]]);
  return { ...Object.fromEntries(top), policies: Object.fromEntries(below) } as JsonObject;
}
