// Prompts to ids against the reference (transformers and the tokenizers library), exactly, and the refusals of a tokenizer folder.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UnsupportedError } from '../../src/errors.ts';
import { charsmapNormalizer } from '../../src/text/charsmap.ts';
import { cleanPrompt } from '../../src/text/prompt.ts';
import { loadTokenizer, type Tokenizer } from '../../src/text/tokenizer.ts';

const golden = new URL('../golden/', import.meta.url).pathname;
const readGolden = async (file: string) => JSON.parse(await readFile(join(golden, file), 'utf8'));

const idsOf = (tokenizer: Tokenizer, text: string, maxLength = 256): number[] => {
  const { ids, length } = tokenizer.encode(text, maxLength);
  expect(ids.length).toBe(maxLength);
  expect(ids.slice(length).every((id) => id === 0)).toBe(true);
  return [...ids.slice(0, length)];
};

describe('cleanPrompt', () => {
  it.each([
    // Left: what html.unescape twice, str.strip and re.sub(r'\s+', ' ') of Python 3 give on the right.
    ['  a \t b\n\nc ', 'a b c'],
    ['&amp;amp;lt; &amp;lt;b&gt;', '&lt; <b>'],
    ['x&ampy &notit; &copy2', 'x&y ¬it; ©2'],
    ['&#65;&#x42;&#x43 &#0;&#128;', 'ABC \ufffd€'],
    ['a&#1;b&#xfdd0;c&#x1ffff;d&#xd800;e', 'abcd\ufffde'],
    ['&#38;lt;', '<'],
    ['\x1ca\x85b\u3000c\ufeff', 'a b c\ufeff'],
    ['&nbsp;a&nbsp;b', 'a b'],
    ['& && &; &#; &#x; &unknown;', '& && &; &#; &#x; &unknown;'],
    ['', ''],
  ])('%j', (text, cleaned) => {
    expect(cleanPrompt(text)).toBe(cleaned);
  });
});

describe('a tokenizer with Nmt, NFKC and byte fallback', async () => {
  const tokenizer = await loadTokenizer(join(golden, 'wan-pipeline/pipeline/tokenizer'));
  const { cases } = await readGolden('wan-pipeline/tokenizer_cases.json');

  it.each(cases as { prompt: string; cleaned: string; input_ids: number[]; padded_24: number[]; mask_24: number[] }[])(
    '$prompt',
    ({ prompt, cleaned, input_ids, padded_24, mask_24 }) => {
      expect(cleanPrompt(prompt)).toBe(cleaned);
      expect(idsOf(tokenizer, cleaned)).toEqual(input_ids);
      const cut = tokenizer.encode(cleaned, 24);
      expect([...cut.ids]).toEqual(padded_24);
      expect(cut.length).toBe(mask_24.reduce((sum, bit) => sum + bit));
    },
  );

  it('refuses lengths and texts out of range', () => {
    for (const length of [0, 1, 1.5, Number.NaN]) expect(() => tokenizer.encode('a', length)).toThrow(`maxLength is ${length}`);
    expect(() => tokenizer.encode('a'.repeat(10_001), 24)).toThrow('10001 characters');
  });
});

describe('a tokenizer with a Precompiled map', async () => {
  // Trained with SentencePiece on 15 replacement rules of its own; cases.json is what the tokenizers library makes of each text.
  const folder = join(golden, 'tokenizer-precompiled');
  const tokenizer = await loadTokenizer(folder);
  const cases: { text: string; normalized: string; ids: number[] }[] = await readGolden('tokenizer-precompiled/cases.json');
  const { normalizer } = await readGolden('tokenizer-precompiled/tokenizer.json');
  const map: string = normalizer.normalizers[0].precompiled_charsmap;

  it.each(cases)('$text', ({ text, normalized, ids }) => {
    expect(charsmapNormalizer(map)(text).replace(/ {2,}/g, ' ')).toBe(normalized);
    expect(idsOf(tokenizer, text)).toEqual(ids);
  });

  it('refuses a damaged map', () => {
    const bytes = Buffer.from(map, 'base64');
    expect(() => charsmapNormalizer('')).toThrow('precompiled_charsmap is damaged');
    expect(() => charsmapNormalizer(bytes.subarray(0, 100).toString('base64'))).toThrow('has 100');
  });

  it('does not leave a map whose units point outside it', () => {
    const bytes = Buffer.from(map, 'base64');
    bytes.fill(0xff, 4, 4 + bytes.readUInt32LE(0));
    expect(charsmapNormalizer(bytes.toString('base64'))('ﬁ é ÿ')).toBeTypeOf('string');
  });
});

describe('loadTokenizer', () => {
  let folder: string;
  let definition: {
    normalizer: unknown;
    model: { vocab: [string, number][]; byte_fallback: boolean };
    post_processor: { single: unknown[] };
  };
  const load = async (changed: object, settings = {}) => {
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ ...definition, ...changed }));
    await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(settings));
    return loadTokenizer(folder);
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
    definition = await readGolden('wan-pipeline/pipeline/tokenizer/tokenizer.json');
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('needs tokenizer.json', async () => {
    await expect(loadTokenizer(folder)).rejects.toThrow(`${folder} has no tokenizer.json.`);
    await writeFile(join(folder, 'spiece.model'), '');
    await expect(loadTokenizer(folder)).rejects.toThrow('has only spiece.model');
    await writeFile(join(folder, 'tokenizer.json'), '{');
    await expect(loadTokenizer(folder)).rejects.toThrow('tokenizer.json is not JSON');
  });

  it('reads without tokenizer_config.json', async () => {
    await load({});
    await rm(join(folder, 'tokenizer_config.json'));
    expect(idsOf(await loadTokenizer(folder), 'the')).toEqual([268, 1]);
  });

  it('takes the padding token from the settings', async () => {
    const { ids } = (await load({}, { pad_token: { content: '<unk>' } })).encode('', 4);
    expect([...ids]).toEqual([1, 2, 2, 2]);
    await expect(load({}, { pad_token: '[PAD]' })).rejects.toThrow('does not hold the padding token "[PAD]"');
  });

  it('gives <unk> where there is no byte fallback', async () => {
    const tokenizer = await load({ model: { ...definition.model, byte_fallback: false } });
    expect(idsOf(tokenizer, '🐈')).toEqual([259, 2, 1]);
  });

  it.each<[string, (d: typeof definition) => object, string]>([
    ['an unknown normaliser', () => ({ normalizer: { type: 'Mystery' } }), 'Unknown Normalizer type: Mystery'],
    ['an unknown pre-tokeniser', () => ({ pre_tokenizer: { type: 'Mystery' } }), 'Unknown PreTokenizer type: Mystery'],
    ['a BPE model', (d) => ({ model: { ...d.model, type: 'BPE' } }), 'a "BPE" model; only "Unigram"'],
    [
      'a token before the text',
      (d) => ({ post_processor: { ...d.post_processor, single: [...d.post_processor.single].reverse() } }),
      'special tokens before the text',
    ],
  ])('does not support %s', async (_, change, message) => {
    await expect(load(change(definition))).rejects.toThrow(message);
    await expect(load(change(definition))).rejects.toBeInstanceOf(UnsupportedError);
  });

  it('refuses a file that is no tokenizer', async () => {
    await expect(load({ model: null })).rejects.toThrow('has no model with a vocabulary list');
    await expect(load({ model: { vocab: [] } })).rejects.toThrow('is not a usable tokenizer');
  });
});
