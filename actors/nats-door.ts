/** The bus of one node: a server of its own or one that runs, everything committed on it, and what comes in by it. */
import { mkdirSync, readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { findNatsServer, NatsServer } from '../bus/nats-server.ts';
import { BUS_ROLES, RIGHTS, RUNTIME_USER } from '../bus/nats-users.ts';
import type { BusRole, ServerUser } from '../bus/nats-users.ts';
import type { NatsOptions as Connecting } from '../bus/nats.ts';
import { refuseCommands } from '../machines/remote-commands.ts';
import type { NatsOptions } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { withoutUser } from '../machines/nats-url.ts';
import type { Bus, BusLog } from '../bus/bus.ts';
import { httpToken } from './http-token.ts';
import { Injection } from './injection.ts';
import { writeContexts } from './nats-context.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { Outbox } from './outbox.ts';
import { findVerb } from './control.ts';
import { remoteVerbs } from './served-verbs.ts';
import { STREAMS } from '../bus/streams.ts';
import { SERVICE_PREFIX } from '../bus/subjects.ts';

export interface NatsDoorOptions {
  /** `embedded`, `off`, or the URL of a server. */
  nats: string;
  options: NatsOptions;
  log: BusLog;
}

interface Reached {
  connection: Pick<Connecting, 'url' | 'credentials' | 'tls'>;
  /** What node.json says. */
  entry: { url: string; user: string | null; token_file: string | null };
  server: NatsServer | undefined;
}

const HOW_TO_GET = 'apt-get install nats-server, or name the program in NATS_SERVER_BIN';

/** Never fails for want of a server: it runs without one, and the status says why (P10). */
export async function openNatsDoor(
  node: MissionNode,
  { nats, options, log }: NatsDoorOptions,
): Promise<OpenDoor> {
  if (nats === 'off') return withoutBus({ state: 'off' });
  const reached = await reach(node, { nats, options, log });
  if ('state' in reached) return withoutBus(reached);
  const { NatsBus } = await import('../bus/nats.ts');
  const { connection, entry, server } = reached;
  const bus: Bus = NatsBus.open({ ...connection, nodeId: node.nodeId, streams: STREAMS, log });
  const { system } = node.kernel;
  const outbox = new Outbox({
    bus,
    system,
    journalFolder: node.layout.journal,
    cursorFile: node.layout.outbox,
    committedLsn: () => node.kernel.committedLsn(),
    log,
  });
  const injection = new Injection({ bus, system, nodeId: node.nodeId, log });
  outbox.start();
  injection.start();
  await serveVerbs(node, bus, { isOurs: server !== undefined });
  node.kernel.keepFor(() => outbox.oldestNeeded);
  const parts = (): JsonObject => ({
    nats: {
      ...bus.view(),
      ...(server ? { server: { ...server.view() } } : {}),
      outbox: outbox.view(),
      injected: injection.view(),
    },
  });
  return {
    nodeFile: { nats: { ...entry } },
    parts,
    close: async () => {
      await outbox.close();
      await bus.close();
      await server?.stop();
    },
  };
}

function withoutBus(part: JsonObject): OpenDoor {
  return { nodeFile: { nats: null }, parts: () => ({ nats: part }), close: async () => {} };
}

async function reach(
  node: MissionNode,
  { nats, options, log }: NatsDoorOptions,
): Promise<Reached | { state: 'off' | 'down'; reason: string; hint: string }> {
  if (nats !== 'embedded') return reachNamed(nats, options);
  const binary = findNatsServer();
  if (binary === undefined) {
    log.info({ hint: HOW_TO_GET }, 'there is no nats-server here: the node runs without a bus');
    return { state: 'off', reason: 'there is no nats-server on this machine', hint: HOW_TO_GET };
  }
  try {
    return await reachOwn(node, binary, options, log);
  } catch (error) {
    const { message, hint = '' } = error as RuntimeError;
    log.warn({ reason: message }, 'the bus did not start: the node runs without it');
    return { state: 'down', reason: message, hint };
  }
}

async function reachOwn(
  node: MissionNode,
  binary: string,
  options: NatsOptions,
  log: BusLog,
): Promise<Reached> {
  const folder = node.layout.nats;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const tokens = {} as Record<BusRole, { token: string; file: string }>;
  for (const role of BUS_ROLES) {
    const file = join(folder, `${role}.token`);
    tokens[role] = { token: (await httpToken(file)).token, file };
  }
  const password = randomBytes(32).toString('base64url');
  const users: ServerUser[] = [
    { user: RUNTIME_USER, password, rights: null },
    ...BUS_ROLES.map((role) => ({
      user: role,
      password: tokens[role].token,
      rights: RIGHTS[role],
    })),
  ];
  const mark = { LAZARUS_NODE: node.nodeId };
  const server = await NatsServer.start({ folder, binary, users, mark, log });
  const { url } = server;
  log.info({ nats: url, pid: server.pid }, 'NATS server runs');
  if (options.context !== false)
    writeContexts(
      typeof options.context === 'string' ? options.context : 'lazarus',
      BUS_ROLES.map((role) => ({
        role,
        url,
        user: role,
        password: tokens[role].token,
      })),
      log,
    );
  return {
    connection: { url, credentials: { kind: 'user', user: RUNTIME_USER, password } },
    entry: { url, user: 'operator', token_file: tokens.operator.file },
    server,
  };
}

/** Credentials stand in the URL or, better, in a file. Throws RuntimeError INVALID_ARGUMENT for a file that is none. */
function reachNamed(nats: string, options: NatsOptions): Reached {
  const parsed = URL.parse(nats.split(',')[0]?.trim() ?? '');
  const url = withoutUser(nats);
  const {
    credentials_file: file,
    ca_file: caFile,
    cert_file: certFile,
    key_file: keyFile,
  } = options;
  const tls = {
    ...(caFile === undefined ? {} : { caFile }),
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
  };
  const credentials = file === undefined ? inUrl(parsed) : inFile(file);
  return {
    connection: { url, credentials, ...(Object.keys(tls).length === 0 ? {} : { tls }) },
    entry: {
      url,
      user: credentials.kind === 'user' ? credentials.user : null,
      token_file: file ?? null,
    },
    server: undefined,
  };
}

type Credentials = Connecting['credentials'];

function inUrl(url: URL | null): Credentials {
  if (url === null || url.username === '') return { kind: 'none' };
  const user = decodeURIComponent(url.username);
  if (url.password === '') return { kind: 'token', token: user };
  return { kind: 'user', user, password: decodeURIComponent(url.password) };
}

function inFile(file: string): Credentials {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new RuntimeError(`the credentials of NATS cannot be read: ${file}`, {
      code: 'INVALID_ARGUMENT',
      cause,
      hint: 'nats_options.credentials_file names a .creds file, or one with user:password or a token.',
    });
  }
  if (content.includes('BEGIN NATS USER JWT')) return { kind: 'creds', content };
  const line = content.trim();
  const colon = line.indexOf(':');
  if (colon < 0) return { kind: 'token', token: line };
  return { kind: 'user', user: line.slice(0, colon), password: line.slice(colon + 1) };
}

