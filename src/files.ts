// Where the files of a model are read from, whole or in part: this machine's disk, or a server of static files. A path is one of the disk or an
// address of the web; nothing beyond this file and `served.ts` knows which.
import type { FileHandle } from 'node:fs/promises';
import { inNode } from './in-node.ts';
import { isServed, openServed } from './served.ts';

/** A file that can be read in part. */
export interface OpenFile {
  readonly bytes: number;
  /** Bytes from `position` on in a buffer of their own, fewer than `length` where the file ends before that. */
  read(position: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

const isAddress = (path: string): boolean => !inNode || /^https?:/i.test(path);

// Not before: a web page has no such module, and never gets there.
const disk = () => import('node:fs/promises');

/** The path of a model as it was given; on a web page, where it may be relative to that, its whole address. */
export const pathOf = (given: string): string => (inNode ? given : new URL(given, globalThis.document?.baseURI ?? location.href).href);

/** The path of something in a folder. */
export const join = (folder: string, name: string): string => `${folder.replace(/(?<=.)[\\/]+$/, '')}/${name}`;

/** The folder of a file. */
export const folderOf = (file: string): string => file.replace(/[\\/][^\\/]*$/, '');

/** What lies at a path. A server knows files alone, so an address that is not of one's kind is taken for a folder. */
export async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  if (isAddress(path)) return !/\.(json|safetensors)$/.test(path) ? 'folder' : (await isServed(path)) ? 'file' : undefined;
  const found = await (await disk()).stat(path).catch(() => undefined);
  return found && (found.isDirectory() ? 'folder' : 'file');
}

/** Names of the files in a folder; a server lists nothing, and those of `known` that it has are the answer. */
export async function namesIn(folder: string, known: readonly string[]): Promise<readonly string[]> {
  if (!isAddress(folder)) return (await disk()).readdir(folder);
  const served = await Promise.all(known.map((name) => isServed(join(folder, name))));
  return known.filter((_, index) => served[index]);
}

/** Opens a file; undefined when it is missing. @throws Error for what else keeps it from being read. */
export async function openFile(path: string): Promise<OpenFile | undefined> {
  if (isAddress(path)) return openServed(path);
  const handle = await (await disk()).open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return handle && onDisk(handle);
}

async function onDisk(handle: FileHandle): Promise<OpenFile> {
  const largestRead = 1 << 28;
  return {
    bytes: (await handle.stat()).size,
    async read(position, length) {
      const into = new Uint8Array(length);
      let done = 0;
      for (let last = -1; done < length && last !== 0; done += last) {
        last = (await handle.read(into, done, Math.min(largestRead, length - done), position + done)).bytesRead;
      }
      return done === length ? into : into.slice(0, done);
    },
    close: () => handle.close(),
  };
}
