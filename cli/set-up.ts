/**
 * Programs that `npm start` and `npm test` can use and npm does not bring: got with the platform's package manager when this
 * user may use it, else with one line that says how.
 *
 * Y1 Nobody is asked anything: sudo is used only where it wants no password.
 * Y2 It ends in time. Fetching is cut off; unpacking is not, for a package manager that is killed there leaves a broken
 *    system: it is only no longer waited for.
 * Y3 What is installed is not started, now or at the next boot: while we install, a policy for Debian's service scripts
 *    forbids these and no others. One that is there already is left alone, and ours forbids nothing once we are gone.
 * Y4 It throws nothing: whoever calls goes on, with the programs or without.
 */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { installing } from '../actors/doctor/check.ts';
import type { PackageNames } from '../actors/doctor/check.ts';
import { findProgram } from '../actors/doctor/probe.ts';
import { findNatsServer } from '../bus/nats-server.ts';

export interface Program {
  packages: PackageNames;
  isHere: () => boolean;
}

export const NATS_SERVER: Program = {
  packages: { name: 'nats-server' },
  isHere: () => findNatsServer() !== undefined,
};
export const REDIS_SERVER: Program = {
  packages: { name: 'redis-server', brew: 'redis' },
  isHere: () => findProgram('redis-server') !== null,
};

export type Outcome =
  | { kind: 'present' }
  | { kind: 'installed'; programs: string[] }
  | { kind: 'absent'; programs: string[]; why: string; how: string };

export interface SetUpOptions {
  /** Only as root: not by sudo, and not with a package manager for users. */
  onlyAsRoot: boolean;
  /** For what comes over the network, ms. */
  fetchMs: number;
  /** After which it is no longer waited for, ms: more than `fetchMs`. */
  patienceMs: number;
  /** Told before something is done that takes its time. */
  say: (line: string) => void;
  signal?: AbortSignal;
  host?: Host;
}

/** What the answer depends on. */
export interface Host {
  platform: NodeJS.Platform;
  isRoot: boolean;
  /** Where Debian's service scripts look for a policy. */
  policyFile: string;
}

type Ended = { kind: 'ended'; code: number; said: string } | { kind: 'late' };
/** What is put before a command to run it as root; null: it cannot be. */
type AsRoot = readonly string[] | null;

const thisHost = (): Host => ({
  platform: process.platform,
  isRoot: process.getuid?.() === 0,
  policyFile: '/usr/sbin/policy-rc.d',
});

const SUDO_MS = 5000;
/** Of what a command said, characters that are kept. */
const MAX_SAID = 4000;
/** Between asking a command to end and ending it, seconds. */
const GRACE_S = 2;

export async function setUp(wanted: readonly Program[], options: SetUpOptions): Promise<Outcome> {
  const { onlyAsRoot, host = thisHost() } = options;
  const absent = wanted.filter((program) => !program.isHere());
  if (absent.length === 0) return { kind: 'present' };
  const names = absent.map(({ packages }) => packages.name);
  const without = (why: string): Outcome => {
    const how = absent.map(({ packages }) => installing(packages)).join(' && ');
    return { kind: 'absent', programs: names, why, how };
  };
  const brew = host.platform === 'darwin' ? findProgram('brew') : null;
  const aptGet = host.platform === 'linux' ? findProgram('apt-get') : null;
  let problem: string | null;
  if (brew !== null && !onlyAsRoot && !host.isRoot) {
    const packages = absent.map((program) => program.packages.brew ?? program.packages.name);
    problem = await withBrew(brew, packages, options);
  } else if (aptGet !== null) {
    const asRoot = await rootOn(host, onlyAsRoot);
    if (asRoot === null) return without('only root may install it');
    problem = await withApt(asRoot, names, { ...options, host });
  } else return without('there is no package manager that may be used for it');
  if (problem !== null) return without(problem);
  const stillAbsent = absent.filter((program) => !program.isHere());
  if (stillAbsent.length > 0) return without('it was installed and cannot be found');
  return { kind: 'installed', programs: names };
}

/** Y1. */
async function rootOn({ isRoot }: Host, onlyAsRoot: boolean): Promise<AsRoot> {
  if (isRoot) return [];
  const sudo = onlyAsRoot ? null : findProgram('sudo');
  if (sudo === null) return null;
  const tried = await run([sudo, '-n', 'true'], { patienceMs: SUDO_MS });
  return tried.kind === 'ended' && tried.code === 0 ? [sudo, '-n'] : null;
}

