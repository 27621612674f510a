/** What `nsc` makes: an operator, an account with JetStream, and users with `.creds` files. */
import { createHash, randomUUID } from 'node:crypto';
import { nkeys } from 'nats';
import type { JsonObject } from '../../machines/json.ts';

type KeyPair = ReturnType<typeof nkeys.createUser>;

export interface Operator {
  /** Of the server's configuration. */
  config: JsonObject;
  /** Content of a `.creds` file. `expired`: its time has passed. */
  creds(options?: { expired?: boolean }): string;
}

const UNLIMITED = { subs: -1, data: -1, payload: -1 };

export function makeOperator(): Operator {
  const operator = nkeys.createOperator();
  const system = nkeys.createAccount();
  const account = nkeys.createAccount();
  const accountClaim = (more: JsonObject): JsonObject => ({
    type: 'account',
    version: 2,
    limits: {
      ...UNLIMITED,
      imports: -1,
      exports: -1,
      wildcards: true,
      conn: -1,
      leaf: -1,
      ...more,
    },
  });
  const jetStream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const [systemId, accountId] = [system.getPublicKey(), account.getPublicKey()];
  return {
    config: {
      operator: jwt(operator, {
        sub: operator.getPublicKey(),
        nats: { type: 'operator', version: 2, system_account: systemId },
      }),
      system_account: systemId,
      resolver: 'MEMORY',
      resolver_preload: {
        [systemId]: jwt(operator, { sub: systemId, nats: accountClaim({}) }),
        [accountId]: jwt(operator, { sub: accountId, nats: accountClaim(jetStream) }),
      },
    },
    creds({ expired = false } = {}) {
      const user = nkeys.createUser();
      const token = jwt(account, {
        sub: user.getPublicKey(),
        nats: { type: 'user', version: 2, pub: {}, sub: {}, ...UNLIMITED },
        ...(expired ? { exp: Math.floor(Date.now() / 1000) - 3600 } : {}),
      });
      const seed = Buffer.from(user.getSeed()).toString();
      return [
        `-----BEGIN NATS USER JWT-----\n${token}\n------END NATS USER JWT------\n`,
        `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`,
      ].join('\n');
    },
  };
}

/** Signed by who vouches for it. */
function jwt(issuer: KeyPair, claims: JsonObject): string {
  const body = {
    jti: createHash('sha256').update(randomUUID()).digest('hex'),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name: 'test',
    ...claims,
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part(body)}`;
  const signature = Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url');
  return `${signed}.${signature}`;
}
