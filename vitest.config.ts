import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Every process a test starts inherits it: a node with its workers needs a third less CPU time where it is warm.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/compile');

/** They only compute: one process goes through them all, and loads XState once (28 s of CPU time less). */
const PURE = ['test/machines/**/*.test.ts'];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'pure', include: PURE, isolate: false } },
      { extends: true, test: { name: 'real', include: ['test/**/*.test.ts'], exclude: PURE } },
    ],
    env: { NATS_URL: 'off' }, // a test that is about the bus names its own
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    maxWorkers: Math.max(2, availableParallelism()), // one more, and what waits for time waits too long
  },
});
