// How the page of reports is bundled: into one file, script and style in it.
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  logLevel: 'warn',
  plugins: [oneFile()],
  build: {
    target: 'es2022',
    outDir: fileURLToPath(new URL('../../../dist/src/report', import.meta.url)),
    emptyOutDir: false,
    modulePreload: false,
    cssCodeSplit: false,
  },
});

/** Puts the script and the style where the page names their files. */
function oneFile(): Plugin {
  return {
    name: 'one-file',
    enforce: 'post',
    generateBundle(_, bundle) {
      const page = bundle['index.html'];
      if (page?.type !== 'asset') throw new Error('the page of reports was not bundled');
      let html = String(page.source);
      for (const [name, part] of Object.entries(bundle)) {
        if (part === page) continue;
        const code = part.type === 'chunk' ? part.code.replaceAll('</script', '<\\/script') : String(part.source);
        const element = part.type === 'chunk' ? `<script type="module">${code}</script>` : `<style>${code}</style>`;
        const reference = part.type === 'chunk' ? /<script[^>]*src="[^"]*"[^>]*><\/script>/ : /<link rel="stylesheet"[^>]*>/;
        html = html.replace(reference, () => element);
        delete bundle[name];
      }
      page.source = html;
    },
  };
}
