// The words of the command line: file names and known prompts, durations, progress, summaries.
import { describe, expect, it } from 'vitest';
import { announce } from '../../src/cli/generate.ts';
import { formatBytes, formatDevice, formatDuration, formatProgress, formatSummary, type Summary } from '../../src/cli/progress.ts';
import { namedSubject, nearestPrompts, outputName } from '../../src/cli/prompts.ts';
import { linesOn } from '../../src/cli/terminal.ts';
import { formatVocabulary } from '../../src/cli/vocabulary.ts';
import { editDistance } from '../../src/edit-distance.ts';

describe('prompts', () => {
  const known = [
    'a rocket flying up over a night sky',
    'a black cat walking to the right in a meadow',
    'a red car driving to the left on a city street',
  ];

  it('finds the nearest known prompts by words and typing errors', () => {
    expect(nearestPrompts('a kitten and a black catt', known, 1)).toEqual([known[1]]);
    expect(nearestPrompts('rokcet', known, 2)[0]).toBe(known[0]);
    expect(nearestPrompts('playing in the street', known)[0]).toBe(known[2]); // "playing" is not "flying"
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
    expect([
      editDistance('kitten', 'sitting'),
      editDistance('', 'ab'),
      editDistance('same', 'same'),
      editDistance('rokcet', 'rocket'),
    ]).toEqual([3, 2, 0, 1]);
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
    expect(formatProgress({ ...progress, density: 0, skipped: true })).toBe('step  5/20  1.2 s  skipped  24 s left');
    expect(formatProgress({ ...progress, done: 20 }, 4)).toBe('[====] step 20/20  1.2 s  density 0.31  0.0 s left');
  });

  it('sums up, with the way to a faster runtime last', () => {
    const file = { path: '/v/car.mp4', frames: 33, bytes: 145_000, width: 256, height: 256, fps: 12 };
    const milliseconds = { text: 100, denoise: 24_400, decode: 1040, encode: 210 };
    const runtime = { name: 'onnxruntime-web' as const, version: '1.30.0', hint: 'Faster: npm install onnxruntime-node' };
    const place = { device: 'cpu', dtype: 'f32', runtime } as const;
    const run = {
      ...file,
      ...place,
      prompt: 'a car',
      seed: 42,
      method: 'adaspa',
      milliseconds,
      meanDensity: 0.31,
      steps: 24,
      stepsSkipped: 0,
      tokens: 2304,
    };
    expect(formatSummary(run as Summary)).toEqual([
      '/v/car.mp4: 33 frames, 256x256, 12 fps, 145.0 kB, seed 42',
      'text 0.1 s, denoise 24 s (24 steps, adaspa, mean density 0.31), decode 1.0 s, encode 0.2 s; cpu (f32), onnxruntime-web 1.30.0',
      'Faster: npm install onnxruntime-node',
    ]);
    expect(formatSummary({ ...run, stepsSkipped: 5 } as Summary)[1]).toContain('(24 steps, 5 skipped, adaspa, mean density 0.31)');
    const gpu = { device: 'webgpu', dtype: 'f16', adapter: 'Acme Tower 5' } as const;
    expect(formatSummary({ ...run, ...gpu } as Summary)[1]).toMatch(
      /encode 0\.2 s; webgpu \(Acme Tower 5, f16\), onnxruntime-web 1\.30\.0$/,
    );
  });

  it('names the device and why', () => {
    const reason = 'auto found a GPU';
    expect(formatDevice({ name: 'webgpu', dtype: 'f16', adapter: 'Acme Tower 5', reason })).toBe(
      'Device: webgpu (Acme Tower 5, f16). Auto found a GPU.',
    );
    expect(formatDevice({ name: 'cpu', dtype: 'f32', reason })).toBe('Device: cpu (f32). Auto found a GPU.');
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
    const gpu = { ...cost, gpuBytes: 5e9, rough: 'they are those of another GPU' };
    const words = 'about 2 h 0 min, 6.0 GB of memory and 5.0 GB of GPU memory (seconds may be far off: they are those of another GPU)';
    expect(() => announce(gpu, size, false, lines)).toThrow(`will take ${words}: add --yes`);
    announce(gpu, size, true, lines);
    expect(said.at(-1)).toBe(`832x480, 81 frames, 50 steps, 32,760 tokens: ${words}.\n`);
  });

  it('lists a vocabulary', () => {
    const names = {
      subjects: ['rocket', 'red car'],
      subjectWords: ['rocket', 'red car', 'car'],
      scenes: ['space'],
      motions: ['left'],
      sizes: ['big'],
    };
    expect(formatVocabulary({ ...names, prompts: ['a rocket'] }).split('\n')).toEqual([
      'Subjects: rocket, red car',
      'Also called: car',
      'Scenes: space',
      'Motions: left',
      'Sizes: big',
      'Prompts:',
      '  zoetrope "a rocket"',
    ]);
  });
});
