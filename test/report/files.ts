// Files that reports are made of, as benches and inspections write them: small, with figures that can be checked by hand.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VideoCase } from '../../src/bench/video/case.ts';

export const write = (folder: string, name: string, value: unknown): string => {
  const file = join(folder, name);
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
  return file;
};
export const fixed = { date: '2026-11-24', version: '0.1.0' };
export const cpu = { processor: 'A Processor', cores: 2, platform: 'linux x64' };
export const timed = (id: string, median: number, more: object = {}) => ({
  id,
  milliseconds: { median, best: median, low: median, high: median, runs: 3 },
  ...more,
});
export const RED = 'data:image/gif;base64,R0lGODlhAQABAIAAAP8AAAAAACwAAAAAAQABAAACAkQBADs=';
export const BLUE = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAA/wAAACwAAAAAAQABAAACAkQBADs=';

/** A prompt that would end the data, were it not written with care. */
export const PROMPT = 'a red car </script><b>bold</b>';
function videoFile(folder: string): string {
  const steps = { milliseconds: [900, 400], density: [1, 0.2], error: [0, 0.1] };
  const one = (contender: string, denoise: number, more: object): VideoCase => ({
    ...{
      id: `${contender}/${PROMPT}/seed 1`,
      contender,
      prompt: PROMPT,
      seed: 1,
      density: contender === 'dense' ? 1 : 0.4,
      warmUp: 0.2,
      cached: 0,
    },
    ...{ seconds: { text: 0.1, denoise, decode: 0.2 }, steps, frames: [RED, BLUE], ...more },
  });
  const denseSeconds = { text: 0.1, denoise: 4, decode: 0.2 };
  const near = (latentError: number) => ({ denseSeconds, nearness: { latentError, psnr: 30, ssim: 0.9, gmsd: 0.1 } });
  const plans = {
    densityByLayer: [
      [1, 1],
      [0.2, 0.3],
    ],
    densityByHead: [
      [0.6, 0.6],
      [0.5, 0.7],
    ],
    recall: [],
  };
  const cases = [
    one('dense', 4, {}),
    one('fast', 1, near(0.3)),
    one('near', 2, near(0.1)),
    one('poor', 3, near(0.4)),
    one('dense, 1 step more', 5, near(0.05)),
  ];
  const contenders = cases.map(({ contender: label }) => ({
    label,
    method: label,
    role: label === 'dense' ? 'dense' : label.includes('step') ? 'floor' : 'contender',
  }));
  return write(folder, 'video.json', {
    ...{ bench: 'video', ...fixed, machine: cpu, options: { width: 64, height: 64, numFrames: 5, numInferenceSteps: 2 } },
    ...{ device: { name: 'cpu', dtype: 'f32', reason: '' }, runtime: 'onnxruntime-node', embedded: true, contenders, summary: [] },
    cases: [...cases, { id: 'plans', contender: 'fast', prompt: PROMPT, seed: 1, plans }],
  });
}

const attentionFile = (folder: string, name: string, gpu: string, rates: readonly [string, number, number][]): string =>
  write(folder, name, {
    ...{ bench: 'attention', ...fixed, machine: { ...cpu, gpu }, options: {} },
    cases: rates.map(([work, density, teraflops]) => timed(`shape/webgpu f16/${work}`, 5, { density, teraflops })),
  });

function inspection(folder: string): string {
  const place = join(folder, 'plans');
  mkdirSync(place);
  writeFileSync(join(place, 'map.gif'), Buffer.from(RED.split(',')[1], 'base64'));
  const head = { density: 0.5, read: 0.9, full: 0.8, map: 'map.gif' };
  const plan = {
    step: 1,
    layer: 0,
    phase: 'search',
    isRead: true,
    layout: 'raster(64)',
    blocks: 4,
    keyBlocks: 4,
    pools: [1, 2],
    queryBlock: 1,
    heads: [head],
  };
  const calls = [0, 1].map((step) => ({ step, layer: 0, phase: step === 0 ? 'dense' : 'search', density: [step === 0 ? 1 : 0.5] }));
  writeFileSync(
    join(place, 'inspection.json'),
    JSON.stringify({
      ...{
        inspect: 'run',
        prompt: 'a kite',
        method: 'sparse',
        seed: 1,
        width: 64,
        height: 64,
        numFrames: 5,
        steps: 2,
        layers: 1,
        heads: 1,
        meanDensity: 0.75,
      },
      ...{ grid: { frames: 2, height: 4, width: 4, text: 0 }, calls, plans: [plan] },
    }),
  );
  return place;
}

/** One of each kind, written to a folder: videos, an inspection, attention of one GPU by two names, a step, a run. */
export const reportFiles = (folder: string): string[] => [
  ...[videoFile(folder), inspection(folder)],
  attentionFile(folder, 'ours.json', 'acme-tower-5', [
    ['zoetrope matrix/dense', 1, 200],
    ['zoetrope matrix/blocks 0.2', 0.2, 180],
  ]),
  attentionFile(folder, 'theirs.json', 'ACME Tower 5', [['pytorch sdpa/dense', 1, 500]]),
  write(folder, 'step.json', {
    ...{ bench: 'step', ...fixed, machine: cpu, options: {} },
    cases: [timed('a model/cpu/dense', 1500), { id: 'a model/cpu/x', skipped: 'no' }],
  }),
  write(folder, 'run.json', {
    ...{ bench: 'run', ...fixed, machine: cpu, options: {} },
    cases: [timed('a model/cpu/sparse/3 steps', 6000, { stepSeconds: [3, 2, 1] })],
  }),
];
