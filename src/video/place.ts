// Can a file be written there? Asked before hours of work, not after. And text that is written whole or not at all.
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';

/** The hidden neighbour that a file is written to before it takes its own name: `out/clip.mp4` -> `out/.clip.partial.mp4`. */
export function partialPath(path: string): string {
  const extension = extname(path);
  return join(dirname(path), `.${basename(path, extension)}.partial${extension}`);
}

/**
 * Checks that a file can be made at `path`: its folder exists and takes files, and it is no folder itself. Access rights lie (root, read-only
 * mounts), so `trial` is really made and removed. Throws an Error that names the folder.
 */
export async function checkPlace(path: string, trial: string = partialPath(path)): Promise<void> {
  const folder = dirname(resolve(trial));
  const found = await stat(folder).catch(() => undefined);
  if (!found) throw new Error(`The folder "${folder}" does not exist; make it first or write somewhere else.`);
  if (!found.isDirectory()) throw new Error(`"${folder}" is not a folder; nothing can be written into it.`);
  if ((await stat(path).catch(() => undefined))?.isDirectory()) throw new Error(`"${path}" is a folder; give the name of a file.`);
  try {
    await (await open(trial, 'w')).close();
    await rm(trial);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENAMETOOLONG') throw new Error(`The name "${basename(path)}" is too long for its folder; give a shorter one.`);
    throw new Error(`Nothing can be written into the folder "${folder}" (${code}); write somewhere else.`);
  }
}

/** Writes text beside its place and moves it there, so that the file is old or new and never half. @throws as the file system does. */
export async function writeWhole(path: string, text: string): Promise<void> {
  // Two processes that write the same file do not write the same partial one.
  const partial = `${partialPath(path)}.${process.pid}`;
  try {
    await writeFile(partial, text);
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
}
