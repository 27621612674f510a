/** A real browser: one for a file of tests, a profile of its own for each test. */
import { chromium } from 'playwright-core';
import type {
  Browser,
  BrowserContext,
  BrowserContextOptions,
  Page,
  Request,
} from 'playwright-core';
import { afterAll, beforeAll, describe, onTestFinished } from 'vitest';
import { installing } from '../../actors/doctor/check.ts';
import { BROWSER, findBrowser } from './browser-program.ts';

const executablePath = findBrowser();
/** Why there is no browser; null: there is one. */
const absent = executablePath === null ? `no browser: ${installing(BROWSER.packages)}` : null;

const ARGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let browser: Browser | undefined;

/** Tests in a browser; without one they are skipped, which their name then says. */
export function describeInBrowser(name: string, tests: () => void): void {
  const title: string = absent === null ? name : `${name} (SKIPPED: ${absent})`;
  if (absent !== null) console.warn(title);
  const suite = absent === null ? describe : describe.skip;
  suite(title, () => {
    beforeAll(async () => {
      browser = await chromium.launch({
        executablePath: executablePath ?? '',
        args: ARGS,
        chromiumSandbox: process.getuid?.() !== 0, // root cannot have it
      });
    }, 60_000);
    afterAll(() => browser?.close());
    tests();
  });
}

export interface Seen {
  page: Page;
  context: BrowserContext;
  requests: Request[];
  /** What the browser complained about: errors of scripts, and everything that the page's policy forbade. */
  complaints: string[];
}

/** A new window of a new profile, closed when the test ends. */
export async function openWindow(options: BrowserContextOptions = {}): Promise<Seen> {
  if (browser === undefined) throw new Error('the browser runs in describeInBrowser only');
  const context = await browser.newContext(options);
  onTestFinished(() => context.close());
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const seen: Seen = { page, context, requests: [], complaints: [] };
  page.on('request', (request) => void seen.requests.push(request));
  page.on('pageerror', (error) => void seen.complaints.push(error.message));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.complaints.push(message.text());
  });
  return seen;
}
