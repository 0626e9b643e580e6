// Text encoder and decoders on a GPU (decoders by this project's kernels and by onnxruntime-webgpu) against the CPU (onnxruntime-node), in one process: the embedded model, and with random
// weights two blocks of Wan's text encoder, TAEHV and Wan 2.1's VAE at 480 x 832.
//   node dist/bench/decode-gpu.js [--cases text,mini,taehv,wan,wan-whole,umt5] [--runs 3] [--seconds 80] [--runtimes zoetrope,onnxruntime-webgpu,onnxruntime-node] [--out FILE]
// --unchecked is without validation and bounds checks. The first run makes sessions and shaders. A run that the seconds do not last for is cut between frames and says how many it had made.
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CpuDevice, openCpu } from '../src/backend/cpu.ts';
import type { RuntimeName } from '../src/backend/runtime.ts';
import { openWebgpu } from '../src/backend/webgpu/device.ts';
import { randomTensors, seeded, weightsOf } from '../src/bench/random.ts';
import { type Case, writeResult } from '../src/bench/results.ts';
import { spreadOf } from '../src/bench/spread.ts';
import { gpuExecutor } from '../src/dit/webgpu/executor.ts';
import { embeddedModel } from '../src/embedded-model.ts';
import { elements } from '../src/tensor.ts';
import { loadTextEncoder, readT5Config, type TextEncoder, t5Encoder, textEncoder } from '../src/text/encoder.ts';
import { decoderPrograms, loadVae, type VideoDecoder } from '../src/vae/index.ts';
import { type DecoderPlace, gpuPlace, runtimePlace } from '../src/vae/place.ts';
import { type StagedDecoder, streamedDecoder } from '../src/vae/stream.ts';
import { detectTaehv, RUN_BYTES, taehvDecoder } from '../src/vae/taehv.ts';
import { STRIP_BYTES, wanDecoder } from '../src/vae/wan.ts';
import { readWanVaeConfig } from '../src/vae/wan-config.ts';
import { gpuName, resultFile } from './machine.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: 'text,mini,taehv,wan,wan-whole,umt5' },
    runtimes: { type: 'string', default: 'zoetrope,onnxruntime-webgpu,onnxruntime-node' },
    runs: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '80' },
    unchecked: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const end = performance.now() + 1000 * Number(values.seconds);
const left = (): number => end - performance.now();
/** Milliseconds that the runs of one case on one runtime may take. */
const SHARE = (1000 * Number(values.seconds)) / 8;

/** What a run gave: numbers to compare, and frames made of those asked for. */
interface Result {
  readonly sample: Float32Array;
  readonly frames?: number;
}

interface Loaded {
  run(signal: AbortSignal): Promise<Result>;
  dispose(): Promise<void>;
}

interface Work {
  readonly group: string;
  readonly name: string;
  readonly frames?: number;
  /** Undefined for what has no kernels of this project. */
  load(place: DecoderPlace, device: CpuDevice | undefined): Promise<Loaded> | undefined;
}

const latentsOf = (shape: readonly number[]): Float32Array => {
  const uniform = seeded(1);
  return Float32Array.from({ length: elements(shape) }, () => 3.4 * (uniform() - 0.5));
};

/** Decodes F latent frames; the last frames that were made are what is compared. */
function decoding(decoder: VideoDecoder, latentFrames: number, height: number, width: number): Loaded {
  const shape = [decoder.channels, latentFrames, height / decoder.spatial, width / decoder.spatial];
  const latents = latentsOf(shape);
  return {
    async run(signal) {
      let frames = 0;
      let sample: Float32Array = new Float32Array();
      try {
        for await (const piece of decoder.decode(latents, shape, { signal })) {
          frames += piece.frames;
          sample = piece.data;
        }
      } catch (error) {
        if (!signal.aborted) throw error;
      }
      return { sample, frames };
    },
    dispose: () => decoder.dispose(),
  };
}

const model = embeddedModel();
const wan = readWanVaeConfig({});
const random = (decoder: StagedDecoder) => randomTensors(weightsOf(...decoderPrograms(decoder)));

