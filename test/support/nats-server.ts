/** A nats-server that is not the runtime's own: somebody else's, who runs on when the node does not. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { findNatsServer, NatsServer } from '../../bus/nats-server.ts';
import { WireClient } from './nats-wire.ts';

const quiet = { info: () => undefined, warn: () => undefined };
const USER = { user: 'somebody', password: 'secret' };

export interface ForeignServer {
  /** With credentials, as `--nats` takes it. */
  url: string;
  server: NatsServer;
  client: () => Promise<WireClient>;
}

export async function startNats(): Promise<ForeignServer> {
  const binary = findNatsServer();
  if (binary === undefined)
    throw new Error('these tests need nats-server: apt-get install nats-server');
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-nats-'));
  const users = [{ ...USER, rights: null }];
  const server = await NatsServer.start({ folder, binary, users, mark: {}, log: quiet });
  onTestFinished(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  return {
    url: server.url.replace('//', `//${USER.user}:${USER.password}@`),
    server,
    client: () => WireClient.open({ url: server.url, ...USER }),
  };
}
