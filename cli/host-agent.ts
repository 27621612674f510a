/**
 * `lazarus host-agent`: runs on a host that a node reaches by NATS, and does there what was approved, as far as that host's own
 * executor.json allows. It needs no missions, no node and no runtime folder.
 */
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { openExecutor } from '../actors/executor/executor.ts';
import { HostService, narrowed } from '../actors/executor/host-service.ts';
import { credentialSource } from '../actors/nats-credentials.ts';
import { hostSubject } from '../bus/nats-users.ts';
import { tryLock } from '../cells/lock.ts';
import { plainName } from '../machines/executor-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import { withoutUser } from '../machines/nats-url.ts';
import { act, verb } from './command.ts';
import { stdoutLog } from './log.ts';
import { DONE } from './output.ts';
import type { Flags } from './output.ts';
import { onStop, statusOf } from './signals.ts';

/** How long a stop waits for what runs. */
const DRAIN_MS = 10_000;

interface HostFlags extends Flags {
  nats: string;
  credentials?: string;
  subject?: string;
  file?: string;
  state?: string;
  ca?: string;
}

export function command(): Command {
  const agent = verb(
    'host-agent',
    'On a host that a node reaches by NATS: does there what was approved.',
    'lazarus host-agent nas --nats nats://127.0.0.1:4222 --credentials host-nas.credentials',
  )
    .argument('<host>', 'the name of this host in the executor.json of the node')
    .requiredOption('--nats <url>', 'the NATS server of the node')
    .option('--credentials <file>', 'what the node wrote for this host: user:password')
    .option('--subject <subject>', 'on which it is asked (default: exec.<host>)')
    .option(
      '--file <executor.json>',
      'what may be done here (default: ~/.lazarus/host/executor.json)',
    )
    .option('--state <dir>', 'records of what was done (default: ~/.lazarus/host/<host>)')
    .option('--ca <file>', 'the authority that signed the certificate of the server');
  return act<HostFlags>(agent, ([host = ''], flags) => run(host, flags));
}

async function run(host: string, flags: HostFlags): Promise<number> {
  if (!plainName(host))
    throw new RuntimeError(`${JSON.stringify(host.slice(0, 100))} cannot be the name of a host`, {
      code: 'INVALID_ARGUMENT',
      hint: 'It is the name under "hosts" in the executor.json of the node.',
    });
  const own = join(homedir(), '.lazarus/host');
  const state = resolve(flags.state ?? join(own, host));
  const lock = lockState(state);
  const log = await stdoutLog('info', flags);
  const stopping = Promise.withResolvers<void>();
  onStop((signal, times) => {
    if (times > 1) process.exit(statusOf(signal));
    log.info(
      { signal },
      'stopping: what runs may end, nothing new is taken; again to exit at once',
    );
    stopping.resolve();
  });
  const ending = new AbortController();
  const executor = await openExecutor({
    file: resolve(flags.file ?? join(own, 'executor.json')),
    nodeId: `host-agent-${host}`,
    localHosts: [host],
    settingFor: narrowed,
    log,
  });
  const folder = join(state, 'runs');
  const service = new HostService({ host, executor, folder, signal: ending.signal, log });
  const { HostLine } = await import('../bus/host-line.ts');
  const { credentials, credentialsFrom } = credentialSource(flags.nats, flags.credentials);
  const line = new HostLine({
    url: withoutUser(flags.nats),
    credentials,
    credentialsFrom,
    ...(flags.ca !== undefined && { tls: { caFile: resolve(flags.ca) } }),
    nodeId: `host-agent ${host}`,
    subject: flags.subject ?? hostSubject(host),
    answer: (request) => service.answer(request),
    log,
  });
  await stopping.promise;
  service.stop();
  await Promise.race([service.drained(), sleep(DRAIN_MS, null, { ref: false })]);
  ending.abort(new RuntimeError('the agent of the host is stopping', { code: 'CONFLICT' }));
  await service.drained();
  await line.close();
  await executor.close();
  lock.release();
  return process.exit(DONE);
}

/** Two agents on one record of what was done would each do it. */
function lockState(state: string) {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const lock = tryLock(join(state, 'lock'));
  if (lock) return lock;
  throw new RuntimeError(`an agent runs on ${state} already`, {
    code: 'NODE_LOCKED',
    hint: 'End that one, or name another folder: --state DIR',
  });
}
