/**
 * A docker as the executor meets it: a command on PATH that tells a daemon what to do and waits until it has, and a daemon
 * (the process of the test) that goes on when the command is killed. Containers are files that `docker inspect` shows.
 *
 *   asked/<pid>        what a command told the daemon, a file each
 *   answers/<pid>      that it was done; the command ends then
 *   containers/<name>  what `docker inspect` says of the container's state
 *   away               while this file is there, the daemon cannot be reached
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** `inspect` is answered by the command itself: nobody waits for the test's process to have time. */
const program = (folder: string): string => `#!/bin/sh
cd '${folder}' || exit 1
printf '%s\\n' "$*" >> calls
if [ -e away ]; then echo 'Cannot connect to the Docker daemon' >&2; exit 1; fi
if [ "$1" = inspect ]; then
  shift 5
  for name; do
    if [ ! -f "containers/$name" ]; then echo "Error: No such container: $name" >&2; exit 1; fi
    cat "containers/$name"
  done
  exit 0
fi
printf '%s\\n' "$*" > "asked/.$$"
mv "asked/.$$" "asked/$$"
until [ -e "answers/$$" ] || [ ! -d answers ]; do sleep 0.02; done
printf '%s\\n' "$2"
`;

const LOOK_MS = 10;

export interface Restart {
  container: string;
  /** Epoch ms. */
  at: number;
}

export class Dockerd {
  readonly folder: string;
  /** What it did, in order. */
  readonly restarts: Restart[] = [];
  /** What it was told that is no restart of a container it has. */
  readonly strange: string[] = [];
  /** Between being told and doing it, ms. */
  delayMs = 0;
  /** Called when it was told to restart a container, before it does. */
  onTold: (container: string) => void = () => undefined;
  /** Called when it did, before the command hears of it. */
  onRestart: (container: string) => void = () => undefined;
  readonly #watchers: ((container: string) => void)[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #looking: NodeJS.Timeout;

  constructor(folder: string) {
    this.folder = folder;
    for (const name of ['bin', 'asked', 'answers', 'containers'])
      mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(this.bin, 'docker'), program(folder));
    chmodSync(join(this.bin, 'docker'), 0o755);
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
  }

  /** For PATH. */
  get bin(): string {
    return join(this.folder, 'bin');
  }

  /** `health`: what its own check says; null: it has none, so that it is well when it runs. */
  run(container: string, health: 'starting' | 'healthy' | 'unhealthy' | null): void {
    const state = { Running: true, StartedAt: '2026-01-01T00:00:00Z' };
    this.#write(container, { ...state, ...(health !== null && { Health: { Status: health } }) });
  }

  /** Every call of the command, `inspect` too. */
  calls(): string[] {
    const file = join(this.folder, 'calls');
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  }

  restartsOf(container: string): number {
    return this.restarts.filter((restart) => restart.container === container).length;
  }

  set isAway(away: boolean) {
    const file = join(this.folder, 'away');
    if (away) writeFileSync(file, '');
    else rmSync(file, { force: true });
  }

  /** Calls it whenever it is told to restart a container. */
  watch(watcher: (container: string) => void): void {
    this.#watchers.push(watcher);
  }

  close(): void {
    clearInterval(this.#looking);
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #look(): void {
    for (const pid of readdirSync(join(this.folder, 'asked'))) {
      if (pid.startsWith('.')) continue;
      const file = join(this.folder, 'asked', pid);
      const words = readFileSync(file, 'utf8').trimEnd();
      rmSync(file);
      const [, container] = /^restart (\S+)$/.exec(words) ?? [];
      if (container === undefined || !existsSync(this.#state(container))) {
        this.strange.push(words); // and it is left waiting: nobody may ask for such a thing
        continue;
      }
      for (const watcher of this.#watchers) watcher(container);
      this.onTold(container);
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#restart(container, pid);
      }, this.delayMs);
      this.#timers.add(timer);
    }
  }

  #restart(container: string, pid: string): void {
    const at = Date.now();
    this.restarts.push({ container, at });
    const state = JSON.parse(readFileSync(this.#state(container), 'utf8')) as object;
    this.#write(container, { ...state, Running: true, StartedAt: new Date(at).toISOString() });
    this.onRestart(container);
    writeFileSync(join(this.folder, 'answers', pid), '');
  }

  readonly #state = (container: string): string => join(this.folder, 'containers', container);

  #write(container: string, state: object): void {
    const temporary = join(this.folder, `.${container}`);
    writeFileSync(temporary, `${JSON.stringify(state)}\n`);
    renameSync(temporary, this.#state(container));
  }
}
