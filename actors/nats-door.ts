/** The bus of one node: a server of its own or one that runs, everything committed on it, and what comes in by it. */
import { mkdirSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { findNatsServer, NatsServer } from '../bus/nats-server.ts';
import { BUS_ROLES, RIGHTS, RUNTIME_USER } from '../bus/nats-users.ts';
import type { BusRole, ServerUser } from '../bus/nats-users.ts';
import type { BusIntervals, NatsOptions as Connecting } from '../bus/nats.ts';
import type { NatsOptions } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { withoutUser } from '../machines/nats-url.ts';
import type { Bus, BusLog } from '../bus/bus.ts';
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { httpToken } from './http-token.ts';
import { Injection } from './injection.ts';
import { writeContexts } from './nats-context.ts';
import { credentialSource } from './nats-credentials.ts';
import { knownHosts, NatsHosts } from './nats-hosts.ts';
import { serveVerbs } from './nats-requests.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { Outbox } from './outbox.ts';
import { Peers } from './peers.ts';
import { STREAMS } from '../bus/streams.ts';
import type { HistorySource } from './why/newest-first.ts';

export interface NatsDoor extends OpenDoor {
  /** Null: there is none. */
  bus: Bus | null;
  /** The agents of hosts that may connect; left out: their server is somebody else's, or there is none. */
  hosts?: NatsHosts;
}

export interface NatsDoorOptions {
  /** `embedded`, `off`, or the URL of a server. */
  nats: string;
  options: NatsOptions;
  log: BusLog;
  intervals?: Partial<BusIntervals>;
}

interface Reached {
  connection: Pick<Connecting, 'url' | 'credentials' | 'credentialsFrom' | 'tls'>;
  /** What node.json says. */
  entry: { url: string; user: string | null; token_file: string | null };
  server: NatsServer | undefined;
  hosts: NatsHosts | undefined;
}

const HOW_TO_GET = 'apt-get install nats-server, or name the program in NATS_SERVER_BIN';

/** Never fails for want of a server: it runs without one, and the status says why (P10). */
export async function openNatsDoor(
  node: MissionNode,
  { nats, options, log, intervals = {} }: NatsDoorOptions,
): Promise<NatsDoor> {
  if (nats === 'off') return withoutBus({ state: 'off' });
  const reached = await reach(node, { nats, options, log });
  if ('state' in reached) return withoutBus(reached);
  const { NatsBus } = await import('../bus/nats.ts');
  const { connection, entry, server, hosts } = reached;
  const { nodeId, layout } = node;
  const bus: Bus = NatsBus.open({ ...connection, nodeId, streams: STREAMS, log, intervals });
  const { system } = node.kernel;
  const outbox = new Outbox({
    bus,
    system,
    journalFolder: node.layout.journal,
    cursorFile: node.layout.outbox,
    committedLsn: () => node.kernel.committedLsn(),
    log,
  });
  const peers = new Peers(bus, { nodeId, isShared: server === undefined });
  const injection = new Injection({
    bus,
    system,
    nodeId,
    peers,
    placeFile: layout.injected,
    historyOf: (cellId) => historyOf(node, cellId),
    log,
  });
  outbox.start();
  await serveVerbs(node, { bus, peers, injection, isAlone: server !== undefined });
  node.kernel.keepFor(() => outbox.oldestNeeded);
  const parts = (): JsonObject => ({
    nats: {
      ...bus.view(),
      ...(server ? { server: { ...server.view() } } : { other_nodes: [...peers.known] }),
      ...(hosts && { hosts: hosts.view }),
      outbox: outbox.view(),
      injected: injection.view(),
    },
  });
  return {
    bus,
    ...(hosts && { hosts }),
    nodeFile: { nats: { ...entry } },
    parts,
    begin: (scanned) => injection.start(scanned),
    close: async () => {
      await outbox.close();
      await injection.close();
      await bus.close();
      await server?.stop();
    },
  };
}

/** Where records of a mission are. */
function historyOf({ layout, places, kernel }: MissionNode, cellId: string): HistorySource {
  const dirs = [SYSTEM_CELL_ID, cellId].map((id) => places.folderOf(id));
  return {
    journalFolder: layout.journal,
    cellDirs: dirs.filter((dir) => dir !== undefined),
    toLsn: kernel.committedLsn(),
  };
}

function withoutBus(nats: JsonObject): NatsDoor {
  return { bus: null, nodeFile: { nats: null }, parts: () => ({ nats }), close: async () => {} };
}

async function reach(
  node: MissionNode,
  { nats, options, log }: Pick<NatsDoorOptions, 'nats' | 'options' | 'log'>,
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
  void nextTurn().then(() => import('../bus/nats.ts')); // while it starts
  const { hosts, guests } = await knownHosts(folder);
  const all = [...users, ...guests];
  const server = await NatsServer.start({ folder, binary, users: all, mark, log });
  const { url } = server;
  log.info({ nats: url, pid: server.pid }, 'NATS server runs');
  const context = contextOf(options);
  if (context !== null)
    await writeContexts(
      context,
      BUS_ROLES.map((role) => ({
        role,
        url,
        user: role,
        password: tokens[role].token,
      })),
      log,
    );
  return {
    connection: {
      url,
      credentials: () => ({ kind: 'user', user: RUNTIME_USER, password }),
      credentialsFrom: 'this runtime',
    },
    entry: { url, user: 'operator', token_file: tokens.operator.file },
    server,
    hosts: new NatsHosts({ server, folder, users, context, log }, hosts),
  };
}

/** Null: none is written. */
function contextOf({ context = 'lazarus' }: NatsOptions): string | null {
  return typeof context === 'string' ? context : context ? 'lazarus' : null;
}

/** A server that somebody else runs. */
function reachNamed(nats: string, options: NatsOptions): Reached {
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
  const { user, ...source } = credentialSource(nats, file);
  return {
    connection: { url, ...source, ...(Object.keys(tls).length === 0 ? {} : { tls }) },
    entry: { url, user, token_file: file ?? null },
    server: undefined,
    hosts: undefined,
  };
}
