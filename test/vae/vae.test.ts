import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import { readJson } from '../../src/dit/config.ts';
import { memoryWeights, openWeights, type TensorData, type Weights, writeSafetensors } from '../../src/dit/weights.ts';
import { decoderPrograms, loadVae } from '../../src/vae/index.ts';
import { runtimePlace } from '../../src/vae/place.ts';
import { evenChunks, type StagedDecoder, type Strip, streamedDecoder } from '../../src/vae/stream.ts';
import { detectTaehv, readTinyWanConfig, taehvDecoder } from '../../src/vae/taehv.ts';
import { margins, wanDecoder } from '../../src/vae/wan.ts';
import { readWanVaeConfig } from '../../src/vae/wan-config.ts';

const golden = fileURLToPath(new URL('../golden', import.meta.url));
const taehvFile = join(golden, 'taehv-wan22', 'taehv', 'taew2_2.safetensors');
const wanFolder = join(golden, 'vae-wan22', 'vae');

let device: CpuDevice;
beforeAll(async () => {
  device = await openCpu();
});
afterAll(() => device.dispose());

/** Smooth, different numbers for every cell. */
const waves = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(i * 0.7) + Math.cos(i * 0.13));

async function frames(decoder: StagedDecoder, weights: Weights, latents: Float32Array, shape: readonly number[]): Promise<Float32Array[]> {
  const parts: Float32Array[] = [];
  for await (const { data, frames: count } of streamedDecoder(decoder, weights, runtimePlace(device)).decode(latents, shape)) {
    const size = data.length / count;
    for (let frame = 0; frame < count; frame++) parts.push(data.slice(frame * size, (frame + 1) * size));
  }
  return parts;
}

function expectClose(actual: readonly Float32Array[], expected: readonly Float32Array[]): void {
  expect(actual.length).toBe(expected.length);
  const differences = actual.map((frame, i) => frame.reduce((most, value, at) => Math.max(most, Math.abs(value - expected[i][at])), 0));
  const difference = Math.max(...differences);
  expect(difference).toBeLessThan(1e-5);
}

/** The same decoder with at most `most` frames in each run of a stage. */
const inPieces = (decoder: StagedDecoder, most: number): StagedDecoder => ({
  ...decoder,
  stages: (...place) => decoder.stages(...place).map((stage) => ({ ...stage, most })),
});

describe('streaming', () => {
  test('the Wan decoder gives the same frames one by one as in pairs', async () => {
    const weights = await openWeights(wanFolder);
    const decoder = wanDecoder(readWanVaeConfig(await readJson(join(wanFolder, 'config.json'))));
    const shape = [decoder.channels, 4, 3, 2];
    const latents = waves(decoder.channels * 24);
    const pairs = await frames(decoder, weights, latents, shape);
    expect(pairs.length).toBe(13);
    expectClose(await frames(inPieces(decoder, 1), weights, latents, shape), pairs);
    await weights.close();
  });
  test.each([
    [3, [2, 44], [21, 1, 22]],
    [2, [43, 2], [1, 20, 22]],
  ] as const)('a picture in strips along axis %i is the whole picture', async (axis, [height, width], sizes) => {
    const weights = await openWeights(wanFolder);
    const decoder = wanDecoder(readWanVaeConfig(await readJson(join(wanFolder, 'config.json'))));
    const shape = [decoder.channels, 2, height, width];
    const latents = waves(decoder.channels * 2 * height * width);
    const size = axis === 3 ? width : height;
    let end = 0;
    const strips = sizes.map((cells): Strip => {
      end += cells;
      return { axis, start: end - cells, end, size };
    });
    expect(decoder.strips(height, width).length).toBe(1);
    expectClose(
      await frames({ ...decoder, strips: () => strips }, weights, latents, shape),
      await frames(decoder, weights, latents, shape),
    );
    await weights.close();
  });
  test('TAEHV gives the same frames whatever the pieces', async () => {
    const weights = await openWeights(taehvFile);
    const decoder = taehvDecoder(detectTaehv(weights), weights);
    const shape = [decoder.channels, 6, 2, 3];
    const latents = waves(decoder.channels * 36);
    const whole = await frames(inPieces(decoder, 6), weights, latents, shape);
    expect(whole.length).toBe(21);
    expectClose(await frames(inPieces(decoder, 1), weights, latents, shape), whole);
    expectClose(await frames(decoder, weights, latents, shape), whole);
    await weights.close();
  });
  test('a frame depends on earlier latents alone', async () => {
    const decoder = await loadVae(wanFolder, runtimePlace(device));
    const shape = [decoder.channels, 3, 3, 2];
    const latents = waves(decoder.channels * 18);
    const changed = latents.map((value, at) => (Math.floor(at / 6) % 3 === 2 ? value + 1 : value));
    const [before, after] = await Promise.all(
      [latents, changed].map(async (input) => {
        const parts: Float32Array[] = [];
        for await (const { data } of decoder.decode(input, shape)) parts.push(data);
        return parts;
      }),
    );
    // Frames come as 1, then in pairs; the third latent frame makes those from the sixth on.
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
    expect(after[3]).not.toEqual(before[3]);
    await decoder.dispose();
  });
  test('chunks are few and even', () => {
    expect(evenChunks(13, 4)).toEqual([4, 3, 3, 3]);
    expect(evenChunks(8, 4)).toEqual([4, 4]);
    expect(evenChunks(1, 4)).toEqual([1]);
  });
});

