// Prompts as the transformer takes them: cleaned, cut in tokens, encoded.
import { join } from './files.ts';
import type { Settings } from './options.ts';
import type { Parts } from './parts.ts';
import type { Tensor } from './tensor.ts';
import { encodePrompt, loadTextEncoder } from './text/encoder.ts';
import { cleanPrompt } from './text/prompt.ts';

/** Embeddings [1, rows, width], as handles of the transformer's backend. */
export interface Texts {
  readonly prompt: Tensor;
  readonly negative?: Tensor;
  readonly promptTokens: number;
}

/** Names the option of a run that holds a `TextMemory`: a symbol, since it is not for callers. */
export const TEXTS = Symbol('texts');

/** Embeddings that runs of the same texts share: the first one fills it. */
export interface TextMemory {
  encoded?: EncodedTexts;
}

interface EncodedTexts {
  readonly prompt: Encoded;
  readonly negative?: Encoded;
}

interface Encoded {
  readonly embeddings: Float32Array;
  readonly tokens: number;
  readonly width: number;
}

/** The prompt and, when any step is guided, the negative prompt. What `memory` holds is of the same settings, and not encoded again. */
export async function encodeTexts(parts: Parts, settings: Settings, memory: TextMemory = {}): Promise<Texts> {
  memory.encoded ??= await encoded(parts, settings);
  const { prompt, negative } = memory.encoded;
  // Not before: a prompt on the device would stay there if the other one failed.
  const upload = ({ embeddings, width }: Encoded) => parts.device.executor.ops.upload(embeddings, [1, settings.maxSequenceLength, width]);
  return { prompt: upload(prompt), promptTokens: prompt.tokens, ...(negative && { negative: upload(negative) }) };
}

async function encoded(parts: Parts, settings: Settings): Promise<EncodedTexts> {
  const { device, tokenizer, index } = parts;
  const rows = settings.maxSequenceLength;
  const encoder = await loadTextEncoder(join(index.folder, 'text_encoder'), device.host);
  try {
    const encode = async (prompt: string): Promise<Encoded> => {
      const { ids, length } = tokenizer.encode(cleanPrompt(prompt), rows);
      const embeddings = await encodePrompt(encoder, [...ids.subarray(0, length)], rows);
      return { embeddings, tokens: length, width: encoder.config.width };
    };
    const guided = Math.max(settings.guidanceScale, parts.transformer2 ? settings.guidanceScale2 : 0) > 1;
    const prompt = await encode(settings.prompt);
    const negative = guided ? await encode(settings.negativePrompt) : undefined;
    return { prompt, ...(negative && { negative }) };
  } finally {
    await encoder.dispose();
  }
}
