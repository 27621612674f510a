/**
 * What drivers work with, bound to one run: processes here or over ssh, and the agents of other hosts. The one place that
 * knows what an exit status of ssh says.
 */
import { randomUUID } from 'node:crypto';
import { closeSync } from 'node:fs';
import type { JsonValue } from '../../machines/json.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { Cgroups } from '../cgroup.ts';
import { scratchFile, textOf } from './output.ts';
import type { Redact, RunOutput } from './output.ts';
import type { AgentAnswer, Asked, RunTools, StepEnd, Tools } from './plan.ts';
import { argvOn, environmentFor, shownArgv, sshFailure, timeoutMs } from './reach.ts';
import type { Host, Setting } from './reach.ts';
import { endPredecessor, runProcess } from './run-process.ts';
import type { ProcessEnd, ProcessOwner } from './run-process.ts';
import type { Runnable } from '../../machines/action-context.ts';

/** Asks the agent of another host; undefined: nobody listens. `Bus` of bus/bus.ts fits. */
export interface HostAgents {
  ask(subject: string, input: JsonValue, timeoutMs: number): Promise<AgentAnswer | undefined>;
}

export interface ToolsOptions {
  run: Runnable;
  key: string;
  signal: AbortSignal;
  setting: Setting;
  redact: Redact;
  nodeId: string;
  cgroups: Cgroups | null;
  agents: HostAgents | null;
}

const MAX_LOOK_BYTES = 1024 * 1024;
const SSH_FAILED = 255;

export function toolsFor(options: ToolsOptions): Tools {
  const { run, key, signal, agents } = options;
  return {
    run,
    key,
    signal,
    look: (host, argv) => look(options, host, argv),
    ask: async (subject, input, limit) => {
      if (agents === null)
        throw new RuntimeError('the bus is off', { code: 'BUSY', hint: 'See `lazarus status`.' });
      return agents.ask(subject, input, limit);
    },
  };
}

/** What an earlier life left of this run on this host. */
export const endLeftOf = (options: ToolsOptions): Promise<number[] | null> =>
  endPredecessor(ownerOf(options));

function ownerOf({ nodeId, cgroups, run, key }: ToolsOptions): ProcessOwner {
  return { nodeId, actionId: run.actionId, key, cgroups };
}

async function look(options: ToolsOptions, host: Host, argv: readonly string[]): Promise<Asked> {
  const { setting, signal } = options;
  const owner = ownerOf({ ...options, key: `${options.key}#look-${randomUUID()}` });
  const [stdout, stderr] = [scratchFile(), scratchFile()];
  try {
    const end = await runProcess(
      {
        argv: argvOn(setting, host, argv),
        owner,
        timeoutMs: timeoutMs(setting, 'probe'),
        stdin: 'ignore',
        stdout,
        stderr,
        environment: environmentFor(host),
        maxOutputBytes: MAX_LOOK_BYTES,
      },
      signal,
    );
    const texts = { stdout: textOf(stdout, MAX_LOOK_BYTES), stderr: textOf(stderr, 16 * 1024) };
    const isSsh = host.config.via === 'ssh' && end.exit_code === SSH_FAILED;
    const reason = end.reason ?? (isSsh ? `ssh did not reach ${host.name}` : null);
    return { exitCode: end.exit_code, ...texts, reason };
  } finally {
    closeSync(stdout);
    closeSync(stderr);
  }
}

/** `host`: null for what runs here, whatever the action's host is. */
export function executeWith(options: ToolsOptions, output: RunOutput): RunTools['execute'] {
  const { setting, signal, redact } = options;
  return async (host, argv, { timeoutMs: limit, stdin }) => {
    const input = stdin === undefined ? 'ignore' : scratchFile(stdin);
    const mark = output.mark();
    try {
      const end = await runProcess(
        {
          argv: host === null ? argv : argvOn(setting, host, argv),
          owner: ownerOf(options),
          timeoutMs: limit,
          stdin: input,
          stdout: output.stdout,
          stderr: output.stderr,
          environment: host === null ? {} : environmentFor(host),
        },
        signal,
      );
      return endOf(end, { host, argv, key: options.key, said: output.since(mark), redact });
    } finally {
      if (input !== 'ignore') closeSync(input);
    }
  };
}

interface Ended {
  host: Host | null;
  argv: readonly string[];
  key: string;
  said: { stdout: string; stderr: string };
  redact: Redact;
}

function endOf(end: ProcessEnd, { host, argv, key, said, redact }: Ended): StepEnd {
  const { exit_code, signal } = end;
  const isSsh = host?.config.via === 'ssh';
  if (isSsh && exit_code === SSH_FAILED && end.reason === null) {
    const line = lastLine(said.stderr, redact);
    if (sshFailure(said.stdout, said.stderr) === 'unreached')
      return { ok: false, exit_code, signal, reason: `${host.name} was not reached: ${line}` };
    throw lost(host, key, line);
  }
  if (exit_code === 0 && end.reason === null) return { ok: true, exit_code, signal, reason: null };
  const how = end.reason ?? (signal === null ? `exit code ${exit_code}` : `ended by ${signal}`);
  const line = lastLine(said.stderr, redact);
  const goesOn = end.reason !== null && isSsh ? `; it may go on at ${host.name}` : '';
  const reason = `${redact(shownArgv(argv)).slice(0, 300)}: ${how}${goesOn}${line === '' ? '' : `: ${line}`}`;
  return { ok: false, exit_code, signal, reason };
}

function lost(host: Host, key: string, line: string): RuntimeError {
  return new RuntimeError(`the connection to ${host.name} was lost while it ran: ${line}`, {
    code: 'OUTCOME_UNKNOWN',
    details: { key, host: host.name },
    hint: 'See on that host what was done, then settle it: `lazarus doubt list`.',
  });
}

const lastLine = (text: string, redact: Redact): string =>
  redact(text.trimEnd().split('\n').at(-1) ?? '')
    .replaceAll(/\p{C}/gu, '')
    .slice(0, 300);
