// What the command line understands and refuses, before any model is loaded.
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseArguments } from '../src/cli/arguments.ts';
import type { BenchArguments } from '../src/cli/bench-arguments.ts';
import type { GenerateArguments } from '../src/cli/generate-arguments.ts';
import { main } from '../src/cli/main.ts';
import { parseInterval, parseSize } from '../src/cli/values.ts';

const parse = (...words: string[]) => parseArguments(words, '1.2.3');
const generated = (...words: string[]) => parse(...words) as GenerateArguments;

describe('parseArguments', () => {
  it('takes a bare prompt and leaves every default to the model', () => {
    expect(parse('a red car')).toMatchObject({
      command: 'generate',
      prompt: 'a red car',
      sampling: {},
      device: 'cpu',
      runtime: 'auto',
      json: false,
      yes: false,
    });
    expect(generated('a', 'red', 'car').prompt).toBe('a red car');
    expect(generated('generate', 'a red car')).toEqual(generated('a red car'));
  });

  it('takes every flag, in front of the prompt and behind it', () => {
    const words =
      '--size 832x480 --num-frames 81 --steps 30 --guidance-scale 5 --guidance-interval 0,0.6 --flow-shift 3 --fps 16 -s 7 -n blurry';
    const rest =
      '--model m --vae v.safetensors --device webgpu --dtype f16 --method adaspa --sparsity 0.8 --query-tokens 128 --runtime onnxruntime-web --preview p.png --json --yes -o out.mp4';
    const args = generated(...words.split(' '), 'a fox', ...rest.split(' '));
    expect(args.sampling).toEqual({
      width: 832,
      height: 480,
      numFrames: 81,
      numInferenceSteps: 30,
      guidanceScale: 5,
      guidanceInterval: [0, 0.6],
      flowShift: 3,
      fps: 16,
      seed: 7,
      negativePrompt: 'blurry',
    });
    const { sampling: _, ...others } = args;
    expect(others).toEqual({
      command: 'generate',
      prompt: 'a fox',
      model: 'm',
      vae: 'v.safetensors',
      device: 'webgpu',
      dtype: 'f16',
      method: 'adaspa',
      sparsity: 0.8,
      queryTokens: 128,
      runtime: 'onnxruntime-web',
      preview: 'p.png',
      json: true,
      yes: true,
      output: 'out.mp4',
    });
  });

  it('takes the spellings of other programs', () => {
    const words = 'x -W 64 -H 32 --video-frames 9 --num-inference-steps 4 --cfg-scale 2.5 --seed 4294967295'.split(' ');
    expect(generated(...words).sampling).toEqual({
      width: 64,
      height: 32,
      numFrames: 9,
      numInferenceSteps: 4,
      guidanceScale: 2.5,
      seed: 4294967295,
    });
  });

  it('reads vocab as a command only where a prompt would start', () => {
    expect(parse('vocab', '--json')).toEqual({ command: 'vocab', model: undefined, json: true });
    expect(generated('a', 'vocab').prompt).toBe('a vocab');
  });

  it('reads the benches, which have defaults of their own', () => {
    const step = parse(
      'bench',
      'step',
      '--size',
      '64x32',
      '--num-frames',
      '5',
      '--layers',
      '2',
      '--no-checks',
      '--profile',
      '--out',
      'r.json',
    );
    expect(step).toEqual({
      ...{ command: 'bench step', size: { width: 64, height: 32 }, numFrames: 5, layers: 2, method: 'adaspa', sparsity: 0.8 },
      ...{ checks: false, runs: 5, profile: true, out: 'r.json', json: false },
    });
    expect(parse('bench', 'run', '--method', 'dense', '--steps', '4', '--branches', '1', '--dtype', 'f32', '--json')).toMatchObject({
      ...{ command: 'bench run', method: 'dense', sparsity: undefined, steps: 4, branches: 1, dtype: 'f32', checks: true, json: true },
      ...{ batched: false, dense: true },
    } satisfies Partial<BenchArguments>);
    expect(parse('bench', 'attention', '--densities', '0.2', '--query-tokens', '128', '--methods', 'adaspa')).toMatchObject({
      readings: [{ name: 'blocks 0.2' }, {}, { name: 'blocks 0.2 by 128 queries', queries: 128 }, { name: 'pyramid by 128 queries' }],
      methods: [{ label: 'adaSpa 0.8' }, { label: 'adaSpa 0.8 by 128 queries', queryTokens: 128 }],
    });
    expect(parse('bench', 'methods', '--methods', 'adaspa', '--query-tokens', '128')).toMatchObject({
      methods: [{ label: 'adaSpa' }, { label: 'adaSpa by 128 queries', queryTokens: 128 }],
    });
    expect(parse('bench')).toMatchObject({ command: 'help', text: expect.stringMatching(/step [\s\S]*\n +run /) });
  });

  it('shows help with examples, and the version', () => {
    for (const words of [[], ['--help'], ['-h']]) {
      expect(parse(...words)).toMatchObject({
        command: 'help',
        text: expect.stringMatching(/--guidance-interval[\s\S]*vocab[\s\S]*Examples:/),
      });
    }
    expect(parse('--version')).toEqual({ command: 'help', text: '1.2.3\n' });
  });

  it.each([
    [['x', '--steps', '0'], 'steps is "0"; give a whole number of steps from 1 to 1000.'],
    [['x', '--steps', '2.5'], 'steps is "2.5"'],
    [['x', '--guidance-scale', 'NaN'], 'guidance-scale is "NaN"'],
    [['x', '--guidance-scale', ''], 'guidance-scale is ""'],
    [['x', '--guidance-interval', '0.6,0.2'], 'guidance-interval is "0.6,0.2"'],
    [['x', '--size', '832'], 'size is "832"; give width x height in pixels, as 832x480.'],
    [['x', '-W', '-5'], 'width is "-5"'],
    [['x', '--seed', '4294967296'], 'seed is "4294967296"'],
    [['x', '--fps', 'Infinity'], 'fps is "Infinity"'],
    [['x', '--flow-shift', '0'], 'flow-shift is "0"'],
    [['x', '--method', 'psa', '--sparsity', '1'], 'sparsity is "1"; give a share from 0 to below 1.'],
    [['x', '--cache', '0'], 'cache is "0"; give a number above 0, up to 10.'],
    [['x', '--quality', '30'], '--quality 30 needs --method auto, which chooses by it.'],
    [['x', '--method', 'auto', '--sparsity', '0.5'], '--method auto chooses the sparsity; leave out --sparsity 0.5.'],
    [['x', '--method', 'psa', '--query-tokens', '0'], 'query-tokens is "0"; give a whole number of tokens from 1 to 65536.'],
    [['x', '--query-tokens', '128'], '--query-tokens 128 needs a --method that leaves something out; name one, such as adaspa.'],
    [['bench', 'run', '--method', 'dense', '--query-tokens', '128'], '--query-tokens 128 needs a --method that leaves something out'],
    [['x', '--method', 'auto', '--query-tokens', '128'], '--method auto takes methods as they are; leave out --query-tokens 128.'],
    [['bench', 'step', '--method', 'auto'], /^--method auto is for making a video, /],
    [['x', '--sparsity', '0.5'], /^--sparsity 0\.5 needs a --method that takes one \(adaSpa, .*\)\.$/],
    [['x', '--method', 'dense', '--sparsity', '0.5'], /exactRest\), not dense\.$/],
    [['x', '--size', '64x64', '-W', '64'], 'Give either --size or --width and --height, not both.'],
    [['x', '--method', 'adasap'], /^there is no method "adasap"; the nearest are adaSpa, .* and .*$/],
    [['x', '--method', 'exact'], 'the nearest are exactRest, '],
    [['x', '--stesp', '4'], /^Unknown option '--stesp' \(Did you mean --steps\?\); see zoetrope --help\.$/],
    [['x', '-o'], /^Option '-o, --output <file>' argument missing/],
    [['--steps', '4'], 'The prompt is missing'],
    [['  '], 'The prompt is missing'],
    [['x', '--device', 'tpu'], /'tpu' is invalid\. Allowed choices are cpu, webgpu, auto; see zoetrope --help\.$/],
    [['x', '--dtype', 'bf16'], /'bf16' is invalid\. Allowed choices are f32, f16; see/],
    [['x', '--dtype', 'f16'], '--dtype f16 needs --device webgpu; the CPU computes in f32.'],
    [['bench', 'walk'], /^Unknown command 'walk'/],
    [['bench', 'run', '--branches', '3'], 'branches is "3"; give a whole number of branches from 1 to 2.'],
    [['bench', 'step', '--method', 'dense', '--sparsity', '0.5'], /, not dense\.$/],
    [['bench', 'step', '--size', '8'], 'size is "8"'],
    [['vocab', 'extra'], /^Too many arguments for 'vocab'/],
  ])('refuses %j', (words, message) => {
    expect(() => parse(...words)).toThrow(message);
  });

  it('reads sizes and intervals', () => {
    for (const text of ['832x480', '832*480', '832X480', ' 832×480 ']) expect(parseSize(text)).toEqual({ width: 832, height: 480 });
    for (const text of ['0x4', 'x', '8x', '8.5x4', '8x4x2']) expect(() => parseSize(text)).toThrow(RangeError);
    expect(parseInterval('0:1')).toEqual([0, 1]);
    for (const text of ['0', '0,', ',1', '0,1.1', '-1,1', '0,0.5,1', 'a,b']) expect(() => parseInterval(text)).toThrow(RangeError);
  });
});

