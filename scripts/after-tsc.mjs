// What tsc leaves undone in dist: kernel files are copied beside the code that reads them, and the command-line entry is made executable.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const kernelsIn = (folder) => (existsSync(folder) ? readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.wgsl')) : []);

const [source, target] = [join(root, 'src'), join(root, 'dist', 'src')];
for (const name of kernelsIn(target)) rmSync(join(target, name));
for (const name of kernelsIn(source)) {
  mkdirSync(dirname(join(target, name)), { recursive: true });
  copyFileSync(join(source, name), join(target, name));
}
const entry = join(target, 'cli.js');
if (existsSync(entry)) chmodSync(entry, 0o755);
