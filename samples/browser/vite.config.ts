// How the pages are bundled. The Node parts of the library are never reached in a browser, and stay out; the embedded model goes along.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

const [root, library, outDir, model] = ['.', '../..', '../../dist/browser', '../wan-mini'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

/** The embedded model at wan-mini/ beside the pages. */
const withModel: Plugin = {
  name: 'wan-mini',
  configureServer({ middlewares }) {
    middlewares.use((request, _response, next) => {
      request.url = request.url?.replace(/^\/wan-mini\//, `/@fs${join('/', model, '/')}`);
      next();
    });
  },
  writeBundle({ dir = outDir }) {
    const parts = ['model_index.json', 'scheduler', 'text_encoder', 'tokenizer', 'transformer', 'vae', 'NOTICE'];
    for (const part of parts) cpSync(join(model, part), join(dir, 'wan-mini', part), { recursive: true });
  },
};

export default defineConfig({
  root,
  base: './',
  plugins: [withModel],
  // The library lies outside the root.
  server: { fs: { allow: [library] } },
  build: {
    target: 'es2022',
    outDir,
    emptyOutDir: true,
    assetsInlineLimit: 0,
    rollupOptions: { input: [join(root, 'index.html'), join(root, 'video.html')], external: ['webgpu', 'onnxruntime-node', /^node:/] },
  },
  optimizeDeps: { exclude: ['webgpu', 'onnxruntime-node', 'onnxruntime-web'] },
});
