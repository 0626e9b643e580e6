import { defineConfig } from 'vitest/config';
import { swiftshaderEnvironment } from './test/gpu/swiftshader.ts';

// Drivers are found when a process starts: the forks inherit this.
Object.assign(process.env, await swiftshaderEnvironment());

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/gpu/loops.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
