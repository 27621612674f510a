/** The journal's file operations, failing on command as a full or broken disk would. */
import { fileSystem } from '../../cells/journal-segment.ts';
import type { JournalIo } from '../../cells/journal-segment.ts';

export interface FailingDisk {
  io: JournalIo;
  fail(code: string): void;
  mend(): void;
}

export function failingIo(): FailingDisk {
  let code: string | undefined;
  const check = (): void => {
    if (code !== undefined)
      throw Object.assign(new Error(`${code}: from the test's disk`), { code });
  };
  const io: JournalIo = {
    ...fileSystem,
    openSync: (...args) => (check(), fileSystem.openSync(...args)),
    writeSync: (...args) => (check(), fileSystem.writeSync(...args)),
    write: async (...args) => {
      check();
      return fileSystem.write(...args);
    },
    fdatasyncSync: (fd) => (check(), fileSystem.fdatasyncSync(fd)),
    fdatasync: (fd, done) => {
      if (code === undefined) return fileSystem.fdatasync(fd, done);
      const error = Object.assign(new Error(`${code}: from the test's disk`), { code });
      setImmediate(() => done(error));
    },
  };
  return { io, fail: (name) => (code = name), mend: () => (code = undefined) };
}
