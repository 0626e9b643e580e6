// The browser page and the part of the library behind it bundle, with every kernel as a file and nothing of Node.
import { fileURLToPath } from 'node:url';
import { build, type Rollup } from 'vite';
import { expect, test } from 'vitest';

test('the browser page bundles', async () => {
  const configFile = fileURLToPath(new URL('../samples/browser/vite.config.ts', import.meta.url));
  const { output } = (await build({ configFile, logLevel: 'error', build: { write: false } })) as Rollup.RollupOutput;
  expect(output.filter(({ fileName }) => fileName.endsWith('.wgsl')).length).toBeGreaterThan(10);
  const imports = output.flatMap((part) => (part.type === 'chunk' ? part.imports : []));
  expect(imports.filter((name) => name.startsWith('node:'))).toEqual([]);
  expect(output.map(({ fileName }) => fileName)).toContain('index.html');
});
