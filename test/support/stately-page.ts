/**
 * A page that stands where the Stately inspector stands, https://stately.ai/inspect, and receives with the official code of
 * @statelyai/inspect: modules as they lie in node_modules, no bundle. What it received is in `window.received`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { BrowserContext, Route } from 'playwright-core';

const MODULES = join(import.meta.dirname, '../../node_modules');
export const STATELY_PAGE = 'https://stately.ai/inspect';

/** Where each name of a package is. */
const IMPORTS: Readonly<Record<string, string>> = {
  '@statelyai/inspect': '@statelyai/inspect/dist/index.mjs',
  '#uuid': '@statelyai/inspect/dist/uuid-browser.mjs',
  xstate: 'xstate/dist/xstate.esm.js',
  'fast-safe-stringify': 'fast-safe-stringify/index.js',
  'safe-stable-stringify': 'safe-stable-stringify/index.js',
  'isomorphic-ws': 'isomorphic-ws/browser.js',
  partysocket: 'partysocket/dist/index.mjs',
  'event-target-shim': 'event-target-shim/index.mjs',
  superjson: 'superjson/dist/esm/index.js',
  'copy-anything': 'copy-anything/dist/index.js',
  'is-what': 'is-what/dist/index.js',
};

/** `subscribe`: an expression for one of the official receivers, given all that the package exports as `official`. */
export async function servePage(context: BrowserContext, receiver: string): Promise<void> {
  const imports = Object.fromEntries(
    Object.entries(IMPORTS).map(([name, path]) => [name, `/modules/${path}`]),
  );
  const html = `<!doctype html><title>receiver</title>
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">
  import * as official from '@statelyai/inspect';
  window.received = [];
  (${receiver}).subscribe((event) => window.received.push(event));
</script>`;
  await context.route(`${STATELY_PAGE}*`, (route) =>
    route.fulfill({ contentType: 'text/html', body: html }),
  );
  await context.route('https://stately.ai/modules/**', serveModule);
}

async function serveModule(route: Route): Promise<void> {
  const path = normalize(new URL(route.request().url()).pathname.replace('/modules/', ''));
  const file = [path, `${path}.js`].map((name) => join(MODULES, name)).find(existsSync);
  if (file === undefined) return route.fulfill({ status: 404 });
  const body = asModule(readFileSync(file, 'utf8'));
  return route.fulfill({ contentType: 'text/javascript', body });
}

/** Two of them are CommonJS. */
function asModule(text: string): string {
  if (/^(?:import|export)\b/m.test(text)) return text;
  return `const module = { exports: {} }; let exports = module.exports;\n${text}\nexport default module.exports;`;
}
