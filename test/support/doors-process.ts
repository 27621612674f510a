/** A node with every door in a process of its own (doors-child.ts): to be killed, to be flooded, and to be weighed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { callVerb } from '../../bus/control-client.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { Servers } from './all-doors.ts';

export interface DoorsProcess {
  readonly pid: number;
  /** What node.json says. */
  readonly file: JsonObject & { http: string };
  /** `Bearer <token>`, for the gateway. */
  readonly authorization: string;
  /** What it warned of, line by line. */
  readonly warnings: string[];
  /** By the control socket. */
  verb(name: string, input?: JsonValue): Promise<JsonObject>;
  /** A part of its status: `nats`, `redis`. */
  part(name: string): Promise<JsonObject>;
  /** What it has in memory now, and the most it ever had, in MB. Linux only. */
  memory(): { now: number; peak: number };
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

const ENTRY = join(import.meta.dirname, 'doors-child.ts');

/** Accepts work when it resolves; killed with the test. */
export async function startDoorsProcess(
  missions: string,
  { nats, redis }: Servers,
): Promise<DoorsProcess> {
  const args = ['--disable-warning=ExperimentalWarning', ENTRY, missions, nats, redis];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const exited = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  const warnings: string[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    warnings.push(...text.split('\n').filter((line) => line !== ''));
  });
  await Promise.race([
    once(child.stdout as NonNullable<typeof child.stdout>, 'data'),
    exited.then(() => Promise.reject(new Error(`no node: ${warnings.join('\n')}`))),
  ]);
  const text = readFileSync(join(missions, '.lazarus/node.json'), 'utf8');
  const file = JSON.parse(text) as DoorsProcess['file'];
  const token = readFileSync(String(file['http_token_file']), 'utf8').trim();
  const verb = async (name: string, input: JsonValue = {}): Promise<JsonObject> =>
    (await callVerb(String(file['control']), name, input)) as JsonObject;
  const pid = child.pid ?? 0;
  return {
    pid,
    file,
    authorization: `Bearer ${token}`,
    warnings,
    verb,
    part: async (name) => ((await verb('status'))['parts'] as JsonObject)[name] as JsonObject,
    memory: () => {
      const said = readFileSync(`/proc/${pid}/status`, 'utf8');
      const megabytes = (field: string): number =>
        Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(said)?.[1]) / 1024;
      return { now: megabytes('VmRSS'), peak: megabytes('VmHWM') };
    },
    kill,
  };
}
