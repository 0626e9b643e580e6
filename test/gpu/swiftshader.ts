// A software GPU for tests: SwiftShader, a Vulkan driver, from the development package @sparticuz/chromium (Linux on x64). It is unpacked once.
import { accessSync, constants, createReadStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createBrotliDecompress } from 'node:zlib';

const require = createRequire(import.meta.url);

/**
 * What the environment of a process needs to have SwiftShader as its Vulkan driver, set before the process starts. Nothing where the environment
 * names a driver already, or where there is no SwiftShader for this platform.
 */
export async function swiftshaderEnvironment(): Promise<Record<string, string>> {
  const { VK_DRIVER_FILES, VK_ICD_FILENAMES, LD_LIBRARY_PATH } = process.env;
  if (VK_DRIVER_FILES || VK_ICD_FILENAMES || process.platform !== 'linux' || process.arch !== 'x64') return {};
  const folder = await unpacked();
  return {
    VK_DRIVER_FILES: join(folder, 'vk_swiftshader_icd.json'),
    LD_LIBRARY_PATH: LD_LIBRARY_PATH ? `${folder}:${LD_LIBRARY_PATH}` : folder,
  };
}

/** The folder of the unpacked files; the last step is a rename, so that another process sees all of them or none. */
async function unpacked(): Promise<string> {
  const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
  const archive = join(dirname(require.resolve('@sparticuz/chromium')), '../../bin/swiftshader.tar.br');
  const { version } = require(join(modules, '@sparticuz/chromium/package.json')) as { version: string };
  const parent = [join(modules, '.cache', 'zoetrope'), join(tmpdir(), `zoetrope-${userInfo().username}`)].find(canWrite);
  if (!parent) throw new Error(`SwiftShader cannot be unpacked: neither ${modules} nor ${tmpdir()} can be written to`);
  const folder = join(parent, `swiftshader-${version}`);
  if (existsSync(folder)) return folder;
  const unfinished = mkdtempSync(`${folder}-`);
  const { extract } = require('tar-fs') as { extract(folder: string): NodeJS.WritableStream };
  await pipeline(createReadStream(archive), createBrotliDecompress(), extract(unfinished));
  try {
    renameSync(unfinished, folder);
  } catch (error) {
    rmSync(unfinished, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

function canWrite(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