/** Shapes of taew2_1. */
function taehvShapes(): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>([
    ['decoder.1.weight', [256, 16, 3, 3]],
    ['decoder.1.bias', [256]],
    ['decoder.22.weight', [3, 64, 3, 3]],
    ['decoder.22.bias', [3]],
  ]);
  for (const [part, [width, grown, next]] of [
    [256, 256, 128],
    [128, 256, 64],
    [64, 128, 64],
  ].entries()) {
    const first = 3 + 6 * part;
    for (let block = first; block < first + 3; block++)
      for (const [conv, inputs] of [
        [0, 2 * width],
        [2, width],
        [4, width],
      ]) {
        shapes.set(`decoder.${block}.conv.${conv}.weight`, [width, inputs, 3, 3]);
        shapes.set(`decoder.${block}.conv.${conv}.bias`, [width]);
      }
    shapes.set(`decoder.${first + 4}.conv.weight`, [grown, width, 1, 1]);
    shapes.set(`decoder.${first + 5}.weight`, [next, width, 3, 3]);
  }
  return shapes;
}

function taehv(place: DecoderPlace): VideoDecoder {
  const weights = randomTensors(taehvShapes());
  return streamedDecoder(taehvDecoder(detectTaehv(weights), weights, RUN_BYTES[place.name]), weights, place);
}

function encoding(encoder: TextEncoder): Loaded {
  const ids = Array.from({ length: 24 }, (_, at) => 5 + 31 * at);
  return { run: async () => ({ sample: await encoder.encode(ids) }), dispose: () => encoder.dispose() };
}

/** UMT5-XXL, but for its depth and its vocabulary. */
const wanText = readT5Config({
  architectures: ['UMT5EncoderModel'],
  d_model: 4096,
  d_kv: 64,
  d_ff: 10240,
  num_layers: 2,
  num_heads: 64,
  vocab_size: 1024,
  feed_forward_proj: 'gated-gelu',
});

const wanTextShapes = (): Map<string, readonly number[]> =>
  new Map([
    ...weightsOf(t5Encoder(wanText, 1)),
    ['shared.weight', [1024, 4096]],
    ...[0, 1].map((layer) => [`encoder.block.${layer}.layer.0.SelfAttention.relative_attention_bias.weight`, [32, 64]] as const),
  ]);

const CASES: readonly Work[] = [
  {
    group: 'text',
    name: 'embedded text encoder, 24 tokens',
    load: (_place, device) => device && loadTextEncoder(join(model, 'text_encoder'), device).then(encoding),
  },
  ...(
    [
      [9, 256],
      [13, 320],
    ] as const
  ).map(
    ([latentFrames, size]): Work => ({
      group: 'mini',
      name: `embedded decoder, ${4 * latentFrames - 3} frames ${size} x ${size}`,
      frames: 4 * latentFrames - 3,
      load: async (place) => decoding(await loadVae(join(model, 'vae'), place), latentFrames, size, size),
    }),
  ),
  {
    group: 'taehv',
    name: 'TAEHV, 33 frames 480 x 832',
    frames: 33,
    load: async (place) => decoding(taehv(place), 9, 480, 832),
  },
  ...(
    [
      ['in strips', undefined],
      ['whole', Number.POSITIVE_INFINITY],
    ] as const
  ).map(
    ([how, stripBytes]): Work => ({
      group: how === 'whole' ? 'wan-whole' : 'wan',
      name: `Wan 2.1 VAE ${how}, 5 frames 480 x 832`,
      frames: 5,
      async load(place) {
        const decoder = wanDecoder(wan, stripBytes ?? STRIP_BYTES[place.name]);
        return decoding(streamedDecoder(decoder, random(decoder), place), 2, 480, 832);
      },
    }),
  ),
  {
    group: 'umt5',
    name: "2 of 24 blocks of Wan's text encoder, 24 tokens",
    load: (_place, device) => device && Promise.resolve(encoding(textEncoder(wanText, randomTensors(wanTextShapes()), device))),
  },
];

const samples = new Map<string, Float32Array>();

