/**
 * The inspector's page: the files of inspector-page/, as they are. A policy says that the browser runs and shows nothing else,
 * and that no text becomes markup, so that nothing in a mission's files can become a part of the page.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { STATELY } from './inspector-access.ts';

export interface PageFile {
  type: string;
  text: string;
}

const FOLDER = join(import.meta.dirname, 'inspector-page');
const START = 'index.html';
const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
};

let files: Map<string, PageFile> | undefined;
let start: string | undefined;

/** What the page loads. `name`: without a folder; a path finds nothing. Undefined: there is no such file. */
export function pageFile(name: string): PageFile | undefined {
  files ??= readFiles();
  return files.get(name);
}

/** `host`: as the gateway has checked it; some browsers do not count a WebSocket to the page's own host as `'self'`. */
export function inspectorPage(host: string): { html: string; policy: string } {
  start ??= readFileSync(join(FOLDER, START), 'utf8');
  const policy = [
    `default-src 'none'`,
    `script-src 'self'`,
    `style-src 'self'`,
    `img-src 'self'`,
    `connect-src 'self' ws://${host} wss://${host}`,
    `frame-src ${STATELY}`,
    `base-uri 'none'`,
    `form-action 'none'`,
    `frame-ancestors 'none'`,
    `require-trusted-types-for 'script'`,
    `trusted-types 'none'`,
  ];
  return { html: start, policy: policy.join('; ') };
}

function readFiles(): Map<string, PageFile> {
  const found = new Map<string, PageFile>();
  for (const name of readdirSync(FOLDER)) {
    const type = TYPES[extname(name)];
    if (type !== undefined)
      found.set(name, { type, text: readFileSync(join(FOLDER, name), 'utf8') });
  }
  return found;
}

/** For who comes without a ticket, or with one that is used up. */
export const REFUSED_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>Lazarus inspector</title>
<p>This link is used up, or this browser has not opened one yet. Open the inspector again with</p>
<pre>lazarus inspect</pre>
</html>
`;
export const REFUSED_POLICY = `default-src 'none'; frame-ancestors 'none'`;
