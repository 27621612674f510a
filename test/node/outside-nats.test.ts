/**
 * A server of somebody else, reached in each of the ways that one may ask for: events go out and come in, also after it was
 * away. What is wrong with it, or with what we show it, is said in the status, and it goes on trying.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'nats';
import type { ConnectionOptions, NatsConnection } from 'nats';
import { credsAuthenticator } from 'nats';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openNatsDoor } from '../../actors/nats-door.ts';
import type { MissionNode } from '../../actors/node.ts';
import type { NatsOptions } from '../../machines/daemon-config.ts';
import type { JsonObject } from '../../machines/json.ts';
import { storedIn } from '../support/bus.ts';
import { SOON } from '../support/bus-intervals.ts';
import { makeIdentity } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { makeOperator } from '../support/nats-jwt.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';
import { OutsideServer } from '../support/outside-nats.ts';

const SECRET = 'hunter2-very-secret';

interface NatsPart {
  state: string;
  reason: string | null;
  reconnects: number;
  outbox: { behind: number };
  injected: { taken: number };
}

const part = (node: MissionNode): NatsPart => node.status().parts['nats'] as unknown as NatsPart;

/** Everything that the door logs, and the fixture. */
async function nodeOn(
  nats: string,
  options: NatsOptions = {},
): Promise<{ at: TestNode; log: string[] }> {
  const log: string[] = [];
  const note = (fields: object, message: string): void =>
    void log.push(`${message} ${JSON.stringify(fields)}`);
  const at = await startNode({
    openDoors: async (node) => [
      await openNatsDoor(node, {
        nats,
        options: { context: false, ...options },
        log: { info: note, warn: note },
        intervals: SOON,
      }),
    ],
  });
  return { at, log };
}

const isUp = ({ node }: TestNode): Promise<void> =>
  eventually(
    () => expect(part(node)).toMatchObject({ state: 'up', reason: null, outbox: { behind: 0 } }),
    {
      timeoutMs: 20_000,
    },
  );

const isDown = ({ node }: TestNode, reason: RegExp): Promise<void> =>
  eventually(
    () => {
      expect(part(node).state).toBe('down');
      expect(part(node).reason).toMatch(reason);
    },
    { timeoutMs: 20_000 },
  );

const waiting = mission('m', [task('t', [step('a', gate('g'))])]);

async function client(server: OutsideServer, options: ConnectionOptions): Promise<NatsConnection> {
  const connection = await connect({ servers: `127.0.0.1:${server.port}`, ...options });
  onTestFinished(() => connection.close());
  return connection;
}

/** Connected, published, injected; and all of it again after the server was away. */
async function works(server: OutsideServer, at: TestNode, options: ConnectionOptions) {
  at.drop(waiting);
  await at.waitsAt('m', 'g');
  await isUp(at);
  const first = await client(server, options);
  const ids = (await storedIn(first, 'MISSIONS')).map(({ id }) => id);
  expect(ids).toContain('cell/m#1');
  await first.jetstream().publish('ops.inject.m', '{"type": "cell.pause"}');
  await at.cellIs('m', 'paused');
  await first.close();
  await server.stop();
  await isDown(at, /connection lost|nobody listens at 127\.0\.0\.1:\d+/);
  await at.tell('m', { type: 'cell.resume' });
  await server.start();
  await isUp(at);
  const second = await client(server, options);
  await second.jetstream().publish('ops.inject.m', '{"type": "cell.pause"}');
  await at.cellIs('m', 'paused');
  const types = (await storedIn(second, 'MISSIONS'))
    .filter(({ source }) => source === 'cell/m')
    .map(({ type }) => type);
  expect(types.filter((type) => /pause|resume/.test(String(type)))).toEqual(
    expect.arrayContaining(['cell.pause', 'cell.resume']),
  );
  const { headers } = await second.request('svc.lazarus.status');
  expect(headers?.get('Lazarus-Node')).toBe(at.node.nodeId);
}

/** Nothing of it in what is logged, in the status, in node.json. */
function isNowhere(secret: string, { at, log }: { at: TestNode; log: string[] }): void {
  for (const text of [
    ...log,
    JSON.stringify(at.node.status()),
    readFileSync(at.node.layout.node, 'utf8'),
  ])
    expect(text).not.toContain(secret);
}

const users = { authorization: { users: [{ user: 'lazarus', password: SECRET }] } };

