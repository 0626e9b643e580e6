// What the command line understands, says and refuses; runs of the real model are in the story tests.
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type GenerateArguments, parseArguments, parseInterval, parseSize } from '../src/cli/arguments.ts';
import { announce } from '../src/cli/generate.ts';
import { main } from '../src/cli/main.ts';
import { formatBytes, formatDuration, formatProgress, formatSummary } from '../src/cli/progress.ts';
import { editDistance, namedSubject, nearestPrompts, outputName } from '../src/cli/prompts.ts';
import { linesOn } from '../src/cli/terminal.ts';
import { formatVocabulary } from '../src/cli/vocabulary.ts';

const parse = (...words: string[]) => parseArguments(words, '1.2.3');
const generated = (...words: string[]) => parse(...words) as GenerateArguments;

describe('parseArguments', () => {
  it('takes a bare prompt and leaves every default to the model', () => {
    expect(parse('a red car')).toMatchObject({
      command: 'generate',
      prompt: 'a red car',
      sampling: {},
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
      '--model m --vae v.safetensors --method adaspa --sparsity 0.8 --runtime onnxruntime-web --preview p.png --json --yes -o out.mp4';
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
      method: 'adaspa',
      sparsity: 0.8,
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
    [['x', '--sparsity', '0.5'], '--sparsity 0.5 needs --method adaspa or --method psa.'],
    [['x', '--method', 'dense', '--sparsity', '0.5'], 'psa, not dense.'],
    [['x', '--size', '64x64', '-W', '64'], 'Give either --size or --width and --height, not both.'],
    [['x', '--method', 'fast'], /'fast' is invalid\. Allowed choices are dense, adaspa, psa; see zoetrope --help\.$/],
    [['x', '--stesp', '4'], /^Unknown option '--stesp' \(Did you mean --steps\?\); see zoetrope --help\.$/],
    [['x', '-o'], /^Option '-o, --output <file>' argument missing/],
    [['--steps', '4'], 'The prompt is missing'],
    [['  '], 'The prompt is missing'],
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

describe('prompts', () => {
  const known = [
    'a rocket flying up over a night sky',
    'a black cat walking to the right in a meadow',
    'a red car driving to the left on a city street',
  ];

  it('finds the nearest known prompts by words and typing errors', () => {
    expect(nearestPrompts('a kitten and a black catt', known, 1)).toEqual([known[1]]);
    expect(nearestPrompts('rokcet', known, 2)[0]).toBe(known[0]);
    expect(nearestPrompts('a truck in the city', known)[0]).toBe(known[2]);
    expect(nearestPrompts('something else', known)).toHaveLength(3);
  });

  it('sees a subject only as whole words, singular or plural', () => {
    expect(namedSubject('Two red cars at night', ['rocket', 'red car'])).toBe('red car');
    expect(namedSubject('a T-Rex!', ['t-rex'])).toBe('t-rex');
    expect(namedSubject('a carpet that is red', ['red car', 'car'])).toBeUndefined();
    expect(namedSubject('', ['car'])).toBeUndefined();
  });

  it('names the file after the prompt and never takes a name twice', () => {
    const free = () => false;
    expect(outputName('A rocket flying!', free)).toBe('rocket-flying.mp4');
    expect(outputName('a rocket flying up over a night sky', free)).toBe('rocket-flying-up.mp4');
    expect(outputName('../../etc/passwd', free)).toBe('etc-passwd.mp4');
    expect(outputName('красная машина', free)).toBe('красная-машина.mp4');
    expect(outputName('!?', free)).toBe('video.mp4');
    const there = new Set(['rocket-flying.mp4', 'rocket-flying-2.mp4']);
    expect(outputName('a rocket flying', (name) => there.has(name))).toBe('rocket-flying-3.mp4');
  });

  it('measures edits', () => {
    expect([editDistance('kitten', 'sitting'), editDistance('', 'ab'), editDistance('same', 'same')]).toEqual([3, 2, 0]);
  });
});

describe('what is said', () => {
  it('writes durations and sizes', () => {
    expect([0.04, 9.94, 9.96, 42.4, 59.7, 185, 3599.6, 7830].map(formatDuration)).toEqual([
      '0.0 s',
      '9.9 s',
      '10 s',
      '42 s',
      '1 min 0 s',
      '3 min 5 s',
      '1 h 0 min',
      '2 h 11 min',
    ]);
    expect([0, 512, 14200, 1.5e9].map(formatBytes)).toEqual(['0 B', '512 B', '14.2 kB', '1.5 GB']);
  });

  it('draws progress', () => {
    const progress = { done: 5, steps: 20, stepMilliseconds: 1200, elapsedMilliseconds: 8000, density: 0.314 };
    expect(formatProgress(progress)).toBe('step  5/20  1.2 s  density 0.31  24 s left');
    expect(formatProgress(progress, 12)).toBe('[==>         ] step  5/20  1.2 s  density 0.31  24 s left');
    expect(formatProgress({ ...progress, done: 20 }, 4)).toBe('[====] step 20/20  1.2 s  density 0.31  0.0 s left');
  });

  it('sums up, with the way to a faster runtime last', () => {
    const saved = { path: '/v/car.mp4', frames: 33, bytes: 145_000, milliseconds: 210 };
    const milliseconds = { text: 100, denoise: 24_400, decode: 1040 };
    const report = { seed: 42, runtime: 'onnxruntime-web', method: 'adaspa', milliseconds, meanDensity: 0.31, steps: 24, tokens: 2304 };
    const lines = formatSummary(
      saved,
      report as never,
      '256x256, 12 fps',
      'onnxruntime-web 1.30.0',
      'Faster: npm install onnxruntime-node',
    );
    expect(lines).toEqual([
      '/v/car.mp4: 33 frames, 256x256, 12 fps, 145.0 kB, seed 42',
      'text 0.1 s, denoise 24 s (24 steps, adaspa, mean density 0.31), decode 1.0 s, encode 0.2 s; onnxruntime-web 1.30.0',
      'Faster: npm install onnxruntime-node',
    ]);
  });

  it('draws over one line on a screen, and writes plain lines elsewhere', () => {
    let text = '';
    const terminal = { out: () => {}, err: (part: string) => (text += part), isScreen: true, columns: 10 };
    const screen = linesOn(terminal);
    screen.show('0123456789abc');
    screen.note('done');
    expect(text).toBe('\r\x1b[2K012345678\r\x1b[2Kdone\n');
    text = '';
    const plain = linesOn({ ...terminal, isScreen: false });
    plain.show('0123456789abc');
    plain.clear();
    expect(text).toBe('0123456789abc\n');
  });

  it('wants --yes for more than an hour', () => {
    const said: string[] = [];
    const lines = linesOn({ out: () => {}, err: (part) => said.push(part), isScreen: false, columns: 80 });
    const size = { width: 832, height: 480, numFrames: 81, numInferenceSteps: 50 };
    const cost = { seconds: 7200, bytes: 6e9, tokens: 32760 };
    expect(() => announce(cost, size, false, lines)).toThrow(
      /^832x480, 81 frames, 50 steps, 32,760 tokens will take about 2 h 0 min and 6\.0 GB of memory: add --yes/,
    );
    expect(said).toEqual([]);
    announce(cost, size, true, lines);
    announce({ ...cost, seconds: 3599, bytes: 1 }, size, false, lines);
    expect(said[0]).toBe('832x480, 81 frames, 50 steps, 32,760 tokens: about 2 h 0 min and 6.0 GB of memory.\n');
  });

  it('lists a vocabulary', () => {
    const text = formatVocabulary({
      subjects: ['rocket', 'red car'],
      scenes: ['space'],
      motions: ['left'],
      sizes: ['big'],
      prompts: ['a rocket'],
    });
    expect(text.split('\n')).toEqual([
      'Subjects: rocket, red car',
      'Scenes: space',
      'Motions: left',
      'Sizes: big',
      'Prompts:',
      '  zoetrope "a rocket"',
    ]);
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
    expect(JSON.parse(spoken.out).error).toContain('clip.avi');
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
