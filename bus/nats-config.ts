/** The configuration of the server that the runtime starts: one file, 0600, for it holds every user's password. */
import type { JsonObject } from '../machines/json.ts';
import { INBOX } from './nats-users.ts';
import type { Rights, ServerUser } from './nats-users.ts';

export interface ServerSettings {
  /** 0: any that is free. */
  port: number;
  storeDir: string;
  portsDir: string;
  users: readonly ServerUser[];
}

const MB = 1024 * 1024;
/** Largest message, in bytes: a whole status of thousands of agents fits. */
export const MAX_PAYLOAD = 8 * MB;
/** Of all streams together: twice what bus/streams.ts gives out, for a server counts a stream that is updated twice. */
const MAX_FILE = 4096 * MB;
const MAX_MEMORY = 64 * MB;
const MAX_CONNECTIONS = 1024;

/** The runtime's account: streams, services and the runtime live there. */
const HOME = 'LAZARUS';

/** JSON is what the server's own format is a superset of. */
export function serverConfig({ port, storeDir, portsDir, users }: ServerSettings): string {
  const config = {
    listen: `127.0.0.1:${port === 0 ? -1 : port}`,
    max_payload: MAX_PAYLOAD,
    max_connections: MAX_CONNECTIONS,
    ports_file_dir: portsDir,
    jetstream: { store_dir: storeDir, max_memory_store: MAX_MEMORY, max_file_store: MAX_FILE },
    accounts: accountsOf(users),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** U1 of nats-users.ts: one account for the runtime, one for each other user. */
function accountsOf(users: readonly ServerUser[]): JsonObject {
  const guests = users.flatMap(({ rights, ...user }) => (rights === null ? [] : { rights, user }));
  const services = new Set(guests.flatMap(({ rights }) => rights.publish));
  const streams = new Set(guests.flatMap(({ rights }) => rights.subscribe));
  const accounts: JsonObject = {
    [HOME]: {
      jetstream: 'enabled',
      users: users.filter(({ rights }) => rights === null).map(ownUser),
      exports: [
        // Several may answer one question: `$SRV.PING`.
        ...[...services].map((service) => ({ service, response_type: 'stream' })),
        ...[...streams].map((stream) => ({ stream })),
      ],
    },
  };
  for (const { user, rights } of guests) {
    const others = guests.filter((guest) => guest.user !== user);
    const heard = others.flatMap((other) =>
      heardOf(other.rights, rights).map((subject) => ({ account: accountOf(other.user), subject })),
    );
    accounts[accountOf(user)] = {
      users: [{ ...credentials(user), permissions: permissionsOf(rights) }],
      exports: heardOf(rights, ...others.map((other) => other.rights)).map((stream) => ({
        stream,
      })),
      imports: [
        ...rights.publish.map((subject) => ({ service: { account: HOME, subject } })),
        ...rights.subscribe.map((subject) => ({ stream: { account: HOME, subject } })),
        ...heard.map((stream) => ({ stream })),
      ],
    };
  }
  return accounts;
}

const accountOf = ({ user }: Pick<ServerUser, 'user'>): string => user.toUpperCase();

/**
 * What one publishes and another may listen to: it goes from account to account, since the server does not hand on what came
 * into the runtime's account from one of them.
 */
function heardOf(publisher: Rights, ...listeners: Rights[]): string[] {
  const patterns = listeners.flatMap(({ subscribe }) => subscribe);
  return publisher.publish.filter((subject) =>
    patterns.some((pattern) => subject.startsWith(pattern.slice(0, -1))),
  );
}

const credentials = ({ user, password }: Pick<ServerUser, 'user' | 'password'>): JsonObject => ({
  user,
  password,
});

/** In which a host may answer: its actions may take a day (cells/schemas/executor.json). */
const ANSWER_EXPIRES = '25h';

/** U5 for the agents of hosts. */
function ownUser(user: ServerUser): JsonObject {
  if (user.answers === undefined) return credentials(user);
  const permissions = {
    subscribe: { allow: [user.answers] },
    publish: { deny: ['>'] },
    allow_responses: { max: 1, expires: ANSWER_EXPIRES },
  };
  return { ...credentials(user), permissions };
}

/** U2: the account alone would let a message to nowhere pass in silence. */
const permissionsOf = ({ publish, subscribe }: Rights): JsonObject => ({
  publish: { allow: [...publish] },
  subscribe: { allow: [...subscribe, INBOX] },
});