describe('memory', () => {
  test('a strip has the margin that its convolutions use up', () => {
    expect(margins(readWanVaeConfig({}))).toEqual({ cells: 13, left: 6 });
  });
  test('a picture is cut when what it needs at once passes 1.25 GB, along its longer side', () => {
    const decoder = wanDecoder(readWanVaeConfig({}));
    expect(decoder.strips(16, 16).length).toBe(1);
    const wide = decoder.strips(60, 104);
    expect(wide.length).toBeGreaterThan(1);
    expect(wide.every(({ axis, size }) => axis === 3 && size === 104)).toBe(true);
    expect(decoder.strips(104, 60).map(({ axis, start }) => [axis, start])).toEqual(wide.map(({ start }) => [2, start]));
  });
});

describe('decoding', () => {
  test('stops between chunks when it is aborted', async () => {
    const decoder = await loadVae(wanFolder, runtimePlace(device));
    const controller = new AbortController();
    const decode = async () => {
      for await (const _ of decoder.decode(waves(decoder.channels * 18), [decoder.channels, 3, 3, 2], { signal: controller.signal }))
        controller.abort(new Error('enough'));
    };
    await expect(decode()).rejects.toThrow('enough');
    await decoder.dispose();
  });
  test('refuses latents of another shape', async () => {
    const decoder = await loadVae(wanFolder, runtimePlace(device));
    const decode = async (shape: number[]) => {
      for await (const _ of decoder.decode(waves(100), shape));
    };
    await expect(decode([16, 1, 3, 2])).rejects.toThrow(/\[16,1,3,2\].*takes \[12, frames, height, width\]/);
    await expect(decode([12, 1, 3, 2])).rejects.toThrow(/100 numbers/);
    await decoder.dispose();
  });
  test('says how latents become pixels', async () => {
    const wan = await loadVae(wanFolder, runtimePlace(device));
    expect([wan.spatial, wan.temporal, wan.channels, wan.mean?.length, wan.std?.length]).toEqual([16, 4, 12, 12, 12]);
    const taehv = await loadVae(taehvFile, runtimePlace(device));
    expect([taehv.spatial, taehv.temporal, taehv.channels, taehv.mean, taehv.std]).toEqual([16, 4, 12, undefined, undefined]);
    await wan.dispose();
    await taehv.dispose();
  });
});

/** Weights of a file, in memory, as a record to change. */
async function contents(path: string): Promise<Record<string, TensorData>> {
  const weights = await openWeights(path);
  const all: Record<string, TensorData> = {};
  for (const { name, dtype, shape } of weights.tensors.values()) all[name] = { dtype, shape, data: await weights.bytes(name) };
  await weights.close();
  return all;
}

describe('the layers of TAEHV', () => {
  test('are those of the published files, or refused', async () => {
    const all = await contents(taehvFile);
    const { 'decoder.22.weight': _w, 'decoder.22.bias': _b, ...short } = all;
    expect(() => detectTaehv(memoryWeights(short))).toThrow(/is not a TAEHV decoder/);
    expect(() => detectTaehv(memoryWeights({ ...all, 'decoder.30.weight': all['decoder.22.weight'] }))).toThrow(/_super/);
    expect(() => detectTaehv(memoryWeights({ ...all, 'encoder.0.weight': all['decoder.22.weight'] }))).not.toThrow();
  });
  test('count the last rows of a TGrow weight that was made for more frames', async () => {
    const all = await contents(taehvFile);
    const grow = all['decoder.7.conv.weight'];
    const rows = new Uint8Array(2 * grow.data.byteLength);
    rows.set(new Uint8Array(grow.data.buffer, grow.data.byteOffset, grow.data.byteLength), grow.data.byteLength);
    const wide = { ...all, 'decoder.7.conv.weight': { ...grow, shape: [2 * grow.shape[0], ...grow.shape.slice(1)], data: rows } };
    const [plain, widened] = [memoryWeights(all), memoryWeights(wide)];
    const latents = waves(12 * 6);
    const decode = (weights: Weights) => frames(taehvDecoder(detectTaehv(weights), weights), weights, latents, [12, 1, 2, 3]);
    expectClose(await decode(widened), await decode(plain));
  });
  test('of a folder come from its config.json, with the statistics of its latents', async () => {
    const weights = await openWeights(taehvFile);
    const layers = detectTaehv(weights).layers.map(({ kind }) => kind);
    const json = {
      _class_name: 'AutoencoderTinyWan',
      layers: [...layers, 'PixelShuffle'],
      decoder_time: [1, 2, 2],
      patch_size: 2,
      latents_mean: new Array(12).fill(0.5),
      latents_std: new Array(12).fill(2),
    };
    const latents = waves(12 * 2 * 6);
    const shape = [12, 2, 2, 3];
    const expected = await frames(
      taehvDecoder(detectTaehv(weights), weights),
      weights,
      latents.map((value) => value * 2 + 0.5),
      shape,
    );
    expectClose(await frames(taehvDecoder(readTinyWanConfig(json, weights), weights), weights, latents, shape), expected);
    expect(() => readTinyWanConfig({ ...json, layers: ['Swin'] }, weights)).toThrow(/"Swin"/);
    expect(() => readTinyWanConfig({ ...json, patch_size: 1 }, weights)).toThrow(/patch_size is 1/);
    expect(() => readTinyWanConfig({ ...json, decoder_time: [2, 2] }, weights)).toThrow(/3 TGrow layers, but 2/);
    await weights.close();
  });
});

