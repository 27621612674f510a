/** The secret by which a caller of the HTTP gateway shows that it may read this user's files. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';

const FORM = /^[A-Za-z0-9_-]{32,128}$/;

/**
 * The token in the file; made when there is none. One that others could have read, or that is no token, is replaced, and
 * `replaced` says why.
 */
export async function httpToken(path: string): Promise<{ token: string; replaced: string | null }> {
  const found = readToken(path);
  if (found.token !== undefined) return { token: found.token, replaced: null };
  const token = randomBytes(32).toString('base64url');
  await writeWhole(path, `${token}\n`, { sync: true, mode: 0o600, what: 'http-token' });
  return { token, replaced: found.problem ?? null };
}

function readToken(path: string): { token?: string; problem?: string } {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return {};
    if (hasCode(error, 'ELOOP')) return { problem: 'it was a symbolic link' };
    throw error;
  }
  try {
    const { mode, uid } = fstatSync(fd);
    if ((mode & 0o077) !== 0) return { problem: 'other users could read it' };
    if (uid !== userInfo().uid) return { problem: 'it belonged to another user' };
    const token = readFileSync(fd, 'utf8').trim();
    return FORM.test(token) ? { token } : { problem: 'it held no token' };
  } finally {
    closeSync(fd);
  }
}