describe('a node on a server of somebody else works, and goes on when the server was away', () => {
  test('with user and password in the address', async () => {
    const server = await OutsideServer.on(users);
    await server.start();
    const on = await nodeOn(server.url.replace('//', `//lazarus:${SECRET}@`));
    await works(server, on.at, { user: 'lazarus', pass: SECRET });
    isNowhere(SECRET, on);
  }, 60_000);

  test('with a token in a file', async () => {
    const server = await OutsideServer.on({ authorization: { token: SECRET } });
    await server.start();
    const file = server.file('token', `${SECRET}\n`);
    const on = await nodeOn(server.url, { credentials_file: file });
    await works(server, on.at, { token: SECRET });
    isNowhere(SECRET, on);
  }, 60_000);

  test('with a .creds file', async () => {
    const operator = makeOperator();
    const server = await OutsideServer.on(operator.config);
    await server.start();
    const creds = operator.creds();
    const on = await nodeOn(server.url, { credentials_file: server.file('n.creds', creds) });
    const authenticator = credsAuthenticator(Buffer.from(operator.creds()));
    await works(server, on.at, { authenticator });
    for (const line of creds.split('\n').filter((text) => /^\w{20}/.test(text)))
      isNowhere(line, on);
  }, 60_000);

  test('with TLS and a certificate of its own', async () => {
    const { server, ca, options, config } = await tlsServer();
    await server.start(config);
    const on = await nodeOn(server.url.replace('nats:', 'tls:'), options);
    const mine = makeIdentity('a client', { by: ca });
    const tls = { ca: ca.certificate, cert: mine.certificate, key: mine.key };
    await works(server, on.at, { tls });
  }, 60_000);
});

/** Not started. `config`: it wants certificates of clients. */
async function tlsServer() {
  const ca = makeIdentity('an authority');
  const server = await OutsideServer.on();
  const own = makeIdentity('a server', { by: ca });
  const mine = makeIdentity('a node', { by: ca });
  const tls = {
    cert_file: server.file('server.pem', own.certificate),
    key_file: server.file('server.key', own.key),
    ca_file: server.file('ca.pem', ca.certificate),
  };
  const options: NatsOptions = {
    ca_file: tls.ca_file,
    cert_file: server.file('node.pem', mine.certificate),
    key_file: server.file('node.key', mine.key),
  };
  return { server, ca, options, tls, config: { tls: { ...tls, verify: true } } };
}

