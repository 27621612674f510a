/**
 * Stands on PATH as `docker` and as `ssh`: writes down what it was called with and does what the folder beside it says.
 * Called as `node fake-docker-program.ts <folder> <name> <arguments...>`.
 *
 *   calls.jsonl       a line for each call: {name, args, pid, env}
 *   containers.json   name -> what `docker inspect` says of its state
 *   rules.json        a list of {match, ...}: the first whose `match` stands in the arguments says what happens
 */
import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FakeContainer, FakeRule } from './fake-docker.ts';

const [folder = '', name = '', ...args] = process.argv.slice(2);
const line = { name, args, pid: process.pid, env: process.env };
appendFileSync(join(folder, 'calls.jsonl'), `${JSON.stringify(line)}\n`);
const words = args.join(' ');
const rule = read<FakeRule[]>('rules.json', []).find(({ match }) => words.includes(match));
if (rule?.early !== undefined) await happen(rule);
if (name === 'ssh') asSshd();
else act();
if (rule !== undefined && rule.early === undefined) await happen(rule);

function read<T>(file: string, otherwise: T): T {
  const path = join(folder, file);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : otherwise;
}

function write(containers: Record<string, FakeContainer>): void {
  const path = join(folder, 'containers.json');
  writeFileSync(`${path}.${process.pid}`, JSON.stringify(containers));
  renameSync(`${path}.${process.pid}`, path);
}

/** As a login shell on the other host would: the last argument is read by a shell. */
function asSshd(): void {
  const { status } = spawnSync('/bin/sh', ['-c', args.at(-1) ?? ''], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}

function act(): void {
  const containers = read<Record<string, FakeContainer>>('containers.json', {});
  const target = args.at(-1) ?? '';
  if (args[0] === 'restart') {
    if (containers[target] === undefined) return noSuch(target);
    write({ ...containers, [target]: { ...containers[target], ...begun() } });
    process.stdout.write(`${target}\n`);
  } else if (args[0] === 'inspect') {
    for (const wanted of args.slice(args.indexOf('{{json .State}}') + 1)) {
      const found = Object.entries(containers).find(([key, { id }]) => [key, id].includes(wanted));
      if (found === undefined) return noSuch(wanted);
      const { id: _id, ...state } = found[1];
      process.stdout.write(`${JSON.stringify(state)}\n`);
    }
  } else if (args[0] === 'compose' && args.includes('ps')) {
    const found = containers[target];
    const isShown = found !== undefined && (args.includes('--all') || found.Running);
    if (isShown) process.stdout.write(`${found.id}\n`);
  } else if (args[0] === 'compose' && args.includes('up')) {
    const id = Date.now().toString(16).padStart(12, '0');
    write({ ...containers, [target]: { ...containers[target], ...begun(), id } });
    process.stderr.write(` Container ${target} Recreated\n`);
  }
}

function begun(): { StartedAt: string; Running: true } {
  return { StartedAt: new Date().toISOString(), Running: true };
}

function noSuch(target: string): void {
  process.stderr.write(`Error: No such container: ${target}\n`);
  process.exit(1);
}

async function happen({
  stdout,
  stderr,
  bytes,
  hangMs,
  fork,
  exit,
  kill,
}: FakeRule): Promise<void> {
  if (stdout !== undefined) process.stdout.write(stdout);
  if (stderr !== undefined) process.stderr.write(stderr);
  for (let left = bytes ?? 0; left > 0; left -= 65_536)
    process.stdout.write('x'.repeat(Math.min(left, 65_536)));
  if (fork === true)
    spawn('/bin/sh', ['-c', 'trap "" TERM HUP; sleep 600'], { detached: true, stdio: 'ignore' });
  if (hangMs !== undefined) await sleep(hangMs);
  if (kill !== undefined) process.kill(process.pid, kill);
  if (exit !== undefined) process.exit(exit);
}
