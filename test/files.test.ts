// Files of a server: by ranges where it takes them, whole where it does not, and clear words where it has none.
import { createReadStream, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { readModelIndex } from '../src/dit/config.ts';
import { openWeights } from '../src/dit/weights.ts';
import { openFile } from '../src/files.ts';
import { loadTokenizer } from '../src/text/tokenizer.ts';

const model = fileURLToPath(new URL('./golden/wan-pipeline/pipeline', import.meta.url));
const part = join(model, 'transformer');
let server: Server;
let asked: string[] = [];

afterEach(() => new Promise((resolve) => server.close(resolve)));

/** The address of a server; what it is asked for is noted. */
async function serve(answer: RequestListener): Promise<string> {
  asked = [];
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.headers.range ?? 'whole'}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Bytes [start, end] of a request that asks for a part of `size` bytes. */
function rangeIn({ headers }: IncomingMessage, size: number): [number, number] | undefined {
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
  return start === undefined ? undefined : [Number(start), Math.min(size - 1, Number(end))];
}

/** The model's files; what is missing is answered with a page, as servers of applications do. */
const files =
  ({ ranges }: { readonly ranges: boolean }): RequestListener =>
  (request, response) => {
    const file = join(model, request.url!);
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found?.isFile()) return response.setHeader('content-type', 'text/html; charset=utf-8').end('<p>An application</p>');
    const range = ranges ? rangeIn(request, found.size) : undefined;
    if (range) response.writeHead(206, { 'content-range': `bytes ${range.join('-')}/${found.size}` });
    if (request.method === 'HEAD') return response.end();
    return createReadStream(file, range && { start: range[0], end: range[1] }).pipe(response);
  };

/** A file too large to be read whole, in which every byte tells its place. */
const LARGE = 2 ** 26 + 1000;
const large = (request: IncomingMessage, response: ServerResponse): void => {
  const [start, end] = rangeIn(request, LARGE)!;
  response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${LARGE}` });
  response.end(Uint8Array.from({ length: end - start + 1 }, (_, at) => (start + at) % 251));
};

describe('a model on a server', () => {
  it.each([true, false])('is the one on disk, with ranges: %s', async (ranges) => {
    const address = await serve(files({ ranges }));
    expect((await readModelIndex(address)).config).toEqual((await readModelIndex(model)).config);
    const [tokenizer, local] = [await loadTokenizer(`${address}/tokenizer`), await loadTokenizer(join(model, 'tokenizer'))];
    expect(tokenizer.encode('a cat', 20)).toEqual(local.encode('a cat', 20));
    const [weights, stored] = [await openWeights(`${address}/transformer`), await openWeights(part)];
    expect([...weights.tensors.keys()]).toEqual([...stored.tensors.keys()]);
    for (const name of stored.tensors.keys()) expect(await weights.floats(name)).toEqual(await stored.floats(name));
    await weights.close();
    await stored.close();
    expect(asked.some((request) => request.startsWith('GET bytes='))).toBe(true);
  });

  it('is refused with one sentence where it is none', async () => {
    const address = await serve(files({ ranges: true }));
    await expect(readModelIndex(`${address}/nowhere`)).rejects.toThrow(`${address}/nowhere has no model_index.json`);
    await expect(openWeights(`${address}/scheduler`)).rejects.toThrow('/scheduler holds no .safetensors file');
    await expect(openWeights(`${address}/x.safetensors`)).rejects.toThrow(`No weights at "${address}/x.safetensors"`);
  });
});

describe('a file of a server', () => {
  it('that is large is asked for in parts, and ends where it ends', async () => {
    const file = await openFile(`${await serve(large)}/large`);
    expect(file?.bytes).toBe(LARGE);
    expect([...(await file!.read(2 ** 25, 3))]).toEqual([0, 1, 2].map((at) => (2 ** 25 + at) % 251));
    expect(await file!.read(LARGE - 5, 10)).toHaveLength(5);
    expect(asked).toHaveLength(3);
  });

  it('is read whole where a page of another origin is not told its length', async () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    const address = await serve((request, response) => void response.writeHead(rangeIn(request, 4) ? 206 : 200).end(bytes));
    expect([...(await (await openFile(`${address}/file`))!.read(1, 2))]).toEqual([2, 3]);
    expect(asked).toEqual(['GET bytes=0-1048575', 'GET whole']);
  });

  it('says what the server says', async () => {
    const address = await serve((_request, response) => void response.writeHead(500).end());
    await expect(openFile(`${address}/file`)).rejects.toThrow(
      `${address}/file cannot be read: the server answers 500 Internal Server Error`,
    );
    await expect(openFile('http://127.0.0.1:9/file')).rejects.toThrow('http://127.0.0.1:9/file cannot be reached');
  });

  it('that is missing is none', async () => {
    const address = await serve((_request, response) => void response.writeHead(404).end());
    expect(await openFile(`${address}/file`)).toBeUndefined();
  });
});
