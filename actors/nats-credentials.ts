/** How a node shows who it is to a NATS server that is not its own: by what stands in the URL or, better, in a file. */
import { readFileSync } from 'node:fs';
import type { Credentials } from '../bus/nats.ts';
import { RuntimeError } from '../machines/errors.ts';
import { withoutUser } from '../machines/nats-url.ts';

export interface CredentialSource {
  /** Anew each time: a file may have been mended. Throws RuntimeError INVALID_ARGUMENT for a file that is none. */
  credentials: () => Credentials;
  /** For people, no secret. Null: there are none. */
  credentialsFrom: string | null;
  user: string | null;
}

/** More is no credentials. */
const MAX_BYTES = 64 * 1024;

/** `nats`: one address or several; the first tells. A file goes before what the address says. */
export function credentialSource(nats: string, file: string | undefined): CredentialSource {
  if (file !== undefined)
    return { credentials: () => inFile(file), credentialsFrom: file, user: null };
  const [first = ''] = nats.split(',');
  const credentials = inUrl(URL.parse(first.trim()));
  return {
    credentials: () => credentials,
    credentialsFrom:
      credentials.kind === 'none' ? null : `the address ${withoutUser(first.trim())}`,
    user: credentials.kind === 'user' ? credentials.user : null,
  };
}

function inUrl(url: URL | null): Credentials {
  if (url === null || url.username === '') return { kind: 'none' };
  const user = decodeURIComponent(url.username);
  if (url.password === '') return { kind: 'token', token: user };
  return { kind: 'user', user, password: decodeURIComponent(url.password) };
}

function inFile(file: string): Credentials {
  const hint =
    'nats_options.credentials_file names a .creds file, or one with user:password or a token.';
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    throw new RuntimeError(`the credentials of NATS cannot be read: ${file} (${code})`, {
      code: 'INVALID_ARGUMENT',
      cause,
      hint,
    });
  }
  if (content.length > MAX_BYTES || content.trim() === '')
    throw new RuntimeError(`there are no credentials of NATS in ${file}`, {
      code: 'INVALID_ARGUMENT',
      hint,
    });
  if (content.includes('BEGIN NATS USER JWT')) return { kind: 'creds', content };
  const line = content.trim();
  const colon = line.indexOf(':');
  if (colon < 0) return { kind: 'token', token: line };
  return { kind: 'user', user: line.slice(0, colon), password: line.slice(colon + 1) };
}
