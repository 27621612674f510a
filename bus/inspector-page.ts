/**
 * The page of the inspector: one file without anything from elsewhere. What it may do is fixed by a policy that names its
 * script and style by their hashes, so that nothing in a mission's files can become a script of the page.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STATELY } from './inspector-access.ts';

let page: { html: string; script: string; style: string } | undefined;

/** `host`: as the gateway has checked it; some browsers do not count a WebSocket to the page's own host as `'self'`. */
export function inspectorPage(host: string): { html: string; policy: string } {
  const { html, script, style } = (page ??= readPage());
  const policy = [
    `default-src 'none'`,
    `script-src '${script}'`,
    `style-src '${style}'`,
    `connect-src 'self' ws://${host}`,
    `frame-src ${STATELY}`,
    `base-uri 'none'`,
    `form-action 'none'`,
    `frame-ancestors 'none'`,
  ];
  return { html, policy: policy.join('; ') };
}

function readPage(): { html: string; script: string; style: string } {
  const html = readFileSync(join(import.meta.dirname, 'inspector-page.html'), 'utf8');
  return { html, script: hashOf(html, 'script'), style: hashOf(html, 'style') };
}

function hashOf(html: string, tag: string): string {
  const content = new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(html)?.[1];
  if (content === undefined) throw new Error(`the inspector's page has no <${tag}>`);
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

export const REFUSED_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Lazarus inspector</title>
<p>This link is used up, or the node was started anew. Open the inspector again with</p>
<pre>lazarus inspect</pre>
</html>
`;
