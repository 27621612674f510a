/** A disk for the kernel's tests that fails on command, with the code named then, as a full or broken one would. */
import type { JournalIo } from '../../cells/journal-segment.ts';
import { BreakableDisk } from './journal.ts';

export interface FailingDisk {
  io: JournalIo;
  fail(code: string): void;
  mend(): void;
}

export function failingIo(): FailingDisk {
  let code = 'EIO';
  const error = (): Error => Object.assign(new Error(`${code}: from the test's disk`), { code });
  const fail = (): never => {
    throw error();
  };
  const disk = new BreakableDisk({
    openSync: fail,
    writeSync: fail,
    write: () => Promise.reject(error()),
    fdatasyncSync: fail,
    fdatasync: (_fd, done) => void setImmediate(done, error()),
  });
  return {
    io: disk.io,
    fail(name) {
      code = name;
      disk.isBroken = true;
    },
    mend() {
      disk.isBroken = false;
    },
  };
}
