/**
 * What planner, supervisor and executor need of this host and of the homelab: the runtime folder, its files, docker and the
 * other hosts, each looked at as the drivers would meet it.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { othersMayWrite } from '../../cells/daemon-config.ts';
import { readExecutorFile } from '../../cells/executor-file.ts';
import { readPolicyFile } from '../../cells/policy-file.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { EMPTY_EXECUTOR_CONFIG } from '../../machines/executor-config.ts';
import type { ExecutorConfig, HostConfig } from '../../machines/executor-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { supervisionProbes } from './supervision.ts';
import { sshArgv } from '../executor/reach.ts';
import { installing, missing, ok, warn } from './check.ts';
import type { Finding, Probe } from './check.ts';
import { findProgram, firstLine, run } from './probe.ts';

export interface Homelab {
  /** `off`, or the folder. */
  runtime: string;
  /** NODE_NAME; null: it is the host's name. */
  nodeName: string | null;
  /** Null, or left out: in the runtime folder. */
  inventory?: string | null;
  /** What else hosts are called. */
  aliases?: Readonly<Record<string, string>>;
}

const group = 'homelab';
/** Hosts that are called on. */
const MAX_HOSTS = 20;
const CONNECT_MS = 5000;

export function homelabProbes({ runtime, nodeName, inventory, aliases }: Homelab): Probe[] {
  if (runtime === 'off')
    return [
      {
        group,
        name: 'runtime folder',
        look: () => ok('none: planner and executor are off (`lazarus up --runtime DIR`)'),
      },
    ];
  const layout = runtimeLayout(runtime);
  const config = configIn(layout);
  return [
    { group, name: 'runtime folder', look: () => lookAtFolder(layout) },
    { group, name: 'heartbeat', look: () => lookAtHeartbeat(layout) },
    { group, name: 'policy', look: () => lookAtPolicy(layout) },
    { group, name: 'executor.json', look: () => lookAtExecutor(layout) },
    ...supervisionProbes(layout, inventory ?? join(layout.root, 'inventory'), aliases ?? {}),
    ...localDockers(config, nodeName ?? hostname()).map((docker) => {
      return { group, name: 'docker', look: () => lookAtDocker(docker) } as const;
    }),
    ...Object.entries(config.hosts)
      .filter(([, { via }]) => via === 'ssh')
      .slice(0, MAX_HOSTS)
      .map(([name, host]) => {
        return { group, name: `ssh ${name}`, look: () => lookAtHost(name, host) } as const;
      }),
  ];
}

/** What is wrong with it is a line of its own. */
function configIn({ executorFile }: RuntimeLayout): ExecutorConfig {
  try {
    return readExecutorFile(executorFile).config;
  } catch (error) {
    if (error instanceof RuntimeError) return EMPTY_EXECUTOR_CONFIG;
    throw error;
  }
}

function lookAtFolder({ root, actions }: RuntimeLayout): Finding {
  const fix = `mkdir -p ${root} && chown "$(id -u)" ${root}   (or another one: --runtime DIR)`;
  const stats = statSync(root, { throwIfNoEntry: false });
  if (stats === undefined) return warn(`${root} is not there yet: \`lazarus up\` makes it`, null);
  if (!stats.isDirectory())
    return missing(`${root} is no folder`, 'Name another one: --runtime DIR');
  const closed = [root, ...Object.values(actions)].find((folder) => !mayWrite(folder));
  if (closed !== undefined) return missing(`${closed} cannot be written to by this user`, fix);
  return ok(`${root} can be written to`);
}

/** True for one that is not there: it is made. */
function mayWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** Others take the planner for dead when it is older. */
const MAX_AGE_S = 300;

function lookAtHeartbeat({ plannerHeartbeat: file }: RuntimeLayout): Finding {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return ok('none: no planner ran here');
  const age = Math.round((Date.now() - stats.mtimeMs) / 1000);
  if (age <= MAX_AGE_S) return ok(`${age} s old`);
  return warn(`${age} s old: other programs take the planner for dead`, 'lazarus up --runtime DIR');
}

function lookAtPolicy({ policyFile: file }: RuntimeLayout): Finding {
  const read = readPolicyFile(file);
  if (!read.ok) {
    const [{ line, pointer, message, fix } = { line: 1, pointer: '', message: '', fix: '' }] =
      read.problems;
    return missing(
      `${file}:${line} ${pointer} ${message}; a node that starts with it lets nothing run`,
      fix,
    );
  }
  if (read.sha256 === null) return ok(`no ${file}: the defaults hold`);
  const loose = othersMayWrite(file);
  if (loose === null) return ok(file);
  return warn(`${loose} can be written by others: they decide what runs`, `chmod go-w ${loose}`);
}

function lookAtExecutor({ executorFile: file }: RuntimeLayout): Finding {
  try {
    const { config, sha256 } = readExecutorFile(file);
    if (sha256 === null) return ok(`no ${file}: containers of this host can be restarted, no more`);
    const { hosts, commands, notify } = config;
    const counts = `${Object.keys(hosts).length} hosts, ${Object.keys(commands).length} commands`;
    if (notify.length > 0) return ok(`${file}: ${counts}, ${notify.length} to notify`);
    return warn(`${file}: ${counts}, and nobody is told of an action that failed`, NOTIFY_FIX);
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return missing(error.message, error.hint ?? null);
  }
}

const NOTIFY_FIX =
  'add {"notify": [{"kind": "ntfy", "url": "https://ntfy.sh", "topic": "..."}]} to it';

function localDockers({ hosts }: ExecutorConfig, own: string): string[] {
  const local = Object.values(hosts).filter(({ via }) => via === 'local');
  const named = local.map(({ docker = 'docker' }) => docker);
  return [...new Set(Object.hasOwn(hosts, own) ? named : [...named, 'docker'])];
}

async function lookAtDocker(docker: string): Promise<Finding> {
  const program = findProgram(docker);
  const install = installing({ name: docker, apt: docker === 'docker' ? 'docker.io' : docker });
  if (program === null)
    return missing(`${docker} is not installed: no container of this host is restarted`, install);
  const said = await run([program, 'version', '--format', '{{.Server.Version}}']);
  if (said.kind === 'ended' && said.code === 0)
    return ok(`${program}, server ${firstLine(said.out) || 'unknown'}`);
  const why = said.kind === 'ended' ? firstLine(said.err) : 'it does not answer';
  return warn(`${program}: ${why}`, `${docker} info   (is it started, and may this user call it?)`);
}

/** As a driver calls it, with a command that does nothing. */
async function lookAtHost(name: string, host: HostConfig): Promise<Finding> {
  if (host.via !== 'ssh') return ok(host.via);
  if (findProgram('ssh') === null)
    return missing('ssh is not installed', installing({ name: 'openssh', apt: 'openssh-client' }));
  const docker = host.docker ?? 'docker';
  const argv = sshArgv(host, [docker, 'version', '--format', '{{.Server.Version}}'], CONNECT_MS);
  const said = await run(argv, { timeoutMs: 3 * CONNECT_MS });
  if (said.kind === 'ended' && said.code === 0)
    return ok(`${host.destination} answers, ${docker} ${firstLine(said.out)}`);
  const why = said.kind === 'ended' ? firstLine(said.err) : 'no answer';
  return warn(
    `${host.destination}: ${why}`,
    `ssh ${host.destination} ${docker} version   (as this user, without a password; name ${name})`,
  );
}