/** Largest difference from what the other runtime gave, over the largest number there. */
function difference(name: string, sample: Float32Array): number | undefined {
  const other = samples.get(name);
  samples.set(name, sample);
  if (other?.length !== sample.length || sample.length === 0) return undefined;
  let [most, largest] = [0, 0];
  for (let i = 0; i < sample.length; i++) {
    most = Math.max(most, Math.abs(sample[i] - other[i]));
    largest = Math.max(largest, Math.abs(other[i]));
  }
  return most / largest;
}

interface Decoded extends Case {
  /** Of the run that makes sessions and shaders. */
  readonly firstMilliseconds?: number;
  /** The largest difference from what the other runtime gave, by the largest number. */
  readonly difference?: number;
  readonly framesMade?: number;
  readonly gpuBytes?: number;
}

/** A run of which the time is not that of the whole work does not count. */
async function measure({ name, frames, load }: Work, place: DecoderPlace, device?: CpuDevice): Promise<Omit<Decoded, 'id'>> {
  // What gives no frames cannot be cut.
  if (!frames && left() < SHARE) return { failed: 'no time left' };
  const milliseconds: number[] = [];
  const loaded = await load(place, device);
  if (!loaded) return { failed: 'this project has no kernels for it' };
  let result: Result | undefined;
  try {
    const until = performance.now() + Math.min(left(), SHARE);
    while (milliseconds.length < Number(values.runs) && until - performance.now() > (milliseconds.at(-1) ?? 500)) {
      const start = performance.now();
      result = await loaded.run(AbortSignal.timeout(Math.floor(until - start)));
      milliseconds.push(performance.now() - start);
    }
  } finally {
    await loaded.dispose();
  }
  if (!result) return { failed: 'no time left' };
  const [firstMilliseconds, ...later] = milliseconds;
  const about = { firstMilliseconds, difference: difference(name, result.sample) };
  if (result.frames === frames) return { ...about, milliseconds: spreadOf(later.length > 0 ? later : milliseconds) };
  const failed = `it was cut after ${result.frames} frames in ${Math.round(milliseconds.at(-1)!)} ms`;
  return { ...about, framesMade: result.frames, failed };
}

async function ownPlace(): Promise<DecoderPlace> {
  if (!gpu) throw new Error('there is no GPU');
  const own = { gpu, f32: await gpuExecutor(gpu, { dtype: 'f32' }) };
  return gpuPlace(() => own);
}

const cases: Decoded[] = [];
const groups = values.cases.split(',');
const runtimes = values.runtimes.split(',') as ('zoetrope' | RuntimeName)[];
const gpu = await openWebgpu({ checked: !values.unchecked }).catch((error: Error) => {
  console.log(error.message);
  return undefined;
});
const { vendor = '', architecture = '', description = 'no GPU' } = gpu?.adapter ?? {};
console.log(`${description} (${vendor} ${architecture}), ${cpus().length} cores`);
const shown = (milliseconds?: number): string => (milliseconds?.toFixed(1) ?? '').padStart(10);
for (const one of CASES.filter(({ group }) => groups.includes(group)))
  for (const runtime of runtimes) {
    let measured: Omit<Decoded, 'id'>;
    try {
      if (runtime === 'zoetrope') measured = await measure(one, await ownPlace());
      else {
        const device = await openCpu(runtime, gpu);
        measured = await measure(one, runtimePlace(device), device);
        await device.dispose();
      }
    } catch (error) {
      measured = { failed: (error as Error).message.split('\n')[0] };
    }
    cases.push({ id: `${one.name}/${runtime}/decode`, ...measured, gpuBytes: gpu?.memory.peakBytes });
    const { firstMilliseconds, milliseconds, failed, difference } = measured;
    const rest = failed ?? (difference === undefined ? '' : `difference ${difference.toExponential(1)}`);
    console.log(
      `${one.name.padEnd(44)} ${runtime.padEnd(19)} first ${shown(firstMilliseconds)} ms  best ${shown(milliseconds?.best)} ms  ${rest}`,
    );
    gpu?.trim();
  }
const options = { unchecked: values.unchecked, adapter: { vendor, architecture, description } };
if (values.out) await writeResult(values.out, resultFile('decode', options, cases, gpu && gpuName(gpu.adapter)));
gpu?.dispose();
process.exit(0);
