import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import { segment } from '../../src/dit/onnx/segments.ts';
import { openWeights, type TensorData, writeSafetensors } from '../../src/dit/weights.ts';
import {
  distanceBiases,
  encodePrompt,
  loadTextEncoder,
  readT5Config,
  relativeBucket,
  type TextEncoder,
  t5Encoder,
} from '../../src/text/encoder.ts';

const golden = fileURLToPath(new URL('../golden', import.meta.url));
const json = {
  architectures: ['UMT5EncoderModel'],
  feed_forward_proj: 'gated-gelu',
  vocab_size: 10,
  d_model: 4,
  num_heads: 2,
  d_kv: 2,
  d_ff: 8,
  num_layers: 1,
};

const biasOf = (layer: number): string => `encoder.block.${layer}.layer.0.SelfAttention.relative_attention_bias.weight`;

describe('relative positions', () => {
  const table = { buckets: 32, maxDistance: 128 };
  test('are exact below 8, logarithmic above, and end at 127', () => {
    expect([0, -1, -7, -8, -127, -5000].map((distance) => relativeBucket(distance, table))).toEqual([0, 1, 7, 8, 15, 15]);
    expect([1, 7, 8, 5000].map((distance) => relativeBucket(distance, table))).toEqual([17, 23, 24, 31]);
  });
  test('fall on the right side at the exact boundaries 16, 32, 64', () => {
    expect([-15, -16, -31, -32, -63, -64].map((distance) => relativeBucket(distance, table))).toEqual([9, 10, 11, 12, 13, 14]);
  });
  test('are laid out by distance, one row per head', () => {
    const config = readT5Config(json);
    const weights = Float32Array.from({ length: 64 }, (_, i) => i);
    const biases = distanceBiases(weights, 3, config);
    // Distances -2..2 are buckets 2, 1, 0, 17, 18; entry [bucket, head] of the table is 2 * bucket + head; the last entry is unused.
    expect([...biases]).toEqual([4, 2, 0, 34, 36, 0, 5, 3, 1, 35, 37, 0]);
  });
});

describe('config', () => {
  test('names the class that is not supported', () => {
    expect(() => readT5Config({ ...json, architectures: ['CLIPTextModel'] })).toThrow(/CLIPTextModel is not supported/);
    expect(() => readT5Config({ ...json, feed_forward_proj: 'relu' })).toThrow(/feed_forward_proj "relu"/);
  });
  test('names the field that is missing', () => {
    const { d_model: _, ...rest } = json;
    expect(() => readT5Config(rest)).toThrow(/d_model/);
  });
  test('is read from the folder of a model', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'encoder-'));
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...json, architectures: ['LlamaModel'] }));
    await expect(loadTextEncoder(folder, undefined as never)).rejects.toThrow(/LlamaModel/);
  });
});

test('weights are held against the layers before any work', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'encoder-'));
  const source = join(golden, 'umt5', 'text_encoder');
  await cp(join(source, 'config.json'), join(folder, 'config.json'));
  const weights = await openWeights(source);
  const all: Record<string, TensorData> = {};
  for (const { name, dtype, shape } of weights.tensors.values()) all[name] = { dtype, shape, data: await weights.bytes(name) };
  await weights.close();
  for (const name of ['encoder.block.1.layer.1.DenseReluDense.wo.weight', biasOf(1)]) {
    const { [name]: _, ...rest } = all;
    await writeSafetensors(join(folder, 'model.safetensors'), rest);
    await expect(loadTextEncoder(folder, undefined as never)).rejects.toThrow(`no tensor "${name}"`);
  }
});

test('each block spreads its own biases, so that no table of all blocks is carried along', () => {
  const { steps } = segment(t5Encoder(readT5Config({ ...json, num_layers: 3 }), 5));
  const biases = steps.map(({ segment: { inputs } }) =>
    inputs.flatMap(({ operation: o }) => (o.op === 'input' && o.name.startsWith('bias') ? [o.name] : [])),
  );
  expect(biases.slice(0, 3)).toEqual([['bias.0'], ['bias.1'], ['bias.2']]);
  expect(steps.slice(0, 3).map(({ segment: { outputs } }) => outputs.map(({ shape }) => shape))).toEqual([
    [[1, 5, 4]],
    [[1, 5, 4]],
    [[1, 5, 4]],
  ]);
});

describe('encoding', () => {
  let device: CpuDevice;
  let encoder: TextEncoder;
  beforeAll(async () => {
    device = await openCpu();
    encoder = await loadTextEncoder(join(golden, 'umt5', 'text_encoder'), device);
  });
  afterAll(async () => {
    await encoder.dispose();
    await device.dispose();
  });

  test('padding behind a mask changes nothing for the text before it', async () => {
    const ids = [5, 9, 200, 1];
    const short = await encoder.encode(ids);
    const padded = await encoder.encode([...ids, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0]);
    short.forEach((value, at) => {
      expect(padded[at]).toBeCloseTo(value, 5);
    });
  });
  test('padding without a mask takes part', async () => {
    const short = await encoder.encode([5, 9, 200, 1]);
    const padded = await encoder.encode([5, 9, 200, 1, 0, 0, 0]);
    expect(Math.max(...short.map((value, at) => Math.abs(value - padded[at])))).toBeGreaterThan(1e-2);
  });
  test('a prompt is filled up with zero rows', async () => {
    const { width } = encoder.config;
    const embeddings = await encodePrompt(encoder, [5, 9, 1], 6);
    expect(embeddings.length).toBe(6 * width);
    expect(embeddings.subarray(0, 3 * width)).toEqual(await encoder.encode([5, 9, 1]));
    expect(embeddings.subarray(3 * width).every((value) => value === 0)).toBe(true);
  });
  test('refuses ids that the model does not have, empty texts, and prompts that are too long', async () => {
    await expect(encoder.encode([320])).rejects.toThrow(/token id 320 is outside the vocabulary of 320/);
    await expect(encoder.encode([])).rejects.toThrow(/at least one token/);
    await expect(encoder.encode([1, 2], [1])).rejects.toThrow(/1 entries for 2 ids/);
    await expect(encodePrompt(encoder, [5, 9, 1], 2)).rejects.toThrow(/3 tokens, more than maxSequenceLength 2/);
  });
});