describe('weights', () => {
  test('are held against the layers before any work, whichever decoder it is', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vae-weights-'));
    const write = (all: Record<string, TensorData>) => writeSafetensors(join(folder, 'vae.safetensors'), all);
    await cp(join(wanFolder, 'config.json'), join(folder, 'config.json'));
    const wan = await contents(wanFolder);
    const { 'decoder.up_blocks.3.resnets.0.conv2.bias': bias, ...rest } = wan;
    await write(rest);
    await expect(loadVae(folder, runtimePlace(device))).rejects.toThrow(/no tensor "decoder.up_blocks.3.resnets.0.conv2.bias"/);
    await write({ ...rest, 'decoder.up_blocks.3.resnets.0.conv2.bias': { ...bias, shape: [1, ...bias.shape] } });
    await expect(loadVae(folder, runtimePlace(device))).rejects.toThrow(/conv2.bias" has shape \[1,\d+\], and \[\d+\] was expected/);
    const { 'decoder.3.conv.2.weight': _, ...taehv } = await contents(taehvFile);
    await write(taehv);
    await expect(loadVae(join(folder, 'vae.safetensors'), runtimePlace(device))).rejects.toThrow(/no tensor "decoder.3.conv.2.weight"/);
    await write(wan);
    await (await loadVae(folder, runtimePlace(device))).dispose();
  });
});

describe('config', () => {
  test('names what is not supported', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vae-'));
    await cp(wanFolder, folder, { recursive: true });
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...json, _class_name: 'AutoencoderKLLTXVideo' }));
    await expect(loadVae(folder, runtimePlace(device))).rejects.toThrow(/AutoencoderKLLTXVideo/);
    expect(() => readWanVaeConfig({ ...json, attn_scales: [1] })).toThrow(/attn_scales \[1\]/);
    expect(() => readWanVaeConfig({ ...json, temperal_downsample: [true] })).toThrow(/needs 3 entries/);
  });
  test('of Wan 2.1 is the default', () => {
    const config = readWanVaeConfig({});
    expect([config.base, config.channels, config.spatial, config.residual]).toEqual([96, 16, 8, false]);
    expect(config.temporal).toEqual([true, true, false]);
    expect(config.mean[7]).toBe(1.5508);
  });
  test.each([
    [
      'Wan 2.1',
      {},
      16,
      { 'up_blocks.0.upsamplers.0.resample.1.weight': [192, 384, 3, 3], 'up_blocks.1.resnets.0.conv1.weight': [384, 192, 3, 3, 3] },
    ],
    [
      'Wan 2.2',
      {
        base_dim: 160,
        decoder_base_dim: 256,
        z_dim: 48,
        is_residual: true,
        out_channels: 12,
        patch_size: 2,
        latents_mean: new Array(48).fill(0),
        latents_std: new Array(48).fill(1),
      },
      48,
      { 'up_blocks.0.upsampler.time_conv.weight': [2048, 1024, 3, 1, 1], 'up_blocks.2.resnets.0.conv1.weight': [512, 1024, 3, 3, 3] },
    ],
  ])('asks for the weights of %s in their published shapes', (_name, json, channels, shapes) => {
    const decoder = wanDecoder(readWanVaeConfig(json));
    const stored = new Map<string, readonly number[]>();
    const programs = decoderPrograms(decoder);
    for (const { nodes } of programs)
      for (const { operation, shape } of nodes) if (operation.op === 'weight') stored.set(operation.name, shape);
    const { nodes, outputs } = programs.at(-1)!;
    const { shape } = nodes[outputs.frames];
    expect(stored.get('post_quant_conv.weight')).toEqual([channels, channels, 1, 1, 1]);
    for (const [name, shape] of Object.entries(shapes)) expect(stored.get(`decoder.${name}`)).toEqual(shape);
    expect(shape.slice(1)).toEqual([3, channels === 16 ? 32 : 64, channels === 16 ? 32 : 64]);
  });
});
