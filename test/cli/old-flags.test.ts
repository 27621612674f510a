import { expect, test } from 'vitest';
import { translateOldFlags } from '../../cli/old-flags.ts';

test.each<[string, string]>([
  ['--create-config', 'config init'],
  ['--config /c.json --create-config', 'config init --config /c.json'],
  ['--status', 'status'],
  ['--status --json', 'status --json'],
  ['--config /c.json', 'up --config /c.json'],
  ['--example', 'demo'],
  ['--example --port 9000', 'demo'],
  ['--port 9000', 'up --http 127.0.0.1:9000'],
  ['--host 0.0.0.0', 'up --http 0.0.0.0:8080'],
  ['--host=::1 --port=9000', 'up --http [::1]:9000'],
  ['up --host 0.0.0.0 --port 9000 --json', 'up --json --http 0.0.0.0:9000'],
  ['up --http off', 'up --http off'],
  ['status --json', 'status --json'],
  ['task add --status', 'task add --status'],
  ['--help', '--help'],
  ['--version', '--version'],
  ['--nonsense', '--nonsense'],
  ['', ''],
])('%s is %s', (before, after) => {
  const words = (line: string): string[] => (line === '' ? [] : line.split(' '));
  expect(translateOldFlags(words(before))).toEqual(words(after));
});
