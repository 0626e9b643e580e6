// Text to ids: a SentencePiece (Unigram) tokenizer.json through @huggingface/tokenizers, with what that library lacks against the
// reference: the Nmt normaliser, exact Precompiled maps, pieces cut at spaces, and byte fallback.
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { type Config, readJson } from '../dit/config.ts';
import { UnsupportedError } from '../errors.ts';
import { join, kindOf } from '../files.ts';
import { charsmapNormalizer } from './charsmap.ts';

/** Ids of one text: `ids` is padded to the length asked for, `length` of them (with the end token) are real. */
export interface Encoded {
  readonly ids: Int32Array;
  readonly length: number;
}

/** Turns texts into ids. */
export interface Tokenizer {
  /** Cuts to `maxLength` ids (the end token is kept) and pads to it. Throws a RangeError for a length or text out of range. */
  encode(text: string, maxLength: number): Encoded;
}

/** What is used of the library, whose own declarations do not resolve from an ES module. */
interface LibraryTokenizer {
  readonly normalizer: LibraryNormalizer | null;
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[]; tokens: string[] };
  get_vocab(): Map<string, number>;
}

interface LibraryNormalizer {
  readonly config: { readonly type: string; readonly precompiled_charsmap?: string };
  readonly normalizers?: readonly (LibraryNormalizer | null)[];
  normalize(text: string): string;
}

/** Longest text taken, in UTF-16 units: far above the 512 tokens that a model reads, and the library's search grows with the square of a word. */
const maximumCharacters = 10_000;

/**
 * Loads `tokenizer.json` (and tokenizer_config.json, where there is one) from a tokenizer folder.
 * Throws an Error when it is missing or damaged, and an UnsupportedError for a component that is not supported.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const exists = async (name: string) => (await kindOf(join(folder, name))) === 'file';
  const file = join(folder, 'tokenizer.json');
  if (!(await exists('tokenizer.json'))) {
    if (await exists('spiece.model')) {
      throw new UnsupportedError(`${folder} has only spiece.model; save the tokenizer once with transformers to get its tokenizer.json.`);
    }
    throw new Error(`${folder} has no tokenizer.json.`);
  }
  const definition = await readJson(file);
  const settings = (await exists('tokenizer_config.json')) ? await readJson(join(folder, 'tokenizer_config.json')) : {};
  return adapt(definition, settings, file);
}

function adapt(definition: Config, settings: Config, file: string): Tokenizer {
  const library = build(definition, settings, file);
  const vocabulary = library.get_vocab();
  const padToken = tokenText(settings.pad_token) ?? '<pad>';
  const pad = vocabulary.get(padToken);
  if (pad === undefined) throw new Error(`${file} does not hold the padding token ${JSON.stringify(padToken)}.`);
  const bytes = byteIds(definition, vocabulary);
  const utf8 = new TextEncoder();
  const toIds = (text: string, special: boolean): number[] => {
    const { ids, tokens } = library.encode(text, { add_special_tokens: special });
    // The library keeps the text of a piece that it does not know, with the id of <unk>.
    return bytes
      ? tokens.flatMap((token, i) => (vocabulary.has(token) ? ids[i] : Array.from(utf8.encode(token), (byte) => bytes[byte])))
      : ids;
  };
  const ending = toIds('', true);
  if (toIds('a', true).length - ending.length !== toIds('a', false).length || toIds('a', true)[0] !== toIds('a', false)[0]) {
    throw new UnsupportedError(`${file} puts special tokens before the text; only tokens at its end are supported.`);
  }
  return {
    encode(text, maxLength) {
      if (!Number.isSafeInteger(maxLength) || maxLength <= ending.length) {
        throw new RangeError(`maxLength is ${maxLength}; give a whole number above ${ending.length}.`);
      }
      if (text.length > maximumCharacters)
        throw new RangeError(`The text has ${text.length} characters; at most ${maximumCharacters} are taken.`);
      const ids = [...toIds(text, false).slice(0, maxLength - ending.length), ...ending];
      const padded = new Int32Array(maxLength).fill(pad);
      padded.set(ids);
      return { ids: padded, length: ids.length };
    },
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === 'object';

/** A special token's text: given as a string or as an object with `content`. */
const tokenText = (token: unknown): string | undefined => {
  const text = isRecord(token) ? token.content : token;
  return typeof text === 'string' ? text : undefined;
};

