// Bad input, from the command line to the checkpoint: one sentence with the value and what to do, exit code 1, nothing written.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { embeddedModel } from '../../src/embedded-model.ts';

let out: string;
let model: string;
let said: string;
const terminal = {
  out: () => {},
  err: (text: string) => {
    said += text;
  },
  isScreen: false,
  columns: 80,
};
beforeEach(() => {
  [out, model] = ['out-', 'model-'].map((name) => mkdtempSync(join(tmpdir(), name)));
  for (const part of readdirSync(embeddedModel())) symlinkSync(join(embeddedModel(), part), join(model, part));
  said = '';
});
afterEach(() => {
  for (const folder of [out, model]) rmSync(folder, { recursive: true });
});

const SMALL = '--size 64x64 --num-frames 5 --steps 2'.split(' ');
/** The sentence a refused run ends with; before it only what the run would cost may be said. */
async function refusal(...words: string[]): Promise<string> {
  expect(await main(['a rocket', ...SMALL, '-o', join(out, 'a.mp4'), ...words], terminal, new AbortController().signal)).toBe(1);
  expect(readdirSync(out)).toEqual([]);
  const [, sentence] = /^(?:64x64, .* of memory\.\n)?Error: (.*[.])\n$/.exec(said) ?? [];
  return sentence ?? `not one sentence: ${said}`;
}

/** Replaces the model's link to a part by a copy that may be changed. */
function own(part: string): string {
  const path = join(model, part);
  rmSync(path);
  cpSync(join(embeddedModel(), part), path, { recursive: true });
  return path;
}

function change(path: string, fields: Readonly<Record<string, unknown>>): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...fields }));
}

/** Puts other bytes of the same length in place of the first `before`. */
function overwrite(path: string, before: string, after: string): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(before);
  expect(at).toBeGreaterThan(-1);
  bytes.write(after, at);
  writeFileSync(path, bytes);
}

const SHARD = 'diffusion_pytorch_model-00001-of-00002.safetensors';

describe('words', () => {
  it.each([
    [['--size', '100x64'], 'width 100 is not a multiple of 16, which this model needs; the nearest is 96.'],
    [['--num-frames', '6'], 'numFrames 6 is not 4k + 1, which this model needs; the nearest is 5.'],
    [['--model', ''], 'There is no folder ""; give the path of a model in the diffusers layout.'],
    [['-n', 'r'.repeat(10_001)], 'the negative prompt has 10001 characters; give at most 10000.'],
    [['r'.repeat(10_001)], 'the prompt has 10010 characters; give at most 10000.'],
    [['-o', `${'r'.repeat(300)}.mp4`], `The name "${'r'.repeat(300)}.mp4" is too long for its folder; give a shorter one.`],
  ])('%#', async (words, sentence) => {
    expect(await refusal(...words)).toBe(sentence);
  });

  it('a long prompt is warned of by its beginning', async () => {
    expect(await main(['z'.repeat(9_000), ...SMALL, '-o', join(out, 'a.webp')], terminal, new AbortController().signal)).toBe(0);
    expect(said).toMatch(/^Warning: "z{80}\.\.\." names nothing/m);
  });
});

describe('weights', () => {
  it('cut short, in the data and in the header', async () => {
    const file = join(own('transformer'), SHARD);
    truncateSync(file, 9_000_000);
    expect(await refusal('--model', model)).toMatch(/00001-of-00002.*, tensor ".*": it ends at byte .* so download it again\.$/);
    truncateSync(file, 500);
    said = '';
    expect(await refusal('--model', model)).toMatch(
      /is truncated: it states a header of \d+ bytes, and 492 bytes follow; download it again\.$/,
    );
  });

  it('with a header that lies', async () => {
    const file = join(own('transformer'), SHARD);
    writeFileSync(file, readFileSync(file).fill(0xff, 0, 7));
    expect(await refusal('--model', model)).toMatch(
      /is not a safetensors file: it states a header of \d{17,} bytes, and at most 100000000/,
    );
  });

  it('with a shard that is not there', async () => {
    rmSync(join(own('transformer'), SHARD));
    expect(await refusal('--model', model)).toBe(`${join(model, 'transformer', SHARD)} is missing; download it again.`);
  });

  it('of another shape, in the transformer and in the embedding table', async () => {
    overwrite(join(own('transformer'), SHARD), '[1024,256]', '[256,1024]');
    expect(await refusal('--model', model)).toMatch(/transformer: tensor ".*" has shape \[256,1024\], and \[1024,256\] was expected\.$/);
    rmSync(join(model, 'transformer'), { recursive: true });
    symlinkSync(join(embeddedModel(), 'transformer'), join(model, 'transformer'));
    overwrite(join(own('text_encoder'), 'model.safetensors'), '[1536,256]', '[256,1536]');
    said = '';
    expect(await refusal('--model', model)).toMatch(
      /text_encoder: tensor "shared\.weight" has shape \[256,\d+\], and \[\d+,256\] was expected\.$/,
    );
  });
});

describe('configs', () => {
  it.each([
    [
      'model_index.json',
      '',
      { _class_name: 'LTXPipeline' },
      /is for "LTXPipeline", which is not supported; take a WanPipeline checkpoint\.$/,
    ],
    ['transformer', 'config.json', { _class_name: 'Foo' }, /^transformer class Foo is not supported; WanTransformer3DModel is\.$/],
    ['transformer', 'config.json', { num_layers: 0 }, /config\.json: "num_layers" is 0, and a whole number >= 1 was expected\.$/],
    ['transformer', 'config.json', { patch_size: [1, 0, 2] }, /^patch_size of the transformer is \[1,0,2\]; three whole numbers >= 1/],
    ['vae', 'config.json', { _class_name: 'Foo' }, /^VAE class Foo in .* is not supported; .* are\.$/],
    ['scheduler', 'scheduler_config.json', { _class_name: 'Foo' }, /^Scheduler "Foo" is not supported; use UniPC.*\.$/],
    ['text_encoder', 'config.json', { architectures: ['Foo'] }, /^text encoder class Foo is not supported; .* are\.$/],
    [
      'model_index.json',
      '',
      { zoetrope: { max_sequence_length: 0 } },
      /"max_sequence_length" is 0, and a whole number >= 1 was expected\.$/,
    ],
  ])('%s %s %o', async (part, file, fields, sentence) => {
    change(join(own(part), file), fields);
    expect(await refusal('--model', model)).toMatch(sentence);
  });

  it('of a VAE for other latents', async () => {
    const vae = join('test', 'golden', 'vae-wan22', 'vae');
    expect(await refusal('--vae', vae)).toBe(
      `the VAE ${vae} decodes 12 latent channels, and the transformer makes 16; give the one of its family.`,
    );
  });

  it('that are not there', async () => {
    rmSync(join(model, 'scheduler'));
    const file = join(model, 'scheduler', 'scheduler_config.json');
    expect(await refusal('--model', model)).toBe(`${file} is missing; a model in the diffusers layout has one, so download it again.`);
  });
});
