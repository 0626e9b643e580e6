// The package as users get it: packed, installed in an empty folder, checked by the linters of packages, and run there.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
const root = new URL('..', import.meta.url).pathname;
const minutes = 60_000;
let folder: string;
let packed: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-package-'));
  // What the last build wrote is packed: other tests are using it.
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  const [name] = await readdir(folder);
  packed = join(folder, name);
}, 2 * minutes);

afterAll(() => rm(folder, { recursive: true, force: true }));

const tarball = async () => new Uint8Array(await readFile(packed));

test('the linters of packages find nothing', async () => {
  const { buffer } = await tarball();
  expect((await publint({ strict: true, pack: { tarball: buffer } })).messages).toEqual([]);
});

test('types resolve for modules, in Node and in bundlers', async () => {
  const result = await checkPackage(createPackageFromTarballData(await tarball()));
  // The package is made of modules alone: what CommonJS and Node 10 make of it is not asked for.
  const foreign = (problem: object) => 'resolutionKind' in problem && /^node10$|^node16-cjs$/.test(String(problem.resolutionKind));
  expect(result.types && result.problems.filter((problem) => !foreign(problem))).toEqual([]);
});

test(
  'installed in an empty folder it has whole types, and makes a video with onnxruntime-node and without',
  async () => {
    const cwd = join(folder, 'empty');
    await mkdir(cwd);
    await writeFile(join(cwd, 'package.json'), '{ "private": true, "type": "module" }');
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--onnxruntime-node-install=skip', packed], { cwd });

    await writeFile(join(cwd, 'use.ts'), "import { TextToVideoPipeline } from 'zoetrope';\nawait TextToVideoPipeline.fromPretrained();\n");
    const compilerOptions = { strict: true, noEmit: true, target: 'es2022', module: 'nodenext', types: [], skipLibCheck: false };
    await writeFile(join(cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
    const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    const { stdout } = await run(process.execPath, [compiler, '-p', cwd]).catch((error: { readonly stdout: string }) => error);
    expect(stdout).toBe('');

    expect(await makeVideo(cwd, 'native.webp')).toBe('onnxruntime-node');
    await rename(join(cwd, 'node_modules', 'onnxruntime-node'), join(folder, 'left-out'));
    expect(await makeVideo(cwd, 'wasm.webp')).toBe('onnxruntime-web');
    const [native, wasm] = await Promise.all(['native.webp', 'wasm.webp'].map((name) => readFile(join(cwd, name))));
    expect(native.subarray(0, 4).toString()).toBe('RIFF');
    expect(wasm.length / native.length).toBeCloseTo(1, 1);
  },
  8 * minutes,
);

/** The smallest video of the embedded model; what it ran on. */
async function makeVideo(cwd: string, name: string): Promise<string> {
  const words = ['a rocket flying up over a night sky', '--size', '64x64', '--num-frames', '5', '--steps', '2', '--seed', '1'];
  const { stdout } = await run('npx', ['zoetrope', ...words, '-o', name, '--json'], { cwd });
  return (JSON.parse(stdout) as { readonly runtime: { readonly name: string } }).runtime.name;
}
