/** What TLS to a NATS server needs: the files of nats_options, and whose certificate the server's has to be. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { RuntimeError } from '../machines/errors.ts';

export interface TlsFiles {
  caFile?: string;
  certFile?: string;
  keyFile?: string;
}

/** Contents, not paths. */
export interface TlsMaterial {
  ca?: string;
  cert?: string;
  key?: string;
}

/** As the files are now. Throws RuntimeError INVALID_ARGUMENT for one that cannot be read. */
export function readTls({ caFile, certFile, keyFile }: TlsFiles): TlsMaterial {
  return {
    ...(caFile === undefined ? {} : { ca: contentOf(caFile, 'ca_file') }),
    ...(certFile === undefined ? {} : { cert: contentOf(certFile, 'cert_file') }),
    ...(keyFile === undefined ? {} : { key: contentOf(keyFile, 'key_file') }),
  };
}

function contentOf(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { message } = cause as Error;
    throw new RuntimeError(`nats_options.${option} cannot be read: ${message}`, {
      code: 'INVALID_ARGUMENT',
      cause,
    });
  }
}

/**
 * Whose certificate a server must show: that of the name by which it is reached. The client names no server that is reached by
 * an IP address, and Node then looks for `localhost`: so one of the addresses that were given has to stand in it.
 */
export function identityCheck(
  servers: readonly string[],
): (asked: string, certificate: PeerCertificate) => Error | undefined {
  const hosts = servers.map(hostOf);
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  return (asked, certificate) => {
    const isNamed = hosts.includes(asked) || addresses.length === 0;
    const errors = (isNamed ? [asked] : addresses).map((host) =>
      checkServerIdentity(host, certificate),
    );
    return errors.includes(undefined) ? undefined : errors[0];
  };
}

/** Of `host:port` or `[::1]:port`. */
export const hostOf = (server: string): string =>
  server.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
