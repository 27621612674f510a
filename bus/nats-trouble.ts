/**
 * Why a NATS server cannot be had, in words that say what to mend. The client's own words are codes, and of a server that
 * wants a certificate of the client it says nothing at all: that is found out here by hand.
 *
 * W1 No secret is ever part of it: credentials are named by where they come from.
 */
import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { hostOf, identityCheck } from './nats-tls.ts';
import type { TlsMaterial } from './nats-tls.ts';

export interface Attempt {
  /** `host:port` of each. */
  servers: readonly string[];
  /** Where the credentials come from: `/etc/lazarus/nats.creds`. Null: there are none. */
  credentialsFrom: string | null;
  tls: TlsMaterial | undefined;
}

const PROBE_MS = 2000;
/** A server that refuses a certificate says so at once. */
const QUIET_MS = 300;

/** `error`: what the client threw, or told. */
export async function troubleOf(error: unknown, attempt: Attempt): Promise<string> {
  const { code, message } = inner(error);
  if (code === 'TIMEOUT') {
    for (const server of attempt.servers) {
      const refusal = await tlsRefusal(server, attempt.tls);
      if (refusal !== undefined) return wordsOf(inner(refusal), attempt);
    }
  }
  return wordsOf({ code, message }, attempt);
}

interface Failure {
  code: string;
  message: string;
}

function wordsOf({ code, message }: Failure, attempt: Attempt): string {
  const { servers, credentialsFrom, tls } = attempt;
  const where = servers.join(', ');
  const known = KNOWN.find(([pattern]) => pattern.test(code));
  if (known) return known[1]({ where, message, credentialsFrom, tls });
  return code === '' || message.includes(code) ? message : `${message} (${code})`;
}

interface Facts extends Pick<Attempt, 'credentialsFrom' | 'tls'> {
  where: string;
  message: string;
}

const KNOWN: readonly [RegExp, (facts: Facts) => string][] = [
  [
    /^(CONNECTION_REFUSED|ECONNREFUSED)$/,
    ({ where }) => `nobody listens at ${where} (connection refused)`,
  ],
  [
    /^(ENOTFOUND|EAI_AGAIN)$/,
    ({ where, message }) => `the name of ${where} is not known here: ${message}`,
  ],
  [/^TIMEOUT$/, ({ where }) => `${where} does not answer`],
  [/^(AUTHORIZATION_VIOLATION|AUTHENTICATION_TIMEOUT)$/, refusedCredentials],
  [
    /^(AUTHENTICATION_EXPIRED|ACCOUNT_EXPIRED)$/,
    ({ credentialsFrom }) => `the credentials of ${credentialsFrom ?? 'nobody'} have expired`,
  ],
  [
    /^(BAD_CREDS|BAD_AUTHENTICATION)$/,
    ({ credentialsFrom }) => `${credentialsFrom ?? 'the credentials'}: no credentials of NATS`,
  ],
  [
    /^SERVER_OPT_NA$/,
    ({ where }) => `${where} offers no TLS, and tls:// or a file of nats_options asks for it`,
  ],
  [
    /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_UNTRUSTED|ERR_SSL_CERTIFICATE_VERIFY_FAILED)$/,
    ({ where, tls, message }) =>
      `the certificate of ${where} is of no authority that is trusted here (${message}): ` +
      (tls?.ca === undefined
        ? 'name the one it is of in nats_options.ca_file'
        : 'nats_options.ca_file names another'),
  ],
  [
    /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/,
    ({ where, message }) => `the certificate of ${where} is not valid today: ${message}`,
  ],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    ({ where, message }) => `the certificate of ${where} is for another name: ${message}`,
  ],
  [
    /ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_\w+|HANDSHAKE_FAILURE|DECRYPT_ERROR|UNSUPPORTED_CERTIFICATE)/,
    ({ where, tls, message }) =>
      tls?.cert === undefined
        ? `${where} wants a certificate of the client: nats_options.cert_file and key_file`
        : `${where} does not take the certificate of nats_options.cert_file (${reasonIn(message)})`,
  ],
  [
    /^ERR_OSSL_|^ERR_OSSL|^TLS$/,
    ({ message }) => `ca_file, cert_file or key_file of nats_options is no good: ${message}`,
  ],
];

function refusedCredentials({ where, credentialsFrom }: Facts): string {
  if (credentialsFrom === null)
    return `${where} wants credentials, and there are none (authorization violation): nats_options.credentials_file`;
  return `${where} does not take the credentials of ${credentialsFrom} (authorization violation)`;
}

/** `...:SSL alert number 116` and file names of a library are no help. */
const reasonIn = (message: string): string =>
  /routines:[^:]*:([^:]+):/.exec(message)?.[1] ?? message.trim();

/** The client wraps what it was told. */
function inner(error: unknown): Failure {
  const { chainedError, code, message } = (error ?? {}) as {
    chainedError?: Error & { code?: string };
    code?: string;
    message?: string;
  };
  const cause = chainedError as NodeJS.ErrnoException | undefined;
  return {
    code: (cause?.code ?? code ?? '').replaceAll(' ', '_').toUpperCase(),
    message: cause?.message ?? message ?? String(error),
  };
}

/**
 * What a server says against our side of TLS. With TLS 1.3 the handshake is over for the client when the server looks at the
 * client's certificate, and what it says then ends the connection.
 */
async function tlsRefusal(server: string, tls: TlsMaterial | undefined): Promise<unknown> {
  const host = hostOf(server);
  const socket = connect(Number(/\d+$/.exec(server)?.[0]), host);
  try {
    const info = await firstLine(socket);
    if (!/"tls_(required|available)":true/.test(info)) return undefined;
    const secure = connectTls({
      socket,
      ...(isIP(host) === 0 && { servername: host }),
      checkServerIdentity: identityCheck([server]),
      ...tls,
    });
    return await new Promise((resolve) => {
      secure.once('error', resolve);
      secure.once('secureConnect', () => setTimeout(resolve, QUIET_MS, undefined));
      setTimeout(resolve, PROBE_MS, undefined).unref();
    });
  } catch (error) {
    return inner(error).code === '' ? undefined : error; // one that says nothing has said nothing about TLS
  } finally {
    socket.destroy();
  }
}

function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += String(chunk);
      if (text.includes('\n') || text.length > 65_536) resolve(text);
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
    setTimeout(() => reject(new Error('silent')), PROBE_MS).unref();
  });
}
