// WebGPU in a program of its own: that it ends by itself, and what it says where there is no GPU.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { missingLibrary } from '../../src/backend/webgpu/vulkan.ts';
import { openedGpu } from '../gpu/device.ts';

const gpu = await openedGpu();
const source = fileURLToPath(new URL('../../src', import.meta.url));
let folder: string;

beforeAll(() => {
  const cache = join(source, '../node_modules/.cache/zoetrope');
  mkdirSync(cache, { recursive: true });
  folder = mkdtempSync(join(cache, 'program-'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const files = readdirSync(join(source, 'backend/webgpu')).filter((name) => name.endsWith('.ts'));
  for (const name of ['errors.ts', 'tensor.ts', ...files.map((file) => `backend/webgpu/${file}`)]) {
    const { outputText } = ts.transpileModule(readFileSync(join(source, name), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, rewriteRelativeImportExtensions: true },
    });
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name.replace(/ts$/, 'js')), outputText);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(program: string, environment: Record<string, string> = {}): string {
  const file = join(folder, 'program.js');
  writeFileSync(file, `import { openWebgpu } from './backend/webgpu/device.js';\n${program}`);
  const env = { ...process.env, ...environment };
  return execFileSync(process.execPath, [file], { env, timeout: 30_000, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

const READ = 'const gpu = await openWebgpu(); console.log(...(await gpu.read(gpu.upload(Float32Array.of(1, 2), [2]))));';

test.skipIf(!gpu)('a program ends by itself, with its device disposed or not, or lost', () => {
  for (const end of ['gpu.dispose();', '', 'gpu.device.destroy();', 'gpu.upload(new Float32Array(1e6), [1e6]);'])
    expect(run(`${READ} ${end}`)).toBe('1 2\n');
});

test('without an adapter there is one sentence', () => {
  const none = { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '/nonexistent' };
  const said = run('await openWebgpu().catch((error) => console.log(error.name, error.message));', none);
  if (process.platform === 'linux') expect(said).toMatch(/^UnsupportedError no GPU adapter was found; in Node install .*\n$/);
});

test.skipIf(process.platform !== 'linux')('without Vulkan nothing else is written', () => {
  expect(missingLibrary('libc.so.6')).toBeUndefined();
  expect(missingLibrary('libnobody-has-this.so.1')).toMatch(/^libnobody-has-this\.so\.1: /);
  const env = { ...process.env, LD_LIBRARY_PATH: '', VK_DRIVER_FILES: '' };
  const program = [join(folder, 'program.js')];
  writeFileSync(
    program[0],
    `import { openWebgpu } from './backend/webgpu/device.js'; await openWebgpu().catch((error) => console.log(error.message));`,
  );
  const { stdout, stderr } = spawnSync(process.execPath, program, { env, encoding: 'utf8' });
  // A machine may have Vulkan where it is always found.
  if (stdout.includes('libvulkan')) expect(stdout).toMatch(/^WebGPU is not available here \(libvulkan\.so\.1: .*\); in Node install .*\n$/);
  if (stdout.includes('libvulkan')) expect(stderr).toBe('');
});
