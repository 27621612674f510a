/** One line of `lazarus doctor`: what was looked at, how it is, and the command that mends it. */
import { findProgram } from './probe.ts';

export type CheckState = 'ok' | 'warn' | 'missing';

export interface Check {
  group: 'host' | 'missions' | 'isolation' | 'services' | 'homelab' | 'configuration';
  name: string;
  state: CheckState;
  /** Without it the runtime does not run; everything else it runs without, and says so. */
  needed: boolean;
  detail: string;
  /** What to do, preferably a command. Null when there is nothing to do. */
  fix: string | null;
}

export type Finding = Omit<Check, 'group' | 'name'>;

export const ok = (detail: string): Finding => ({ state: 'ok', needed: false, detail, fix: null });
export const warn = (detail: string, fix: string | null): Finding => ({
  state: 'warn',
  needed: false,
  detail,
  fix,
});
export const missing = (detail: string, fix: string | null): Finding => ({
  state: 'missing',
  needed: false,
  detail,
  fix,
});
/** Nothing runs without it. */
export const needed = (detail: string, fix: string): Finding => ({
  state: 'missing',
  needed: true,
  detail,
  fix,
});

export interface Probe {
  group: Check['group'];
  name: string;
  look: () => Finding | Promise<Finding>;
}

/** A probe that fails is a line that says so: nothing is guessed, and the others go on. */
export async function examine(probes: readonly Probe[]): Promise<Check[]> {
  return Promise.all(
    probes.map(async ({ group, name, look }) => {
      try {
        return { group, name, ...(await look()) };
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return { group, name, ...warn(`could not be examined: ${why}`, null) };
      }
    }),
  );
}

/** How this host installs programs, and how it calls the package where the name differs. */
const MANAGERS = [
  { program: 'brew', command: 'brew install', key: 'brew' },
  { program: 'apt-get', command: 'apt-get install -y', key: 'apt' },
  { program: 'dnf', command: 'dnf install -y', key: 'dnf' },
  { program: 'apk', command: 'apk add', key: 'apk' },
  { program: 'pacman', command: 'pacman -S', key: 'pacman' },
] as const;
type Manager = (typeof MANAGERS)[number]['key'];

export type PackageNames = Partial<Record<Manager, string>> & { name: string };

/** The command that installs a package here; without a package manager that we know, the name of what to install. */
export function installing(packages: PackageNames): string {
  const { platform } = process;
  const usable = MANAGERS.filter(({ key }) => (key === 'brew') === (platform === 'darwin'));
  const manager = usable.find(({ program }) => findProgram(program) !== null);
  if (manager === undefined) return `install ${packages.name}`;
  const command = `${manager.command} ${packages[manager.key] ?? packages.name}`;
  return manager.key === 'brew' ? command : asRoot(command);
}

/** As this user would have to write it. */
export const asRoot = (command: string): string =>
  process.getuid?.() === 0 ? command : `sudo ${command}`;
