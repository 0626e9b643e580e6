// Does a checkpoint of the published size load and run? Builds a folder with Wan 2.1 T2V-1.3B's configs and tensors (all zero, so that the files
// are sparse and take no disk) and makes a short video. Proves names, shapes, memory and time, not pictures.
// node dist/bench/full-size.js [--steps 1] [--frames 5] [--width 416] [--height 240]
import { cpSync, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { weightsOf } from '../src/bench/random.ts';
import { writeResult } from '../src/bench/results.ts';
import { spreadOf } from '../src/bench/spread.ts';
import { wanConfig } from '../src/dit/transformer.ts';
import { wanTransformer } from '../src/dit/wan.ts';
import { type StepReport, TextToVideoPipeline } from '../src/pipeline.ts';
import { elements } from '../src/tensor.ts';
import { readT5Config, t5Encoder } from '../src/text/encoder.ts';
import { decoderPrograms } from '../src/vae/index.ts';
import { wanDecoder } from '../src/vae/wan.ts';
import { readWanVaeConfig } from '../src/vae/wan-config.ts';
import { resultFile, resultPath, root } from './machine.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '1' },
    frames: { type: 'string', default: '5' },
    width: { type: 'string', default: '416' },
    height: { type: 'string', default: '240' },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'zoetrope-full-size-'));
const source = join(root, 'test', 'golden', 'wan-pipeline', 'pipeline');

/** A safetensors file of zeros; returns the number of elements. */
function writeZeros(file: string, tensors: ReadonlyMap<string, readonly number[]>, dtype: 'BF16' | 'F32'): number {
  const bytes = dtype === 'BF16' ? 2 : 4;
  let offset = 0;
  const header = Object.fromEntries(
    [...tensors].map(([name, shape]) => {
      const start = offset;
      offset += elements(shape) * bytes;
      return [name, { dtype, shape, data_offsets: [start, offset] }];
    }),
  );
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const descriptor = openSync(file, 'w');
  writeSync(descriptor, length);
  writeSync(descriptor, json);
  truncateSync(file, 8 + json.length + offset);
  return offset / bytes;
}

function part(name: string, config: object, file: string, tensors: ReadonlyMap<string, readonly number[]>, dtype: 'BF16' | 'F32'): number {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, 'config.json'), JSON.stringify(config));
  return writeZeros(join(folder, name, file), tensors, dtype);
}

for (const name of ['tokenizer', 'scheduler', 'model_index.json']) cpSync(join(source, name), join(folder, name), { recursive: true });
const transformer = {
  _class_name: 'WanTransformer3DModel',
  num_attention_heads: 12,
  attention_head_dim: 128,
  ffn_dim: 8960,
  num_layers: 30,
};
const textEncoder = {
  architectures: ['UMT5EncoderModel'],
  d_model: 4096,
  d_kv: 64,
  d_ff: 10240,
  num_layers: 24,
  num_heads: 64,
  vocab_size: 256384,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  feed_forward_proj: 'gated-gelu',
  layer_norm_epsilon: 1e-6,
};
const vae = { _class_name: 'AutoencoderKLWan' };
const t5 = readT5Config(textEncoder);
const decoder = wanDecoder(readWanVaeConfig(vae));
const biases = Array.from(
  { length: 24 },
  (_, layer) => [`encoder.block.${layer}.layer.0.SelfAttention.relative_attention_bias.weight`, [32, 64]] as const,
);
const shape = { batch: 1, frames: 1, height: 60, width: 104, textTokens: 512 };
const parameters = {
  transformer: part(
    'transformer',
    transformer,
    'diffusion_pytorch_model.safetensors',
    weightsOf(wanTransformer(wanConfig(transformer), shape)),
    'BF16',
  ),
  textEncoder: part(
    'text_encoder',
    textEncoder,
    'model.safetensors',
    new Map([...weightsOf(t5Encoder(t5, 8)), ['shared.weight', [256384, 4096]], ...biases]),
    'BF16',
  ),
  vaeDecoder: part('vae', vae, 'diffusion_pytorch_model.safetensors', weightsOf(...decoderPrograms(decoder)), 'F32'),
};
console.log(parameters);

/** Peaks of resident bytes [until the latents are done, from then on], watched by a thread because a session blocks this one. */
const peaks = new Float64Array(new SharedArrayBuffer(16));
const phase = new Int32Array(new SharedArrayBuffer(4));
const watch = new Worker(
  `const { peaks, phase } = require('node:worker_threads').workerData;
  setInterval(() => { peaks[phase[0]] = Math.max(peaks[phase[0]], process.memoryUsage.rss()); }, 20);`,
  { eval: true, workerData: { peaks, phase } },
);
const pipe = await TextToVideoPipeline.fromPretrained(folder);
const options = {
  height: Number(values.height),
  width: Number(values.width),
  numFrames: Number(values.frames),
  numInferenceSteps: Number(values.steps),
  guidanceScale: 1,
  seed: 1,
};
const onStep = ({ step, steps }: StepReport): void => {
  // The transformer is released after its last step, which takes seconds.
  if (step === steps - 1) setTimeout(() => phase.fill(1), 5000);
};
const video = pipe('a panda playing a guitar', { ...options, onStep });
let frames = 0;
for await (const _ of video) frames++;
await watch.terminate();
const [peakMebibytes, decodePeakMebibytes] = [Math.max(...peaks), peaks[1]].map((bytes) => Math.round(bytes / 2 ** 20));
const report = await video.report;
const estimated = pipe.estimate(options);
await pipe.dispose();
rmSync(folder, { recursive: true });
const { milliseconds, runtime, method, steps, tokens, meanDensity: density, promptTokens, promptTruncated } = report;
const id = `wan-2.1-1.3b ${values.width}x${values.height}x${values.frames} zero weights/${runtime} f32/${method} ${steps} steps`;
const about = { parameters, frames, tokens, estimated, density, promptTokens, promptTruncated };
const path = resultPath(`full-size-${values.width}x${values.height}`);
const parts = Object.entries(milliseconds).map(([part, time]) => ({ id: `${id}/${part}`, milliseconds: spreadOf([time]) }));
const asked = { what: "Wan 2.1 T2V-1.3B's shapes, zero weights", ...options };
await writeResult(path, resultFile('full-size', asked, [{ id, ...about, peakMebibytes, decodePeakMebibytes }, ...parts]));
console.log(path);
console.log(
  `${frames} frames, peak ${peakMebibytes} MiB (decoding ${decodePeakMebibytes}), text ${(milliseconds.text / 1000).toFixed(1)} s, denoise ${(milliseconds.denoise / 1000).toFixed(1)} s, decode ${(milliseconds.decode / 1000).toFixed(1)} s`,
);
