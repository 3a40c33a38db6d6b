import { defineConfig } from 'vitest/config';
import { KEEP_WRAPPERS } from './runtime/thread.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Scenarios start real servers; two at a time is what two cores carry.
    maxWorkers: 2,
    execArgv: [KEEP_WRAPPERS],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    reporters: ['default', './test/support/tally-reporter.ts'],
  },
});
