/** What a start loads, and what it should not: bus/http.ts. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SAY_LOADED = `console.log(JSON.stringify(process.moduleLoadList))`;

function loadedBy(module: string): string[] {
  const url = new URL(`../../${module}`, import.meta.url);
  const code = `await import(${JSON.stringify(fileURLToPath(url))}); ${SAY_LOADED}; process.exit(0)`;
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code];
  const text = execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
  return JSON.parse(text) as string[];
}

test.each(['cli/status.ts', 'cli/up.ts', 'actors/control.ts'])(
  'given that %s is loaded, then Node’s web client is not: it costs 20 ms and 13 MB',
  (module) => {
    const loaded = loadedBy(module);
    expect(loaded.filter((name) => /undici/.test(name))).toEqual([]);
    expect(loaded.length).toBeGreaterThan(50);
  },
);
