// What people type wrong in the commands that measure, inspect and calibrate: one sentence that says what to do, before a model is loaded.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { accelerate } from '../../src/accelerate.ts';
import { parseArguments } from '../../src/cli/arguments.ts';
import { main } from '../../src/cli/main.ts';

let folder: string;
let before: string[];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mistakes-'));
  mkdirSync(join(folder, 'folder.onnx'));
  writeFileSync(join(folder, 'foreign.json'), '{"a":1}');
  writeFileSync(join(folder, 'damaged.json'), '{"a":');
  writeFileSync(
    join(folder, 'video.json'),
    JSON.stringify({
      bench: 'video',
      date: '2026-11-24',
      version: '1',
      machine: { processor: 'x', cores: 2, node: 'v20' },
      options: {},
      cases: [],
    }),
  );
  before = readdirSync(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(line: string) {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    isScreen: false,
    columns: 80,
  };
  const words = line.split(' ').map((word) => word.replace('@', `${folder}/`).replaceAll('_', ' '));
  const code = await main(words, terminal, new AbortController().signal);
  return { code, out: out.join(''), err: err.join('') };
}

describe('one sentence', () => {
  it.each([
    ['calibrate --device gpu', /argument 'gpu' is invalid\. Allowed choices are cpu, webgpu; see zoetrope calibrate --help\.$/],
    ['calibrate _', /^A prompt is empty; say what the video shows, or leave it out\.$/],
    ['calibrate a_red_car --prompts 2', /^--prompts 2 counts the model's own prompts; leave it out where prompts are given\.$/],
    ['calibrate -o @folder.onnx', /folder\.onnx" is a folder; give the name of a file\.$/],
    ['calibrate -o @no/car.json', /^The folder ".*no" does not exist; make it first or write somewhere else\.$/],
    ['calibrate -o @foreign.json', /^The file ".*foreign\.json" is no calibration, so it is not replaced; give another --output\.$/],
    ['report @foreign.json -o @foreign.json', /^The page is HTML, not ".*foreign\.json"; give --output a name that ends in \.html\.$/],
    [
      'report @damaged.json -o @a.html',
      /^The result file ".*damaged\.json" is damaged: .*; measure it again, or take it out of the list\.$/,
    ],
    ['inspect @NO.ONNX', /^there is no ONNX file .*NO\.ONNX; check the path\.$/],
    ['inspect @folder.onnx', /^.*folder\.onnx is a folder; give the ONNX file in it\.$/],
    ['inspect a_cat --query-block 3', /^--query-block 3 chooses what is drawn; give --output too, or leave it out\.$/],
    ['inspect a.onnx b.onnx', /^inspect lists one ONNX file, not "a\.onnx", "b\.onnx"; give the files one by one\.$/],
    ['inspect a.onnx -o @plans --layers 3', /^--output, --layers are for a prompt, not for an ONNX file; leave them out\.$/],
    ['bench viedo', /^Unknown command 'viedo' \(Did you mean video\?\); see zoetrope bench --help\.$/],
    ['bench video --prompt _', /^A prompt is empty; /],
    ['bench video --stpes 3', /^Unknown option '--stpes' \(Did you mean --steps\?\); see zoetrope bench video --help\.$/],
    ['bench video --out @a.json --summary @./a.json', /^--summary and --out are both ".*a\.json"; give each a file of its own\.$/],
    ['bench video --quick --summary @foreign.json', /foreign\.json" is no result file of a bench: it has no cases/],
    ['bench video --compare @folder.onnx', /^The result file ".*folder\.onnx" cannot be read: it is a folder\.$/],
    ['bench attention --variants foo', /^there is no kernel variant "foo"; give some of matrix, subgroups, portable\.$/],
    ['bench attention --variants matrix', /^--variants is for --device webgpu; leave it out\.$/],
    ['bench attention --stock', /^--stock is for --device webgpu; leave it out\.$/],
    ['bench attention --no-checks', /^--no-checks is for --device webgpu; leave it out\.$/],
    ['bench attention --dtype f16', /^--dtype f16 needs --device webgpu; the CPU computes in f32\.$/],
    ['bench attention --methods radial --sparsities 0.5', /^--sparsities 0\.5 needs --methods that take one\.$/],
    ['bench attention --out @folder.onnx', /folder\.onnx" is a folder; give the name of a file\.$/],
    ['bench methods --methods none', /^--methods none leaves nothing to measure; give names, or all\.$/],
    ['bench methods --methods radial --sparsities 0.5', /^--sparsities 0\.5 needs --methods that take one\.$/],
    ['bench methods --methods adaspa,', /^"adaspa," is a list with an empty place; give words with one comma between\.$/],
    ['bench attention --compare @video.json', /video\.json" is a result of "bench video"; --compare takes one of "bench attention"\.$/],
    ['--steps 3 inspect a_cat', /^--steps before "inspect" is not read; put options after the command\.$/],
    ['inspect @car.mp4', /car\.mp4" looks like a file; inspect takes a prompt, or a file whose name ends in \.onnx\.$/],
    ['method', /^"method" is no command; write zoetrope methods, or for a video of it zoetrope generate "method"\.$/],
    ['benhc video', /^"benhc" is no command; write zoetrope bench, /],
    ['bench methods --prompts 2 --prompt a_cat', /^Give either --prompt or --prompts, not both\.$/],
  ])('%s', async (line, sentence) => {
    const { code, out, err } = await run(`${line} --json`.replace(/^(report .*) --json$/, '$1'));
    const said = /^Error: (.*)\n$/.exec(err)?.[1] ?? `not one sentence: ${err}`;
    expect(said).toMatch(sentence);
    expect(code).toBe(1);
    expect(out).toBe(line.startsWith('report') ? '' : `${JSON.stringify({ error: said })}\n`);
    expect(readdirSync(folder)).toEqual(before);
    expect(readFileSync(join(folder, 'foreign.json'), 'utf8')).toBe('{"a":1}');
  });
});

test('help and generate are read as commands', () => {
  const read = (...words: string[]) => parseArguments(words, '1');
  expect(read('help', 'bench', 'video')).toEqual(read('bench', 'video', '--help'));
  expect(read('help')).toEqual(read('--help'));
  expect(read('generate')).toEqual(read('--help'));
  expect(read('generate', 'beach')).toMatchObject({ command: 'generate', prompt: 'beach' });
  expect(read('help me', 'fly')).toMatchObject({ command: 'generate', prompt: 'help me fly' });
  const { text } = read('--help') as { text: string };
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('prompts to calibrate with are words, flags or both', () => {
  const promptsOf = (...words: string[]): unknown => (parseArguments(['calibrate', ...words], '1') as { prompt?: unknown }).prompt;
  expect(promptsOf()).toBe(undefined);
  expect(promptsOf('a red car', '-o', 'car.json')).toEqual(['a red car']);
  expect(promptsOf('a', 'red', 'car', '--prompt', 'a cat', '--prompt', 'a bee')).toEqual(['a red car', 'a cat', 'a bee']);
});

test('what is said twice is measured once', () => {
  const { sparsities } = parseArguments('bench video --sparsities 0.5,.5,0.8'.split(' '), '1') as { sparsities?: unknown };
  expect(sparsities).toEqual([0.5, 0.8]);
});

test.each(['', 'calibrate', 'inspect', 'report', 'bench attention', 'bench methods', 'bench run', 'bench step', 'bench video'])(
  'help of "%s" shows no defaults that are no words',
  (command) => {
    const { text } = parseArguments([...command.split(' ').filter(Boolean), '--help'], '1') as { text: string };
    expect(text).not.toMatch(/default:\s+(false|\[|\{)/);
    expect(text.length).toBeLessThan(7000);
  },
);

test.each([['adaspa'], [undefined], [{}]])('%s is no method to accelerate with', (method) => {
  expect(() => accelerate(Object.assign(() => {}, { dispose: 0, ops: 0 }) as never, method as never)).toThrow(
    /^there is no method: .*; give a preset such as adaSpa\(\), /,
  );
});
