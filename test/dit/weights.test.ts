// Reading weights: every stored type, shards, rows by offset; and a table of damaged or hostile files, each refused in one sentence.
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryWeights, openWeights, type TensorData, writeSafetensors } from '../../src/dit/weights.ts';
import { float16ToNumber } from '../../src/dit/widen.ts';
import { UnsupportedError } from '../../src/errors.ts';

let root: string;
let serial = 0;
const newFolder = async () => {
  const folder = join(root, `${serial++}`);
  await mkdir(folder);
  return folder;
};
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'weights-'));
});
afterAll(() => rm(root, { recursive: true }));

const tensors: Record<string, TensorData> = {
  'blocks.0.bias': { dtype: 'F32', shape: [3], data: Float32Array.of(1.5, -2, 1e-30) },
  'blocks.0.weight': { dtype: 'BF16', shape: [2, 3], data: Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0001, 0x4049, 0x8000) },
  half: { dtype: 'F16', shape: [2, 4], data: Uint16Array.of(0x3c00, 0xbc00, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0x8000, 0x3555) },
  double: { dtype: 'F64', shape: [2], data: Float64Array.of(Math.PI, 1e300) },
  ids: { dtype: 'I64', shape: [2], data: BigInt64Array.of(5n, -1n) },
  empty: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
  scalar: { dtype: 'F32', shape: [], data: Float32Array.of(7) },
};

const expected: Record<string, number[]> = {
  'blocks.0.bias': [1.5, -2, Math.fround(1e-30)],
  'blocks.0.weight': [1, -2, Number.POSITIVE_INFINITY, 2 ** -133, 3.140625, -0],
  half: [1, -1, 2 ** -24, 1023 * 2 ** -24, 65504, Number.POSITIVE_INFINITY, -0, 0.333251953125],
  double: [Math.fround(Math.PI), Number.POSITIVE_INFINITY],
  empty: [],
  scalar: [7],
};

const open = {
  file: async () => {
    const folder = await newFolder();
    await writeSafetensors(join(folder, 'model.safetensors'), tensors);
    return openWeights(join(folder, 'model.safetensors'));
  },
  folder: async () => {
    const folder = await newFolder();
    await writeSafetensors(join(folder, 'diffusion_pytorch_model.fp16.safetensors'), tensors);
    return openWeights(folder);
  },
  shards: async () => {
    const folder = await newFolder();
    const names = Object.keys(tensors);
    const shards = [names.slice(0, 3), names.slice(3)].map((part, i) => ({ part, file: `model-0000${i + 1}-of-00002.safetensors` }));
    for (const { part, file } of shards)
      await writeSafetensors(join(folder, file), Object.fromEntries(part.map((name) => [name, tensors[name]])));
    const map = Object.fromEntries(shards.flatMap(({ part, file }) => part.map((name) => [name, file])));
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
    return openWeights(folder);
  },
  memory: async () => memoryWeights(tensors),
};

describe.each(Object.entries(open))('weights of a %s', (_, openIt) => {
  it('widens every float type and gives stored bytes', async () => {
    const weights = await openIt();
    expect([...weights.tensors.keys()].sort()).toEqual(Object.keys(tensors).sort());
    for (const [name, values] of Object.entries(expected)) expect([...(await weights.floats(name))], name).toEqual(values);
    for (const [name, { data }] of Object.entries(tensors)) {
      const bytes = await weights.bytes(name);
      expect(bytes, name).toEqual(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      expect(bytes.byteOffset).toBe(0);
    }
    await expect(weights.floats('ids')).rejects.toThrow(UnsupportedError);
    await weights.close();
  });

  it('gathers rows, repeated ones too', async () => {
    const weights = await openIt();
    const row = (i: number) => expected.half.slice(4 * i, 4 * i + 4);
    expect([...(await weights.rows('half', [1, 0, 1]))]).toEqual([...row(1), ...row(0), ...row(1)]);
    expect((await weights.rows('half', [])).length).toBe(0);
    for (const id of [2, -1, 0.5, Number.NaN]) await expect(weights.rows('half', [0, id])).rejects.toThrow(`there is no row ${id}`);
    await expect(weights.rows('double', [0])).rejects.toThrow('has shape [2]');
    await weights.close();
  });

  it('checks names and shapes', async () => {
    const weights = await openIt();
    expect(weights.has('half')).toBe(true);
    expect(weights.has('toString')).toBe(false);
    expect(weights.get('blocks.0.weight', [2, 3])).toMatchObject({ dtype: 'BF16', shape: [2, 3], bytes: 12 });
    expect(() => weights.get('blocks.0.weight', [3, 2])).toThrow('tensor "blocks.0.weight" has shape [2,3], and [3,2] was expected');
    expect(() => weights.get('blocks.1.bias')).toThrow(/no tensor "blocks.1.bias"; the nearest names are blocks.0.bias, /);
    await expect(weights.floats('nothing')).rejects.toThrow('no tensor "nothing"');
    await weights.close();
  });
});

describe('files', () => {
  it('read large tensors in pieces', async () => {
    const file = join(await newFolder(), 'large.safetensors');
    const data = Uint16Array.from({ length: 9_000_000 }, (_, i) => i % 0x7f80);
    await writeSafetensors(file, { large: { dtype: 'BF16', shape: [data.length], data } });
    const weights = await openWeights(file);
    const values = await weights.floats('large');
    const bits = new Uint32Array(values.buffer);
    let wrong = 0;
    for (let i = 0; i < bits.length; i++) wrong += Number(bits[i] !== data[i] * 65536);
    expect(wrong).toBe(0);
    await weights.close();
  });

  it('are not read after close', async () => {
    const weights = await open.shards();
    await weights.close();
    await weights.close();
    await expect(weights.floats('half')).rejects.toThrow('Cannot read tensor "half"');
  });

  it('that shrink after opening are noticed', async () => {
    const file = join(await newFolder(), 'model.safetensors');
    await writeSafetensors(file, tensors);
    const weights = await openWeights(file);
    const { offset, bytes } = weights.get('half');
    await truncate(file, offset + bytes - 1);
    await expect(weights.floats('half')).rejects.toThrow('ended early');
    await weights.close();
  });

  it('are written aligned, and only with data that fits', async () => {
    const weights = await open.file();
    for (const { offset, bytes, shape, name } of weights.tensors.values()) {
      const elements = shape.reduce((product, size) => product * size, 1);
      if (elements) expect(offset % (bytes / elements), name).toBe(0);
    }
    await weights.close();
    const short: TensorData = { dtype: 'F32', shape: [2], data: new Float32Array(1) };
    await expect(writeSafetensors(join(root, 'short'), { short })).rejects.toThrow(
      'tensor "short": F32 [2] takes 8 bytes, and its data has 4',
    );
    expect(() => memoryWeights({ short })).toThrow('takes 8 bytes');
  });
});

/** A file with the given header, its stated length (default: true) and this many bytes of data. */
function safetensors(header: unknown, dataBytes: number, stated?: bigint): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, stated ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4], dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});
const huge = 2 ** 40;

