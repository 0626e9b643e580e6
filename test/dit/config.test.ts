// JSON files of a model folder: typed fields, model_index.json, generation defaults, and what each refuses.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { boolean, integer, number, numbers, readDefaults, readJson, readModelIndex, string } from '../../src/dit/config.ts';
import { UnsupportedError } from '../../src/errors.ts';

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'config-'));
  file = join(folder, 'model_index.json');
});
afterAll(() => rm(folder, { recursive: true }));
const write = (content: unknown) => writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));

describe('fields', () => {
  const config = { eps: 1e-5, layers: 30, on: false, name: 'x', sizes: [1, 2, 2], none: null, odd: '1' };
  it('are read, or take their default when absent or null', () => {
    expect(number(config, 'eps', 1)).toBe(1e-5);
    expect(integer(config, 'layers')).toBe(30);
    expect(boolean(config, 'on', true)).toBe(false);
    expect(string(config, 'name')).toBe('x');
    expect(numbers(config, 'sizes', undefined, 3)).toEqual([1, 2, 2]);
    expect([number(config, 'none', 4), integer(config, 'absent', 5), number(config, 'toString', 6)]).toEqual([4, 5, 6]);
  });

  it('of another kind are refused with file, name and value', async () => {
    expect(() => number(config, 'absent')).toThrow('config lacks "absent" (a number)');
    expect(() => number(config, 'odd', 1)).toThrow('config: "odd" is "1", and a number was expected');
    expect(() => integer(config, 'eps')).toThrow('a whole number >= 0 was expected');
    expect(() => numbers(config, 'sizes', undefined, 2)).toThrow('"sizes" is [1,2,2], and a list of 2 numbers was expected');
    await write({ odd: true });
    const read = await readJson(file);
    expect(() => string(read, 'odd')).toThrow(`${file}: "odd" is true, and a string was expected`);
  });
});

describe('readModelIndex', () => {
  it('gives the class and the parts that are there', async () => {
    await write({
      _class_name: 'WanPipeline',
      transformer: ['diffusers', 'WanTransformer3DModel'],
      transformer_2: [null, null],
      boundary_ratio: 0.875,
    });
    const index = await readModelIndex(folder);
    expect(index).toMatchObject({ folder });
    expect(index.parts).toEqual({ transformer: { library: 'diffusers', className: 'WanTransformer3DModel' } });
    expect(index.config.boundary_ratio).toBe(0.875);
  });

  it('refuses what is no supported model folder', async () => {
    await expect(readModelIndex(join(folder, 'nowhere'))).rejects.toThrow(`There is no folder "${folder}/nowhere"`);
    await write('{,}');
    await expect(readModelIndex(folder)).rejects.toThrow(`${file} is not JSON`);
    await expect(readModelIndex(file)).rejects.toThrow('is a file; give the path of a model folder');
    await write([]);
    await expect(readModelIndex(folder)).rejects.toThrow('holds [], and a JSON object was expected');
    await write({ _class_name: 'FluxPipeline' });
    await expect(readModelIndex(folder)).rejects.toThrow('is for "FluxPipeline", which is not supported; take a WanPipeline checkpoint');
    await expect(readModelIndex(folder)).rejects.toBeInstanceOf(UnsupportedError);
    await rm(file);
    await expect(readModelIndex(folder)).rejects.toThrow(`${folder} has no model_index.json`);
  });
});

describe('readDefaults', () => {
  const defaultsOf = async (zoetrope?: unknown) => {
    await write({ _class_name: 'WanPipeline', ...(zoetrope !== undefined && { zoetrope }) });
    return readDefaults(await readModelIndex(folder));
  };
  const wan = {
    height: 480,
    width: 832,
    numFrames: 81,
    numInferenceSteps: 50,
    guidanceScale: 5,
    guidanceInterval: [0, 1],
    maxSequenceLength: 512,
    fps: 16,
  };

  it("are Wan's, but for what the model states", async () => {
    expect(await defaultsOf()).toEqual(wan);
    const stated = { height: 128, num_frames: 17, guidance_interval: [0, 0.6], version: '0.1', vocabulary: { scenes: ['sea'] } };
    expect(await defaultsOf(stated)).toEqual({
      ...wan,
      height: 128,
      numFrames: 17,
      guidanceInterval: [0, 0.6],
      version: '0.1',
      vocabulary: { scenes: ['sea'] },
    });
  });

  it.each([
    [{ height: '480' }, '"height" is "480"'],
    [{ num_frames: -1 }, '"num_frames" is -1'],
    [{ guidance_interval: [0.6, 0] }, '"guidance_interval" is [0.6,0]'],
    [{ guidance_interval: [0] }, '"guidance_interval" is [0]'],
    [7, '"zoetrope" is 7'],
  ])('refuse %o', async (zoetrope, message) => {
    await expect(defaultsOf(zoetrope)).rejects.toThrow(message);
    await expect(defaultsOf(zoetrope)).rejects.toThrow(file);
  });
});
