/** Where a Chromium is on this host, for the tests that need a real browser. */
import { findProgram } from '../../actors/doctor/probe.ts';
import type { Program } from '../../cli/set-up.ts';

const NAMES: readonly string[] = [
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** Absolute path; null: there is none. */
export function findBrowser(): string | null {
  for (const name of NAMES) {
    const path = findProgram(name);
    if (path !== null) return path;
  }
  return null;
}

export const BROWSER: Program = {
  packages: { name: 'chromium', brew: 'google-chrome' },
  isHere: () => findBrowser() !== null,
};
