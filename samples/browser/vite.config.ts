// How the page is bundled. The Node parts of the library are never reached in a browser, and stay out.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  // The library lies outside the root.
  server: { fs: { allow: [fileURLToPath(new URL('../..', import.meta.url))] } },
  build: {
    target: 'es2022',
    outDir: fileURLToPath(new URL('../../dist/browser', import.meta.url)),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    rollupOptions: { external: ['webgpu', /^node:/] },
  },
  optimizeDeps: { exclude: ['webgpu'] },
});
