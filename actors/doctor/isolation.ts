/**
 * What this host can keep agents apart with. Each means is tried with a harmless command: that a program is there says
 * nothing of whether this user may use it.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { asRoot, installing, missing, ok, warn } from './check.ts';
import type { PackageNames, Probe } from './check.ts';
import { findProgram, firstLine, run } from './probe.ts';
import type { Ran } from './probe.ts';

export function isolationProbes(): Probe[] {
  return [
    { group: 'isolation', name: 'setpriv', look: lookAtSetpriv },
    { group: 'isolation', name: 'cgroup', look: lookAtCgroup },
    { group: 'isolation', name: 'user and pid namespaces', look: lookAtNamespaces },
    { group: 'isolation', name: 'bwrap', look: lookAtBwrap },
    { group: 'isolation', name: 'podman', look: lookAtPodman },
  ];
}

const UTIL_LINUX: PackageNames = { name: 'util-linux' };
const BUBBLEWRAP: PackageNames = { name: 'bubblewrap' };

const LINUX_ONLY = 'a means of Linux; this host has none of it';
const isLinux = process.platform === 'linux';

async function lookAtSetpriv() {
  if (!isLinux) return missing(LINUX_ONLY, null);
  const tried = await run(['setpriv', '--no-new-privs', '--pdeathsig', 'KILL', '--', 'true']);
  if (tried.kind === 'ended' && tried.code === 0)
    return ok('works: workers end with the runtime, and gain no rights');
  const detail = `${whyNot(tried)}: a worker may outlive a killed runtime until the next start`;
  return missing(detail, installing(UTIL_LINUX));
}

const ROOT = '/sys/fs/cgroup';

/** Delegation is tried: a child group is made, looked at and removed. */
async function lookAtCgroup() {
  if (!isLinux) return missing(LINUX_ONLY, null);
  if (!existsSync(join(ROOT, 'cgroup.controllers'))) {
    const isHybrid = existsSync(join(ROOT, 'unified', 'cgroup.controllers'));
    const detail = isHybrid ? 'v1 with an empty v2 beside it' : existsSync(ROOT) ? 'v1' : 'none';
    return warn(`${detail}: limits need v2`, 'boot with systemd.unified_cgroup_hierarchy=1');
  }
  const own = join(ROOT, ownGroup());
  const controllers = readFileSync(join(own, 'cgroup.controllers'), 'utf8').trim() || 'none';
  if (canMakeGroup(own)) return ok(`v2, own group can be divided; controllers: ${controllers}`);
  const scope = await run(['systemd-run', '--user', '--scope', '--quiet', '--collect', 'true']);
  if (scope.kind === 'ended' && scope.code === 0)
    return ok(`v2, by \`systemd-run --user --scope\`; controllers: ${controllers}`);
  const detail = `v2, nothing delegated to this user (controllers here: ${controllers})`;
  return warn(detail, 'loginctl enable-linger $USER   (then log in anew)');
}

function ownGroup(): string {
  const line = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  return line.find((entry) => entry.startsWith('0::'))?.slice('0::'.length) ?? '/';
}

function canMakeGroup(own: string): boolean {
  const child = join(own, `lazarus-doctor-${process.pid}`);
  try {
    mkdirSync(child);
  } catch {
    return false; // not ours, or read-only: that is the answer
  }
  rmdirSync(child);
  return true;
}

async function lookAtNamespaces() {
  if (!isLinux) return missing(LINUX_ONLY, null);
  const argv = ['unshare', '--user', '--map-root-user', '--pid', '--fork', 'true'];
  const tried = await run(argv);
  if (tried.kind === 'ended' && tried.code === 0) return ok('can be made by this user');
  if (tried.kind === 'absent') return missing('unshare is not here', installing(UTIL_LINUX));
  return missing(`cannot be made: ${whyNot(tried)}`, userNamespaceFix());
}

async function lookAtBwrap() {
  if (!isLinux) return missing(LINUX_ONLY, null);
  const program = findProgram('bwrap');
  if (program === null) return missing('not installed: no level_2', installing(BUBBLEWRAP));
  const version = await run([program, '--version']);
  const named = version.kind === 'ended' ? firstLine(version.out) : program;
  const mounts = ['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev'];
  const argv = [program, '--unshare-user', '--unshare-pid', '--die-with-parent', ...mounts, 'true'];
  const tried = await run(argv);
  if (tried.kind === 'ended' && tried.code === 0) return ok(`${named} works`);
  return missing(`${named} does not work: ${whyNot(tried)}`, userNamespaceFix());
}

/** Ubuntu 24.04 and later let only programs with a profile make user namespaces. */
function userNamespaceFix(): string {
  const restricted = readable('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1';
  if (restricted) return asRoot('sysctl kernel.apparmor_restrict_unprivileged_userns=0');
  if (readable('/proc/sys/user/max_user_namespaces') === '0')
    return asRoot('sysctl user.max_user_namespaces=15000');
  if (readable('/proc/sys/kernel/unprivileged_userns_clone') === '0')
    return asRoot('sysctl kernel.unprivileged_userns_clone=1');
  return 'run it outside of a container, or in one that may make user namespaces';
}

function readable(path: string): string | null {
  try {
    accessSync(path, constants.R_OK);
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null; // this kernel has no such switch
  }
}

async function lookAtPodman() {
  const program = findProgram('podman');
  if (program === null) return missing('not installed: no level_3', installing({ name: 'podman' }));
  const format = '{{.Version.Version}} {{.Host.OCIRuntime.Name}} {{.Host.Security.Rootless}}';
  const tried = await run([program, 'info', '--format', format], { timeoutMs: 15_000 });
  if (tried.kind !== 'ended' || tried.code !== 0)
    return missing(`it does not work: ${whyNot(tried)}`, 'podman info');
  const [version, runtime, rootless] = firstLine(tried.out).split(' ');
  return ok(`${version} with ${runtime}, ${rootless === 'true' ? 'rootless' : 'as root'}`);
}

function whyNot(tried: Ran): string {
  switch (tried.kind) {
    case 'absent':
      return 'not installed';
    case 'late':
      return `no answer within ${tried.timeoutMs / 1000} s`;
    case 'ended':
      return firstLine(tried.err) || `it ended with ${tried.code}`;
    default:
      return tried satisfies never;
  }
}