function build(definition: Config, settings: Config, file: string): LibraryTokenizer {
  const model = definition.model;
  if (!isRecord(model) || !Array.isArray(model.vocab)) throw new Error(`${file} has no model with a vocabulary list.`);
  if (model.type !== undefined && model.type !== 'Unigram') {
    throw new UnsupportedError(`${file} has a ${JSON.stringify(model.type)} model; only "Unigram" is supported.`);
  }
  let library: LibraryTokenizer;
  try {
    const rewritten = {
      ...definition,
      normalizer: rewriteNormalizer(definition.normalizer),
      pre_tokenizer: rewritePreTokenizer(definition.pre_tokenizer),
    };
    library = new HuggingFaceTokenizer(rewritten, settings) as unknown as LibraryTokenizer;
  } catch (error) {
    const { message } = error as Error;
    if (/^Unknown \w+ type/.test(message)) throw new UnsupportedError(`${file} cannot be used: ${message}.`);
    throw new Error(`${file} is not a usable tokenizer: ${message}`);
  }
  applyCharsmap(library.normalizer);
  return library;
}

/** Control characters that Nmt removes, and those it makes spaces (`normalizers/unicode.rs` of the tokenizers library). */
const nmtRules = [
  { type: 'Replace', pattern: { Regex: '[\\u0001-\\u0008\\u000B\\u000E-\\u001F\\u007F\\u008F\\u009F]' }, content: '' },
  {
    type: 'Replace',
    pattern: { Regex: '[\\u0009\\u000A\\u000C\\u000D\\u1680\\u200B-\\u200F\\u2028\\u2029\\u2581\\uFEFF\\uFFFD]' },
    content: ' ',
  },
];

function rewriteNormalizer(normalizer: unknown): unknown {
  if (!isRecord(normalizer)) return null;
  if (normalizer.type === 'Nmt') return { type: 'Sequence', normalizers: nmtRules };
  if (normalizer.type === 'Sequence' && Array.isArray(normalizer.normalizers)) {
    return { type: 'Sequence', normalizers: normalizer.normalizers.map(rewriteNormalizer) };
  }
  return normalizer;
}

/** Metaspace also cuts the text before each space mark (`split`), which the library leaves out. */
function rewritePreTokenizer(preTokenizer: unknown): unknown {
  if (!isRecord(preTokenizer)) return null;
  if (preTokenizer.type === 'Sequence' && Array.isArray(preTokenizer.pretokenizers)) {
    return { type: 'Sequence', pretokenizers: preTokenizer.pretokenizers.map(rewritePreTokenizer) };
  }
  if (preTokenizer.type !== 'Metaspace' || preTokenizer.split === false || (preTokenizer.replacement ?? '▁') !== '▁') return preTokenizer;
  const cut = { type: 'Split', pattern: { Regex: '▁?[^▁]+|▁' }, behavior: 'MergedWithNext', invert: true };
  return { type: 'Sequence', pretokenizers: [preTokenizer, cut] };
}

/** The library approximates every Precompiled map by NFKC; the map that the file holds is put in its place. */
function applyCharsmap(normalizer: LibraryNormalizer | null): void {
  if (!normalizer) return;
  normalizer.normalizers?.forEach(applyCharsmap);
  const { type, precompiled_charsmap: map } = normalizer.config;
  if (type === 'Precompiled' && map) normalizer.normalize = charsmapNormalizer(map);
}

/** Ids of the 256 byte pieces `<0x00>`..`<0xFF>`, if the model falls back to bytes and has them all. */
function byteIds(definition: Config, vocabulary: ReadonlyMap<string, number>): readonly number[] | undefined {
  if (!(definition.model as Record<string, unknown>).byte_fallback) return undefined;
  const ids = Array.from({ length: 256 }, (_, byte) => vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`));
  return ids.every((id) => id !== undefined) ? (ids as number[]) : undefined;
}
