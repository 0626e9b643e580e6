// The demo as users run it: prompt to mp4 on the embedded model, each method in the same process, several rounds in turn.
// node dist/bench/demo.js [--runtime onnxruntime-node|onnxruntime-web] [--rounds 2] [--steps 24] [--methods dense,adaspa,psa]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadRuntime, type RuntimeName } from '../src/backend/runtime.ts';
import { writeResult } from '../src/bench/results.ts';
import { spreadOf } from '../src/bench/spread.ts';
import { adaSpa, dense, pyramidSparse } from '../src/methods.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { saveVideo } from '../src/video/file.ts';
import { matmulRate, resultFile, resultPath } from './machine.ts';

const { values } = parseArgs({
  options: {
    runtime: { type: 'string', default: 'onnxruntime-node' },
    rounds: { type: 'string', default: '2' },
    steps: { type: 'string' },
    size: { type: 'string' },
    frames: { type: 'string' },
    methods: { type: 'string', default: 'dense,adaspa,psa' },
  },
});
const METHODS = { dense, adaspa: () => adaSpa({ sparsity: 0.8 }), psa: () => pyramidSparse() };
const prompt = 'a rocket flying up over a night sky';
const matmulGflops = await matmulRate(await loadRuntime(values.runtime as RuntimeName));
console.log(`${values.runtime}: matrix product at ${matmulGflops} GFLOP/s`);
const folder = mkdtempSync(join(tmpdir(), 'zoetrope-demo-'));
interface Row {
  readonly method: string;
  readonly seconds: number;
  /** Seconds of the parts. */
  readonly text: number;
  readonly denoise: number;
  readonly decode: number;
  readonly density: number;
  readonly tokens: number;
  readonly steps: number;
}
const rows: Row[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const name of (values.methods as string).split(',') as (keyof typeof METHODS)[]) {
    const start = performance.now();
    const pipe = await TextToVideoPipeline.fromPretrained(undefined, { runtime: values.runtime as RuntimeName });
    const side = values.size ? { height: Number(values.size), width: Number(values.size) } : {};
    const video = pipe(prompt, {
      seed: 42,
      attention: METHODS[name](),
      ...(values.steps && { numInferenceSteps: Number(values.steps) }),
      ...(values.frames && { numFrames: Number(values.frames) }),
      ...side,
    });
    await saveVideo(video, join(folder, `${name}.mp4`));
    const seconds = (performance.now() - start) / 1000;
    const report = await video.report;
    await pipe.dispose();
    const { text, denoise, decode } = report.milliseconds;
    rows.push({
      method: name,
      seconds,
      text: text / 1000,
      denoise: denoise / 1000,
      decode: decode / 1000,
      density: report.meanDensity,
      tokens: report.tokens,
      steps: report.steps,
    });
    console.log(
      `${name}: ${seconds.toFixed(1)} s (denoise ${(denoise / 1000).toFixed(1)} s, decode ${(decode / 1000).toFixed(1)} s), density ${report.meanDensity.toFixed(2)}`,
    );
  }
}
rmSync(folder, { recursive: true });
const [{ tokens, steps }] = rows;
const group = `${tokens} tokens/${values.runtime} f32`;
const cases = (values.methods as string).split(',').map((name) => {
  const own = rows.filter(({ method }) => method === name);
  const rounds = own.map(({ seconds, text, denoise, decode }) => ({ seconds, text, denoise, decode }));
  const milliseconds = spreadOf(own.map(({ seconds }) => 1000 * seconds));
  return { id: `${group}/zoetrope ${name}/prompt to mp4`, tokens, steps, milliseconds, density: own[0].density, rounds };
});
const options = {
  ...{ what: 'prompt to mp4, embedded model, model loading included', prompt, runtime: values.runtime, rounds: Number(values.rounds) },
};
const product = { id: `${values.runtime} f32/matrix product of 1024`, gigaflops: matmulGflops };
const path = resultPath(`demo-${values.runtime}-${tokens}`);
await writeResult(path, resultFile('demo', options, [product, ...cases]));
console.log(path);
