/**
 * Agents of hosts that are reached by NATS, on the server that the runtime brings with it: each gets a user of its own, whose
 * credentials are one file to be copied to that host. They follow executor.json: who is not named there any more is put out.
 * Those of the life before are let in from the start: they try again at once when the server is back.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsServer } from '../bus/nats-server.ts';
import { HOST_SUBJECTS, hostSubject, hostUserName } from '../bus/nats-users.ts';
import type { HostUser, ServerUser } from '../bus/nats-users.ts';
import type { BusLog } from '../bus/bus.ts';
import type { ExecutorConfig } from '../machines/executor-config.ts';
import { isJsonObject } from '../machines/json.ts';
import { httpToken } from './http-token.ts';
import { writeContexts } from './nats-context.ts';
import { writeWhole } from '../cells/durable.ts';

export interface NatsHostsOptions {
  server: Pick<NatsServer, 'setUsers' | 'url'>;
  /** Where credentials of users are kept. */
  folder: string;
  /** Those that are always let in. */
  users: readonly ServerUser[];
  /** Of the CLI's contexts; null: none is written. */
  context: string | null;
  log: BusLog;
}

export class NatsHosts {
  readonly #options: NatsHostsOptions;
  #admitted = new Map<string, string>();
  /** Files are as they should be: a password or the server's port may be new in this life. */
  #isTold = false;
  #working: Promise<void> = Promise.resolve();

  /** `known`: those whom the server lets in already. */
  constructor(options: NatsHostsOptions, known: readonly HostUser[]) {
    this.#options = options;
    this.#admitted = mapOf(known);
  }

  /** By host, the file of its credentials. */
  get view(): Record<string, string> {
    return Object.fromEntries([...this.#admitted.keys()].map((host) => [host, this.#fileOf(host)]));
  }

  /** These, and no others. What cannot be written is told and tried again at the next change. */
  admit(hosts: readonly HostUser[]): Promise<void> {
    this.#working = this.#working
      .then(() => this.#admit(hosts))
      .catch((error: unknown) =>
        this.#options.log.warn({ error: String(error) }, 'hosts were not let in to the bus'),
      );
    return this.#working;
  }

  async #admit(hosts: readonly HostUser[]): Promise<void> {
    const { server, users, folder, log } = this.#options;
    const wanted = new Map<string, string>();
    for (const { host, subject } of hosts) {
      if (subject.startsWith(HOST_SUBJECTS)) wanted.set(host, subject);
      else log.warn({ host, subject }, 'not on this server: here a host listens below exec.');
    }
    const isKnown = isSame(wanted, this.#admitted);
    if (isKnown && this.#isTold) return;
    const admitted = [...wanted].map(([host, subject]) => ({ host, subject }));
    const guests = await guestsOf(folder, admitted);
    if (!isKnown) await server.setUsers([...users, ...guests]);
    this.#admitted = wanted;
    const text = `${JSON.stringify(Object.fromEntries(wanted))}\n`;
    await writeIfOther(join(folder, KNOWN), text, 'nats-hosts');
    for (const [index, { host }] of admitted.entries())
      await writeCredentials(this.#fileOf(host), guests[index]);
    const { view } = this;
    if (!isKnown)
      log.info({ hosts: view }, 'agents of these hosts are let in: copy its file to each of them');
    await this.#writeContexts(guests);
    this.#isTold = true;
  }

  #fileOf(host: string): string {
    return join(this.#options.folder, `${hostUserName(host)}.credentials`);
  }

  async #writeContexts(guests: readonly ServerUser[]): Promise<void> {
    const { context, server, log } = this.#options;
    if (context === null) return;
    const contexts = guests.map(({ user, password }) => ({
      role: user,
      url: server.url,
      user,
      password,
    }));
    await writeContexts(context, contexts, log);
  }
}

const KNOWN = 'hosts.json';

/** Whom the life before let in, as users of the server. What cannot be read is let in when executor.json was read. */
export async function knownHosts(
  folder: string,
): Promise<{ hosts: HostUser[]; guests: ServerUser[] }> {
  const hosts = hostsIn(readOrNothing(join(folder, KNOWN)));
  return { hosts, guests: await guestsOf(folder, hosts) };
}

function hostsIn(text: string | undefined): HostUser[] {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return Object.entries(isJsonObject(value) ? value : {}).flatMap(([host, subject]) =>
      typeof subject === 'string' && subject.startsWith(HOST_SUBJECTS) ? [{ host, subject }] : [],
    );
  } catch {
    return [];
  }
}

/** In their order. The password of each has its own file, as those of the others have. */
async function guestsOf(folder: string, hosts: readonly HostUser[]): Promise<ServerUser[]> {
  const guests: ServerUser[] = [];
  for (const { host, subject: answers } of hosts) {
    const user = hostUserName(host);
    const { token: password } = await httpToken(join(folder, `${user}.token`));
    guests.push({ user, password, rights: null, answers });
  }
  return guests;
}

/** What is to be copied: one line. */
async function writeCredentials(file: string, guest: ServerUser | undefined): Promise<void> {
  if (guest === undefined) return;
  await writeIfOther(file, `${guest.user}:${guest.password}\n`, 'nats-host');
}

async function writeIfOther(file: string, text: string, what: string): Promise<void> {
  if (readOrNothing(file) !== text) await writeWhole(file, text, { sync: true, mode: 0o600, what });
}

const mapOf = (hosts: readonly HostUser[]): Map<string, string> =>
  new Map(hosts.map(({ host, subject }) => [host, subject]));

/** What executor.json says of hosts by NATS. */
export const natsHostsIn = ({ hosts }: ExecutorConfig): HostUser[] =>
  Object.entries(hosts).flatMap(([host, reach]) =>
    reach.via === 'nats' ? [{ host, subject: reach.subject ?? hostSubject(host) }] : [],
  );

function readOrNothing(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // it is written anew
  }
}

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([host, subject]) => b.get(host) === subject);
