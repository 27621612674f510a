/**
 * What Lazarus causes: lines in `<missions>/.lazarus/revivals/ledger.jsonl`, one for each outcome of a revival request.
 * The line carries the effect's key, so that writing it again after a crash changes nothing.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { faultPoint } from '../cells/durable.ts';
import type { LedgerEntry } from '../machines/lazarus-context.ts';
import type { EffectRunner } from './effects.ts';

/** How far back a line of ours is looked for: it is among the newest, or was never written. */
const LOOK_BACK_BYTES = 1 << 20;
/** Beyond this size the ledger becomes `ledger.jsonl.1`, in place of the one before. */
const MAX_LEDGER_BYTES = 16 << 20;

export function bindLazarusEffects(effects: EffectRunner, ledgerFile: string): void {
  effects.register<{ entry: LedgerEntry }>('lazarus', 'writeLedger', {
    semantics: 'idempotent',
    async run({ input, key }) {
      await mkdir(dirname(ledgerFile), { recursive: true });
      appendOnce(ledgerFile, key, { ...input.entry, key });
      return null;
    },
  });
}

function appendOnce(file: string, key: string, line: object): void {
  const fd = openSync(file, 'a+', 0o644);
  try {
    const { size } = fstatSync(fd);
    const before = Buffer.alloc(Math.min(size, LOOK_BACK_BYTES));
    const length = readSync(fd, before, 0, before.length, size - before.length);
    const text = before.toString('utf8', 0, length);
    if (text.includes(`"key":${JSON.stringify(key)}}\n`)) return;
    const torn = text !== '' && !text.endsWith('\n') ? '\n' : ''; // a line cut off by a crash stays a line of its own
    faultPoint('ledger.before-write');
    writeSync(fd, `${torn}${JSON.stringify(line)}\n`);
    faultPoint('ledger.after-write');
    fdatasyncSync(fd);
    faultPoint('ledger.after-sync');
    if (size > MAX_LEDGER_BYTES) renameSync(file, `${file}.1`);
  } finally {
    closeSync(fd);
  }
}
