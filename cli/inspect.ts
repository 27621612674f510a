/**
 * `lazarus inspect`: a link by which a browser shows every actor live. The link holds a ticket that opens the page once, within
 * minutes; the token itself stands in no URL and no argument list.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { missionsLayout } from '../cells/layout.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { ErrorCode } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { isAlive } from './access.ts';
import { act, verb } from './command.ts';
import { chooseMissions, requireMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { DONE, show } from './output.ts';

const TIMEOUT_MS = 10_000;

export function command(): Command {
  const inspect = verb(
    'inspect',
    'Watch every actor of the node live, in a browser: states, contexts, events as they come.',
    'lazarus inspect\nlazarus inspect --no-open   # prints the link only',
  ).option('--no-open', 'print the link, start no browser');
  return act<{ open: boolean }>(inspect, async (_args, flags) => {
    const missions = chooseMissions(flags.missions);
    requireMissions(missions);
    const place = inspectorOf(missions);
    const { ticket, expires_at } = await askForTicket(place);
    const url = `${place.url}?ticket=${ticket}`;
    const opened = flags.open && !flags.json && openBrowser(url);
    const result = { url, socket: url.replace(/^http/, 'ws'), expires_at, opened };
    show(flags, result, () => [
      url,
      opened ? 'Your browser shows it.' : 'Open it in a browser of this machine.',
      `The link works once, until ${expires_at}.`,
    ]);
    return DONE;
  });
}

interface Place {
  url: string;
  token: string;
}

/** Throws RuntimeError NOT_RUNNING, or UNSUPPORTED when the node that runs has no inspector. */
function inspectorOf({ dir }: Missions): Place {
  const { node } = missionsLayout(dir);
  let file: { pid?: unknown; inspector?: unknown; http_token_file?: unknown };
  try {
    file = JSON.parse(readFileSync(node, 'utf8')) as typeof file;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw notRunning(dir);
    throw new RuntimeError(`${node} cannot be read: ${String(cause)}`, {
      code: 'CONFLICT',
      cause,
      hint: 'Run the command as the user who runs the node.',
    });
  }
  const { pid, inspector: url, http_token_file: tokenFile } = file;
  // A killed node leaves its file behind: whoever has its port now must not be shown the token.
  if (typeof pid !== 'number' || !isAlive(pid)) throw notRunning(dir);
  if (typeof url === 'string' && typeof tokenFile === 'string')
    return { url, token: readFileSync(tokenFile, 'utf8').trim() };
  throw new RuntimeError(`the node on ${dir} has no inspector`, {
    code: 'UNSUPPORTED',
    hint: 'It needs the HTTP gateway: start the node without `--http off` and `--inspector off`.',
  });
}

const notRunning = (dir: string): RuntimeError =>
  new RuntimeError(`no node runs on ${dir}`, {
    code: 'NOT_RUNNING',
    hint: 'Start one: `lazarus up`.',
  });

async function askForTicket({ url, token }: Place): Promise<{
  ticket: string;
  expires_at: string;
}> {
  const answer = await post(`${url}/ticket`, token);
  const { ticket, expires_at, error } = isJsonObject(answer) ? answer : {};
  if (typeof ticket === 'string' && typeof expires_at === 'string') return { ticket, expires_at };
  const { code, message, hint } = isJsonObject(error) ? error : {};
  if (typeof message !== 'string') throw notOurs(url);
  throw new RuntimeError(message, {
    code: code as ErrorCode,
    ...(typeof hint === 'string' && { hint }),
  });
}

async function post(url: string, token: string): Promise<JsonValue> {
  const headers = { authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(url, { method: 'POST', headers, signal, redirect: 'error' });
  } catch (cause) {
    throw new RuntimeError(`no node answers on ${url}`, {
      code: 'NOT_RUNNING',
      cause,
      hint: 'Look at `lazarus status`; start one with `lazarus up`.',
    });
  }
  try {
    return (await response.json()) as JsonValue;
  } catch (cause) {
    throw new RuntimeError(notOurs(url).message, { code: 'UNSUPPORTED', cause });
  }
}

const notOurs = (url: string): RuntimeError =>
  new RuntimeError(`what answers on ${url} is no inspector of ours`, { code: 'UNSUPPORTED' });

/** False where there is none to be started: no terminal, no desktop. */
function openBrowser(url: string): boolean {
  const isMac = process.platform === 'darwin';
  const hasDesktop = Boolean(process.env['DISPLAY'] ?? process.env['WAYLAND_DISPLAY']);
  if (!process.stdout.isTTY || !(isMac || hasDesktop)) return false;
  const child = spawn(isMac ? 'open' : 'xdg-open', [url], { detached: true, stdio: 'ignore' });
  child.once('error', () => undefined); // no such program: the link is printed either way
  child.unref();
  return child.pid !== undefined;
}
