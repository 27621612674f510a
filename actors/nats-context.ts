/**
 * What the NATS CLI needs to know, where it looks for it: `nats --context lazarus micro ls` just works. One context for each
 * role; what somebody else wrote under that name is left alone.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { BusLog } from '../bus/bus.ts';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import { isJsonObject } from '../machines/json.ts';

export interface Context {
  /** A BusRole, or an agent's name. */
  role: string;
  url: string;
  user: string;
  password: string;
}

const OURS = 'Lazarus (written by `lazarus up`)';

export function contextFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const config = environment['XDG_CONFIG_HOME'] || join(homedir(), '.config');
  return join(config, 'nats', 'context');
}

/** `<name>` for operators, `<name>-<role>` for the others. A folder that takes none is told, and that is all. */
export async function writeContexts(
  name: string,
  contexts: readonly Context[],
  log: BusLog,
): Promise<void> {
  const folder = contextFolder();
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const context of contexts)
      await writeContext(join(folder, `${nameOf(name, context.role)}.json`), context, log);
  } catch (error) {
    log.warn({ folder, error: String(error) }, 'the NATS CLI was not told of the server');
  }
}

const nameOf = (name: string, role: string): string =>
  role === 'operator' ? name : `${name}-${role}`;

async function writeContext(
  file: string,
  { url, user, password, role }: Context,
  log: BusLog,
): Promise<void> {
  if (isForeign(file))
    return log.warn({ file }, 'this context of the NATS CLI is not ours: left as it is');
  const content = {
    description: `${OURS}: ${role}`,
    url,
    user,
    password,
  };
  const options = { sync: false, mode: 0o600, what: 'nats-context' };
  await writeWhole(file, `${JSON.stringify(content, null, 2)}\n`, options);
}

function isForeign(file: string): boolean {
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
    const description = isJsonObject(content) ? content['description'] : undefined;
    return typeof description !== 'string' || !description.startsWith(OURS);
  } catch (error) {
    return !hasCode(error, 'ENOENT'); // unreadable is not absent (P6)
  }
}