describe('a hostile file is refused', () => {
  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'it has 0 bytes'],
    ['less than a length', new Uint8Array(7), 'it has 7 bytes'],
    ['a header past the end', safetensors({}, 0, 1000n), 'is truncated: it states a header of 1000 bytes, and 2 bytes follow'],
    ['a header of 100 MB and one byte', safetensors({}, 0, 100_000_001n), 'a header of 100000001 bytes'],
    ['a header of 2^64 - 1 bytes', safetensors({}, 0, 2n ** 64n - 1n), 'a header of 18446744073709551615 bytes'],
    ['no JSON', safetensors('{"a":', 0), 'a header that is not the JSON of this format'],
    ['no UTF-8', safetensors('', 2, 2n).fill(0xff, 8), 'a header that is not the JSON of this format'],
    ['deep nesting', safetensors('{"a":{"shape":'.padEnd(10_000, '['), 0), 'it nests deeper than the format'],
    ['a bad escape in a name', safetensors('{"\\q":3}', 0), 'not the JSON of this format'],
    ['a list', safetensors([], 0), 'not a JSON object: []'],
    ['an entry that is no object', safetensors({ a: 3 }, 0), 'tensor "a": its header entry is 3'],
    ['an unknown type', safetensors({ a: entry(0, 4, [1], 'F4') }, 4), 'tensor "a": stored type "F4" is not supported'],
    ['a type from the prototype', safetensors({ a: entry(0, 4, [1], 'toString') }, 4), 'stored type "toString"'],
    ['no shape', safetensors({ a: { dtype: 'F32', data_offsets: [0, 4] } }, 4), 'tensor "a": shape is undefined'],
    ['a negative dimension', safetensors({ a: entry(0, 4, [-1]) }, 4), 'shape [-1] has a dimension'],
    ['a fractional dimension', safetensors({ a: entry(0, 4, [0.5]) }, 4), 'shape [0.5] has a dimension'],
    ['a dimension as text', safetensors({ a: entry(0, 4, ['1']) }, 4), 'shape ["1"] has a dimension'],
    ['more elements than numbers', safetensors({ a: entry(0, 4, [huge, huge]) }, 4), 'more elements than can be counted'],
    ['more bytes than numbers', safetensors({ a: entry(0, 4, [2 ** 52]) }, 4), 'more bytes than can be counted'],
    ['offsets of another size', safetensors({ a: entry(0, 8, [1]) }, 8), '[1] takes 4 bytes, and data_offsets [0,8] hold 8'],
    ['falling offsets', safetensors({ a: entry(4, 0, [1]) }, 4), 'data_offsets is [4,0]'],
    ['negative offsets', safetensors({ a: entry(-4, 0, [1]) }, 4), 'data_offsets is [-4,0]'],
    ['no offsets', safetensors({ a: { dtype: 'F32', shape: [1] } }, 4), 'data_offsets is undefined'],
    ['a tensor past the end', safetensors({ a: entry(0, 4 * huge) }, 4), `it ends at byte ${4 * huge} of the data, and the file holds 4`],
    ['a truncated tensor', safetensors({ a: entry(0, 8) }, 7), 'ends at byte 8 of the data, and the file holds 7'],
    [
      'overlapping tensors',
      safetensors({ a: entry(0, 8), b: entry(4, 12) }, 12),
      'tensor "b" begins at byte 4 of the data, inside tensor "a"',
    ],
    ['the same bytes twice', safetensors({ a: entry(0, 8), b: entry(0, 8) }, 8), 'tensor "b" begins at byte 0'],
    ['a hole', safetensors({ a: entry(0, 4), b: entry(8, 12) }, 12), '4 bytes between tensor "a" and tensor "b"'],
    ['bytes left over', safetensors({ a: entry(0, 4) }, 9), '5 bytes after tensor "a" belong to no tensor'],
    [
      'a name twice',
      safetensors(`{"a":${JSON.stringify(entry(0, 4))}, "\\u0061" : ${JSON.stringify(entry(0, 4))}}`, 4),
      'names tensor "a" twice',
    ],
  ])('%s', async (_, bytes, message) => {
    const file = join(await newFolder(), 'model.safetensors');
    await writeFile(file, bytes);
    const error: Error = await openWeights(file).then(
      () => expect.fail('it was opened'),
      (reason) => reason,
    );
    expect(error.message).toContain(message);
    expect(error.message).toContain(file);
  });

  it('but not one with metadata, odd names and nested keys of one name', async () => {
    const file = join(await newFolder(), 'model.safetensors');
    const header = `{"__metadata__":{"a":"{\\"a\\":","shape":""},"__proto__":${JSON.stringify(entry(0, 4))},"a\\"[":${JSON.stringify(entry(4, 8))}}`;
    await writeFile(file, safetensors(header, 8));
    const weights = await openWeights(file);
    expect([...weights.tensors.keys()]).toEqual(['__proto__', 'a"[']);
    await weights.close();
  });
});

