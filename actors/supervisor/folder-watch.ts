/**
 * Tells that something in a folder may be new. It asks for the files' state every so often, which sees every kind of change on
 * every file system; the kernel's own events, where there are any, only make it ask sooner.
 */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { basename } from 'node:path';
import { toPlainError } from '../../machines/errors.ts';
import type { SourceLog } from './source-log.ts';

export interface FolderWatchOptions {
  /** Those whose events are listened to; need not be there. */
  folders: readonly string[];
  pollMs: number;
  /** Must not throw. */
  isNews: () => boolean;
  /** Not called again before it is done. */
  onChange: () => Promise<void> | void;
  log: SourceLog;
}

/** A rename of four files is a dozen events. */
const COALESCE_MS = 50;

/** Until the signal says that it is enough. */
export function watchFolders(options: FolderWatchOptions, signal: AbortSignal): void {
  if (signal.aborted) return;
  const { isNews, onChange, pollMs, log } = options;
  let isBusy = false;
  const look = async (): Promise<void> => {
    if (isBusy || signal.aborted || !isNews()) return;
    isBusy = true;
    try {
      await onChange();
    } catch (error) {
      log.warn({ problem: toPlainError(error).message }, 'a look at changed files failed');
    } finally {
      isBusy = false;
    }
  };
  const hints = new Hints(options.folders, () => void look());
  const poll = setInterval(() => {
    hints.open();
    void look();
  }, pollMs).unref();
  signal.addEventListener('abort', () => {
    clearInterval(poll);
    hints.close();
  });
}

/** Events of the folders. One that cannot be watched, or no more, goes by polling until it can. */
class Hints {
  readonly #folders: readonly string[];
  readonly #tell: () => void;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;

  constructor(folders: readonly string[], tell: () => void) {
    this.#folders = folders;
    this.#tell = tell;
    this.open();
  }

  open(): void {
    for (const folder of this.#folders) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, (_kind, name) =>
          this.#heard(folder, name),
        );
        watcher.on('error', () => this.#drop(folder));
        this.#watchers.set(folder, watcher);
      } catch {
        // It is not there, or the kernel gives no more watches: polling finds what happens.
      }
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const folder of this.#folders) this.#drop(folder);
  }

  #heard(folder: string, name: string | null): void {
    if (name === basename(folder)) this.#drop(folder); // it was renamed or removed itself
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.open();
      this.#tell();
    }, COALESCE_MS).unref();
  }

  #drop(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
  }
}