const APT_OPTIONS =
  '-q -y --no-install-recommends -o DPkg::Lock::Timeout=10 -o Acquire::Retries=1 -o Acquire::http::Timeout=10';

/** The lists of packages are fetched anew only when they do not have what is wanted. */
const FETCH = `
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
get() { apt-get ${APT_OPTIONS} --download-only install "$@"; }
get "$@" || { apt-get ${APT_OPTIONS} -o APT::Update::Error-Mode=any update && get "$@"; }`;

/** Y3. The first argument is the policy's file. */
const INSTALL = `
policy=$1; shift
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_SUSPEND=1
trap 'exit 1' HUP INT TERM
umask 022
if (set -C; cat > "$policy") 2>/dev/null << END
#!/bin/sh
# Of Lazarus' set-up, process $$: what it installs is not started. Once that is gone, this forbids nothing.
kill -0 $$ 2>/dev/null || exit 0
case " \\$* " in $(for name; do printf '*" %s"*|' "$name"; done)"") exit 101 ;; esac
exit 0
END
then
  trap 'rm -f "$policy"' EXIT
  chmod 755 "$policy"
fi
log=$(mktemp) # not the pipe: whoever reads it may be gone before this ends
apt-get ${APT_OPTIONS} install "$@" > "$log" 2>&1; code=$?
cat "$log"; rm -f "$log"
if [ "$code" = 0 ] && [ -d /run/systemd/system ]; then systemctl --quiet disable "$@"; fi
exit "$code"`;

/** What went wrong; null: nothing. */
async function withApt(
  asRoot: readonly string[],
  names: readonly string[],
  { fetchMs, patienceMs, signal, say, host }: SetUpOptions & { host: Host },
): Promise<string | null> {
  const seconds = (ms: number): number => Math.ceil(ms / 1000);
  say(`installing ${names.join(' and ')} with apt-get, ${seconds(patienceMs)} s at most`);
  const until = performance.now() + patienceMs;
  const cutOff = ['timeout', `--kill-after=${GRACE_S}`, String(fetchMs / 1000)]; // as root, as what it ends
  const fetching = [...asRoot, ...cutOff, 'sh', '-c', FETCH, 'sh', ...names];
  const fetched = await run(fetching, { patienceMs: fetchMs + 2 * GRACE_S * 1000, signal });
  const problem = problemOf(fetched, 'fetching');
  if (problem !== null) return problem;
  const unpacking = [...asRoot, 'sh', '-c', INSTALL, 'sh', host.policyFile, ...names];
  const unpacked = await run(unpacking, { patienceMs: until - performance.now(), signal });
  return problemOf(unpacked, 'unpacking');
}

async function withBrew(
  brew: string,
  packages: readonly string[],
  { patienceMs, signal, say }: SetUpOptions,
): Promise<string | null> {
  say(`installing ${packages.join(' and ')} with brew`);
  return problemOf(await run([brew, 'install', ...packages], { patienceMs, signal }), 'brew');
}

function problemOf(ended: Ended, what: string): string | null {
  if (ended.kind === 'late') return `${what} took too long`;
  if (ended.code === 0) return null;
  if (ended.code === 124 || ended.code === 137) return `${what} took too long`; // by timeout(1)
  const lines = ended.said.split('\n').filter((line) => line.trim() !== '');
  const line = lines.findLast((candidate) => candidate.startsWith('E: ')) ?? lines.at(-1) ?? '';
  return `${what} failed: ${line.trim().slice(0, 200) || `exit ${ended.code}`}`;
}

/** Y2: whoever is late goes on by itself, out of reach of the terminal's Ctrl-C. */
async function run(
  [program = '', ...args]: readonly string[],
  { patienceMs, signal }: { patienceMs: number; signal?: AbortSignal | undefined },
): Promise<Ended> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-MAX_SAID)));
  const ended = new Promise<Ended>((resolve) => {
    child.once('error', (error) => resolve({ kind: 'ended', code: 1, said: error.message }));
    child.once('close', (code) => resolve({ kind: 'ended', code: code ?? 1, said }));
  });
  const waiting = new AbortController();
  const signals = AbortSignal.any([waiting.signal, ...(signal ? [signal] : [])]);
  const late = sleep(Math.max(0, patienceMs), null, { signal: signals }).catch(() => null);
  const first = await Promise.race([ended, late]);
  waiting.abort();
  if (first !== null) return first;
  child.unref();
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
  return { kind: 'late' };
}
