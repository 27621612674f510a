/**
 * Notices that a configuration file changed while the node runs. It asks for the file's state once a second: that sees
 * edits in place and by rename, a folder that comes later, a link that is turned and a mounted secret alike, and costs one
 * stat(2).
 *
 * W1 A file that cannot be understood, or is gone, is told only when it is still so at the next look: an editor may have
 *    been in the middle of writing it.
 * W2 Told once for each content; what is told is whole: the new configuration, or why there is none (P6).
 */
import { stat } from 'node:fs/promises';

const GONE = 'ENOENT';

export interface ConfigWatchOptions<Config> {
  file: string;
  /** Throws when the file is no good. */
  load: () => Promise<Config>;
  onChange: (config: Config) => void;
  onProblem: (error: unknown) => void;
  /** Default 1000. */
  intervalMs?: number;
}

export class ConfigWatch<Config> {
  readonly #options: ConfigWatchOptions<Config>;
  #timer: NodeJS.Timeout | undefined;
  /** State of the file that was last told of, and of one that waits for a second look (W1). */
  #told: string;
  #doubtful: string | undefined;
  #looking = false;

  private constructor(options: ConfigWatchOptions<Config>, told: string) {
    this.#options = options;
    this.#told = told;
  }

  /**
   * `seen`: the file's state (`stateOf`) before the configuration in force was loaded, so that no change in between is missed.
   */
  static start<Config>(options: ConfigWatchOptions<Config>, seen: string): ConfigWatch<Config> {
    const watch = new ConfigWatch(options, seen);
    watch.#timer = setInterval(() => void watch.#look(), options.intervalMs ?? 1000).unref();
    return watch;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const state = await stateOf(this.#options.file);
      if (state !== this.#told) await this.#changed(state);
    } finally {
      this.#looking = false;
    }
  }

  async #changed(state: string): Promise<void> {
    const isSure = this.#doubtful === state; // W1
    this.#doubtful = state;
    try {
      const config = await this.#options.load();
      const isStill = (await stateOf(this.#options.file)) === state;
      if (isStill && (isSure || state !== GONE))
        this.#tell(state, () => this.#options.onChange(config));
    } catch (error) {
      if (isSure) this.#tell(state, () => this.#options.onProblem(error));
    }
  }

  /** W2. */
  #tell(state: string, say: () => void): void {
    this.#told = state;
    this.#doubtful = undefined;
    if (this.#timer !== undefined) say();
  }
}

/** Equal texts: nothing happened to the file in between. */
export async function stateOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
