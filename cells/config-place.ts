/**
 * Where the daemon's configuration lies, and the one thing in it that every verb needs: where the missions are. Read with
 * nothing that costs a start anything; what the rest says, and whether it is right, is for daemon-config.ts.
 *
 * P1 "Unreadable" is never "empty" (P6): only a file that is not there says nothing.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';

/** Largest configuration, in bytes. */
const MAX_CONFIG_BYTES = 1024 * 1024;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Which file is read; null: none. `named`: somebody asked for this one, so it has to be there. */
export interface ConfigPlace {
  file: string | null;
  named: '--config' | 'LAZARUS_CONFIG' | null;
}

/** The word for "read no file". */
const NO_FILE = 'none';

/** `--config FILE`, else LAZARUS_CONFIG, else `~/.lazarus/config.json`. */
export function configPlace(option: string | undefined, environment: Environment): ConfigPlace {
  const named = option ? '--config' : environment['LAZARUS_CONFIG'] ? 'LAZARUS_CONFIG' : null;
  const text = option || environment['LAZARUS_CONFIG'];
  if (text === undefined || text === '')
    return { file: join(homedir(), '.lazarus', 'config.json'), named };
  return { file: text === NO_FILE ? null : resolve(fromHome(text)), named };
}

/**
 * Only `missions_path`, without a look at the rest: what every verb needs to find the node. Undefined when the file says
 * nothing. Throws RuntimeError FILE_INVALID when there is a file and it cannot be understood.
 */
export function configuredMissions({ file }: ConfigPlace): string | undefined {
  const bytes = file === null ? null : readConfigBytes(file);
  if (file === null || bytes === null) return undefined;
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw unreadable(file, cause);
  }
  const path = isJsonObject(content) ? content['missions_path'] : undefined;
  return typeof path === 'string' && path !== '' ? resolve(fromHome(path)) : undefined;
}

/** Null when there is none. Throws RuntimeError FILE_INVALID when it is there and cannot be read (P1). */
export function readConfigBytes(file: string): Uint8Array | null {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK); // a fifo must not hold us up
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw unreadable(file, error);
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw unreadable(file, new Error('it is not a file'));
    if (stats.size > MAX_CONFIG_BYTES)
      throw unreadable(file, new Error(`it has more than ${MAX_CONFIG_BYTES} bytes`));
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

function unreadable(file: string, cause: unknown): RuntimeError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new RuntimeError(`the configuration ${file} cannot be read: ${why}`, {
    code: 'FILE_INVALID',
    cause,
    details: { file, problems: [] },
    hint: 'See `lazarus config show`; --config FILE names another one.',
  });
}

export const fromHome = (path: string): string =>
  path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