/**
 * Each verb that makes sense remotely as a request. On a server of our own nobody else serves verbs, and it does not tell an
 * asker that nobody listens (the asker is in another account): so what is no verb gets an answer too.
 */
function serveVerbs(node: MissionNode, bus: Bus, { isOurs }: { isOurs: boolean }): Promise<void> {
  const verbs = remoteVerbs(node, { door: 'nats', nobody: 'somebody on the bus' });
  const requests = verbs.map((verb) => ({
    name: verb.name,
    summary: verb.summary,
    metadata: { rights: verb.rights ?? 'read', input: JSON.stringify(verb.input) },
    run: (given: JsonValue) => {
      if (!node.config.values.remote_commands) refuseCommands(given, 'from the network');
      return verb.run(given);
    },
  }));
  return bus.serve({
    name: 'lazarus',
    version: node.version,
    description: 'The verbs of a Lazarus node, as requests',
    metadata: { node: node.nodeId, epoch: String(node.kernel.system.epoch), role: 'node' },
    prefix: SERVICE_PREFIX,
    requests,
    ...(isOurs ? { otherwise: refuseVerb } : {}),
  });
}

function refuseVerb(name: string): never {
  const { name: known } = findVerb(name.slice(0, 100));
  throw new RuntimeError(`${known} is not done from another machine`, {
    code: 'FORBIDDEN',
    hint: `On the node's own machine: lazarus ${known.replaceAll('.', ' ')}`,
  });
}