describe('a folder is refused', () => {
  const index = 'model.safetensors.index.json';
  const shard = safetensors({ a: entry(0, 4) }, 4);
  it.each<[string, Record<string, string | Uint8Array>, string]>([
    ['empty', {}, 'holds no .safetensors file'],
    ['with pickled weights alone', { 'pytorch_model.bin': '' }, 'holds pytorch_model.bin, but no .safetensors file'],
    [
      'with two variants',
      { 'a.fp16.safetensors': shard, 'a.bf16.safetensors': shard },
      'several weight files (a.bf16.safetensors, a.fp16.safetensors)',
    ],
    ['with shards and no index', { 'model-00001-of-00002.safetensors': shard }, 'but not their *.safetensors.index.json'],
    ['whose index is no JSON', { [index]: '{' }, 'is not JSON'],
    ['whose index has no map', { [index]: '{}' }, 'has no weight_map'],
    ['whose index has a missing shard', { [index]: '{"weight_map":{"a":"x.safetensors"}}' }, 'x.safetensors is missing; download it again'],
    ['whose index leaves the folder', { [index]: '{"weight_map":{"a":"../x.safetensors"}}' }, 'puts tensor "a" in "../x.safetensors"'],
    ['whose index names no weights', { [index]: '{"weight_map":{"a":"passwords"}}' }, 'puts tensor "a" in "passwords"'],
    ['whose index gives a number', { [index]: '{"weight_map":{"a":1}}' }, 'puts tensor "a" in 1'],
    [
      'whose shard lacks a tensor',
      { [index]: '{"weight_map":{"a":"x.safetensors","b":"x.safetensors"}}', 'x.safetensors': shard },
      'puts tensor "b" in x.safetensors, which does not hold it',
    ],
  ])('%s', async (_, files, message) => {
    const folder = await newFolder();
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    const error: Error = await openWeights(folder).then(
      () => expect.fail('it was opened'),
      (reason) => reason,
    );
    expect(error.message).toContain(message);
    expect(error.message).toContain(folder);
  });

  it('when it is missing, or a file of another kind', async () => {
    await expect(openWeights(join(root, 'nowhere'))).rejects.toThrow('there is no such file or folder');
    const file = join(await newFolder(), 'model.pt');
    await writeFile(file, '');
    await expect(openWeights(file)).rejects.toThrow(UnsupportedError);
  });
});

describe('float16ToNumber', () => {
  it('takes all 65536 values to their float32', () => {
    for (let bits = 0; bits < 0x7c00; bits++) {
      // Adjacent halves of one sign rise, and the exponent's steps double: enough to fix every value given the ends.
      const rises = float16ToNumber(bits + 1) > float16ToNumber(bits) && Object.is(float16ToNumber(bits | 0x8000), -float16ToNumber(bits));
      if (!rises) expect.fail(`bits ${bits}`);
    }
    expect([0x0400, 0x0001, 0x7bff, 0x3c01].map(float16ToNumber)).toEqual([2 ** -14, 2 ** -24, 65504, 1 + 2 ** -10]);
    expect(float16ToNumber(0x7e00)).toBeNaN();
  });
});
