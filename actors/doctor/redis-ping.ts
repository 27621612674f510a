/** One PING to a Redis server, in its own protocol: enough to know whether it is there and lets us in. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';

export type RedisAnswer = { kind: 'pong' } | { kind: 'refused'; reason: string };

const MAX_ANSWER = 4096;

/** Throws when nobody answers in time. `url`: redis:// or rediss://, with the user and password it has. */
export async function pingRedis(url: URL, timeoutMs = 2000): Promise<RedisAnswer> {
  const host = url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1';
  const port = Number(url.port || 6379);
  const socket =
    url.protocol === 'rediss:'
      ? connectSecurely({ host, port, servername: host })
      : connect({ host, port });
  try {
    const lines = await talk(socket, commandsFor(url), timeoutMs);
    const error = lines.find((line) => line.startsWith('-'));
    if (error !== undefined) return { kind: 'refused', reason: error.slice(1, 200) };
    if (lines.at(-1) === '+PONG') return { kind: 'pong' };
    return { kind: 'refused', reason: 'what answers there is no Redis' };
  } finally {
    socket.destroy();
  }
}

function commandsFor({ username, password }: URL): string[][] {
  const secret = decodeURIComponent(password);
  const auth = username === '' ? ['AUTH', secret] : ['AUTH', decodeURIComponent(username), secret];
  return [...(password === '' ? [] : [auth]), ['PING']];
}

/** The lines of the answers, one a command. */
function talk(socket: Socket, commands: string[][], timeoutMs: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      reject(new Error(`no answer within ${timeoutMs / 1000} s`));
    }, timeoutMs);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      settle();
    };
    socket.on('error', (error) => end(() => reject(error)));
    socket.on('close', () => end(() => reject(new Error('it closed the connection'))));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const lines = text.split('\r\n').slice(0, -1);
      const isWhole = lines.length >= commands.length || lines.some((line) => line.startsWith('-'));
      if (isWhole || text.length > MAX_ANSWER) end(() => resolve(lines));
    });
    socket.write(commands.map(encode).join(''));
  });
}

const encode = (words: string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
