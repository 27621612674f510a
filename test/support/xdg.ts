/** A folder of its own for what programs write under `$XDG_CONFIG_HOME`, and the user's own as it was when the test ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export function ownConfigHome(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-xdg-'));
  const before = process.env['XDG_CONFIG_HOME'];
  process.env['XDG_CONFIG_HOME'] = folder;
  onTestFinished(() => {
    if (before === undefined) delete process.env['XDG_CONFIG_HOME'];
    else process.env['XDG_CONFIG_HOME'] = before;
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