describe('main', () => {
  const spoken = { out: '', err: '' };
  const terminal = {
    out: (text: string) => {
      spoken.out += text;
    },
    err: (text: string) => {
      spoken.err += text;
    },
    isScreen: false,
    columns: 80,
  };
  const run = (...words: string[]) => main(words, terminal, new AbortController().signal);
  afterEach(() => {
    spoken.out = spoken.err = '';
    delete process.env.ZOETROPE_DEBUG;
  });

  it('prints help and version on stdout', async () => {
    expect(await run('--help')).toBe(0);
    expect(spoken.out).toContain('Usage: zoetrope [options] "<prompt>"');
    spoken.out = '';
    expect(await run('--version')).toBe(0);
    expect(spoken.out).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(spoken.err).toBe('');
  });

  it('says one sentence about a mistake, and the stack only when asked', async () => {
    expect(await run('x', '--steps', '0')).toBe(1);
    expect(spoken).toEqual({ out: '', err: 'Error: steps is "0"; give a whole number of steps from 1 to 1000.\n' });
    spoken.err = '';
    process.env.ZOETROPE_DEBUG = '1';
    expect(await run('x', '--steps', '0')).toBe(1);
    expect(spoken.err).toMatch(/\n\s+at .*arguments\.ts/);
  });

  it('with --json prints one object, also about a mistake', async () => {
    expect(await run('x', '--json', '-o', 'clip.avi')).toBe(1);
    expect(JSON.parse(spoken.out).error).toMatch(/^A video cannot be written to "clip\.avi"/);
  });

  it('refuses a place it cannot write to before it loads a model', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cli-'));
    expect(await run('x', '--model', '/nowhere', '-o', join(folder, 'no', 'x.mp4'))).toBe(1);
    expect(spoken.err).toContain(`The folder "${join(folder, 'no')}" does not exist`);
    spoken.err = '';
    expect(await run('x', '--model', '/nowhere', '-o', join(folder, 'x.mp4'), '--preview', join(folder, 'p.bmp'))).toBe(1);
    expect(spoken.err).toContain('p.bmp');
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
    expect(existsSync('x.mp4')).toBe(false);
  });
});