describe('what is wrong is said, and when it is mended the node goes on', () => {
  test('no server', async () => {
    const server = await OutsideServer.on();
    const { at } = await nodeOn(server.url);
    await isDown(at, new RegExp(`^nobody listens at 127\\.0\\.0\\.1:${server.port}`));
    await server.start();
    await isUp(at);
  }, 40_000);

  test('no credentials, wrong ones, none in their file', async () => {
    const server = await OutsideServer.on(users);
    await server.start();
    const none = await nodeOn(server.url);
    await isDown(none.at, /wants credentials, and there are none .*credentials_file/);
    const wrong = await nodeOn(server.url.replace('//', `//lazarus:${SECRET}-not@`));
    await isDown(wrong.at, /does not take the credentials of the address nats:\/\/127/);
    isNowhere(SECRET, wrong);
    const absent = join(server.folder, 'absent');
    const unread = await nodeOn(server.url, { credentials_file: absent });
    await isDown(unread.at, /the credentials of NATS cannot be read: .*absent \(ENOENT\)/);
    writeFileSync(absent, `lazarus:${SECRET}`);
    await isUp(unread.at);
    isNowhere(SECRET, unread);
  }, 60_000);

  test('credentials that the server takes no more, and takes again', async () => {
    const server = await OutsideServer.on(users);
    await server.start();
    const file = server.file('login', `lazarus:${SECRET}`);
    const on = await nodeOn(server.url, { credentials_file: file });
    await isUp(on.at);
    await server.stop();
    const other = 'another-secret';
    await server.start({ authorization: { users: [{ user: 'lazarus', password: other }] } });
    await isDown(on.at, new RegExp(`does not take the credentials of ${file}`));
    writeFileSync(file, `lazarus:${other}`);
    await isUp(on.at);
    for (const secret of [SECRET, other]) isNowhere(secret, on);
  }, 60_000);

  test('a .creds file that has expired, one of another operator, one that is none', async () => {
    const operator = makeOperator();
    const server = await OutsideServer.on(operator.config);
    await server.start();
    const file = server.file('n.creds', operator.creds({ expired: true }));
    const on = await nodeOn(server.url, { credentials_file: file });
    await isDown(on.at, /n\.creds.*(have expired|authorization violation)/);
    writeFileSync(file, makeOperator().creds());
    await isDown(on.at, /does not take the credentials of .*n\.creds/);
    writeFileSync(file, '-----BEGIN NATS USER JWT-----\nnonsense');
    await isDown(on.at, /n\.creds: no credentials of NATS/);
    writeFileSync(file, operator.creds());
    await isUp(on.at);
  }, 60_000);

  test('an authority that is not known, or another one', async () => {
    const { server, tls, options } = await tlsServer();
    await server.start({ tls });
    const url = server.url.replace('nats:', 'tls:');
    const unknown = await nodeOn(url);
    await isDown(unknown.at, /of no authority that is trusted here .*ca_file/);
    const ca = server.file('other.pem', makeIdentity('another').certificate);
    const other = await nodeOn(url, { ca_file: ca });
    await isDown(other.at, /of no authority .*nats_options\.ca_file names another/);
    writeFileSync(ca, readFileSync(options.ca_file as string));
    await isUp(other.at);
    const absent = await nodeOn(url, { ca_file: join(server.folder, 'absent.pem') });
    await isDown(absent.at, /nats_options\.ca_file cannot be read: .*absent\.pem/);
  }, 60_000);

  test('a server that wants a certificate of the client, and gets none, or one of a stranger', async () => {
    const { server, config, options } = await tlsServer();
    await server.start(config);
    const url = server.url.replace('nats:', 'tls:');
    const { ca_file: ca } = options as { ca_file: string };
    const stranger = makeIdentity('a stranger');
    const theirs = {
      ca_file: ca,
      cert_file: server.file('strange.pem', stranger.certificate),
      key_file: server.file('strange.key', stranger.key),
    };
    const none = await nodeOn(url, { ca_file: ca });
    const strange = await nodeOn(url, theirs);
    const mixed = await nodeOn(url, { ...options, key_file: theirs.key_file });
    await Promise.all([
      isDown(none.at, /wants a certificate of the client: .*cert_file and key_file/),
      isDown(strange.at, /does not take the certificate of nats_options\.cert_file/),
      isDown(mixed.at, /cert_file or key_file of nats_options is no good/),
    ]);
  }, 60_000);

  test('a certificate for another host, one that has expired, no TLS at all', async () => {
    const { server, ca, tls } = await tlsServer();
    const url = server.url.replace('nats:', 'tls:');
    const { at } = await nodeOn(url, { ca_file: tls.ca_file });
    const show = async (names: string[], validFor: number): Promise<void> => {
      const { certificate, key } = makeIdentity('a server', { by: ca, names, validFor });
      writeFileSync(tls.cert_file, certificate);
      writeFileSync(tls.key_file, key);
      await server.stop();
      await server.start({ tls });
    };
    await show(['nas.lan'], 30);
    await isDown(at, /is for another name: .*127\.0\.0\.1/);
    await show(['127.0.0.1'], -1);
    await isDown(at, /is not valid today: certificate has expired/);
    await server.stop();
    await server.start({});
    await isDown(at, /offers no TLS/);
    await show(['127.0.0.1'], 30);
    await isUp(at);
  }, 60_000);

  test('no JetStream, no right to what is needed', async () => {
    const server = await OutsideServer.on();
    const denied = { publish: { deny: ['$JS.API.STREAM.CREATE.OPS'] } };
    const config = (permissions: JsonObject): JsonObject => ({
      authorization: { users: [{ user: 'lazarus', password: SECRET, permissions }] },
    });
    await server.start({ ...config({}), jetstream: { enabled: false } });
    const on = await nodeOn(server.url.replace('//', `//lazarus:${SECRET}@`));
    await isDown(on.at, /connected, but it cannot be used: .*jetstream/i);
    await server.stop();
    await server.start(config(denied));
    await isDown(on.at, /does not let us publish to \$JS\.API\.STREAM\.CREATE\.OPS/);
    await server.stop();
    await server.start(config({}));
    await isUp(on.at);
    isNowhere(SECRET, on);
  }, 60_000);
});
