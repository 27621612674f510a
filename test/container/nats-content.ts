/**
 * What docker-compose.yml tells its nats: users and rights as the server has them that the runtime starts itself, with
 * passwords from variables. Written by `node test/container/nats-content.ts`; a test compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { format } from 'prettier';
import { serverConfig } from '../../bus/nats-config.ts';
import { BUS_ROLES, RIGHTS, RUNTIME_USER } from '../../bus/nats-users.ts';
import type { ServerUser } from '../../bus/nats-users.ts';
import { COMPOSE_FILE } from '../support/compose.ts';

/** Between these lines stands the content, deeper by `INDENT`. */
const BLOCK = /(?<=\n {2}nats:\n {4}content: \|\n)[^]*?(?=\n {2}redis:\n {4}content:)/;
const INDENT = ' '.repeat(6);

/** Before Compose puts variables in. */
export async function natsContent(): Promise<string> {
  const passwordOf = (name: string): string => `<${name.toUpperCase()}>`;
  const users: ServerUser[] = [
    { user: RUNTIME_USER, password: passwordOf('runtime'), rights: null },
    ...BUS_ROLES.map((role) => ({ user: role, password: passwordOf(role), rights: RIGHTS[role] })),
  ];
  const own = serverConfig({ port: 4222, storeDir: '/data', portsDir: '/', users });
  const { ports_file_dir: _, ...config } = JSON.parse(own) as Record<string, unknown>;
  const composed = { ...config, listen: '0.0.0.0:4222', http: '127.0.0.1:8222' };
  const text = await format(JSON.stringify(composed), { parser: 'json', printWidth: 110 });
  return text
    .replaceAll('$', '$$$$')
    .replaceAll(/<([A-Z]+)>/g, '$${NATS_$1_PASSWORD:?see the top of docker-compose.yml}');
}

if (import.meta.main) {
  const indented = (await natsContent()).trimEnd().replaceAll(/^(?=.)/gm, INDENT);
  const before = readFileSync(COMPOSE_FILE, 'utf8');
  writeFileSync(
    COMPOSE_FILE,
    before.replace(BLOCK, () => indented),
  );
}
