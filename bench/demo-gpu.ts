// The embedded model on the GPU: prompt to decoded frames, by size and method, the first run by part (it compiles kernels) and the best of three more.
//   node dist/bench/demo-gpu.js [--runtime onnxruntime-node|onnxruntime-webgpu] [--dtype f16] [--at-launch] [--out FILE]
// --at-launch compiles each kernel at its first launch, to see what compiling ahead saves. Drivers keep what they compiled on disk: those two are
// compared without that, for NVIDIA by __GL_SHADER_DISK_CACHE=0.
import { parseArgs } from 'node:util';
import type { RuntimeName } from '../src/backend/runtime.ts';
import { type Case, writeResult } from '../src/bench/results.ts';
import { spreadOf } from '../src/bench/spread.ts';
import type { Method } from '../src/method.ts';
import { adaSpa, dense, pyramidSparse } from '../src/methods.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { resultFile } from './machine.ts';
import { watchGpus } from './watched-gpu.ts';

const { values } = parseArgs({
  options: {
    runtime: { type: 'string' },
    dtype: { type: 'string', default: 'f16' },
    'at-launch': { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const SIZES = [
  { width: 256, height: 256, numFrames: 33 },
  { width: 320, height: 320, numFrames: 49 },
  { width: 512, height: 512, numFrames: 65 },
];
const PROMPT = 'a rocket flying up over a night sky';
const RUNS = 4;

const pipe = await TextToVideoPipeline.fromPretrained(undefined, {
  device: 'webgpu',
  dtype: values.dtype as 'f16' | 'f32',
  ...(values.runtime && { runtime: values.runtime as RuntimeName }),
});
const watch = watchGpus(values['at-launch']);

async function once(attention: Method, size: (typeof SIZES)[number]) {
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  const asked = watch();
  const at = { firstStep: 0, steps: 0 };
  const onStep = ({ step }: { readonly step: number }) => {
    at.steps = since();
    if (step === 0) at.firstStep = at.steps;
  };
  const video = pipe(PROMPT, { ...size, attention, seed: 42, onStep });
  let frames = 0;
  for await (const _ of video) frames++;
  const { milliseconds, meanDensity, steps, tokens } = await video.report;
  return { seconds: since(), at, asked, frames, steps, tokens, density: meanDensity, milliseconds };
}

/** Where the time of a first run goes. */
function partsOf({ seconds, at, asked, milliseconds }: Awaited<ReturnType<typeof once>>): string {
  const s = (value: number) => `${value.toFixed(2)} s`;
  return [
    `  first: text ${s(milliseconds.text / 1000)}; ${(asked.bytes / 1e6).toFixed(1)} MB written, large ones by ${s(asked.writtenAt)}`,
    `${asked.ahead} pipelines compiled ahead and ${asked.atLaunch} at launch, the last by ${s(asked.compiledAt)}, each alone ${s(asked.compileSeconds)}`,
    `first step by ${s(at.firstStep)}, last by ${s(at.steps)}, frames by ${s(seconds)}`,
  ].join('; ');
}

const cases: Case[] = [];
for (const size of SIZES)
  for (const method of [dense(), adaSpa({ sparsity: 0.8 }), pyramidSparse()]) {
    const runs = [];
    for (let run = 0; run < RUNS; run++) runs.push(await once(method, size));
    const [first, ...later] = runs;
    const best = [...later].sort((a, b) => a.seconds - b.seconds)[0];
    const { steps, tokens, frames, density } = best;
    const about = {
      ...size,
      tokens,
      steps,
      frames,
      density,
      firstSeconds: first.seconds,
      firstAt: first.at,
      firstAsked: first.asked,
      rounds: later.map((one) => one.milliseconds),
    };
    const milliseconds = spreadOf(later.map(({ seconds }) => 1000 * seconds));
    cases.push({ id: `${tokens} tokens/webgpu ${values.dtype}/zoetrope ${method.name}/prompt to frames`, milliseconds, ...about });
    const { text, denoise, decode } = best.milliseconds;
    console.log(
      `${size.width}x${size.height}x${size.numFrames}, ${best.tokens} tokens, ${method.name}: first ${first.seconds.toFixed(2)} s, best ${best.seconds.toFixed(2)} s`,
      `(text ${text.toFixed(0)}, denoise ${denoise.toFixed(0)}, decode ${decode.toFixed(0)} ms), density ${best.density.toFixed(2)}`,
    );
    console.log(partsOf(first));
  }
const { device, runtime } = pipe;
await pipe.dispose();
if (values.out)
  await writeResult(
    values.out,
    resultFile('demo', { prompt: PROMPT, device, runtime, atLaunch: values['at-launch'] }, cases, device.adapter),
  );
process.exit(0);
