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

/** The prompt and, when any step is guided, the negative prompt. */
export async function encodeTexts(parts: Parts, settings: Settings): Promise<Texts> {
  const { device, tokenizer, index } = parts;
  const rows = settings.maxSequenceLength;
  const encoder = await loadTextEncoder(join(index.folder, 'text_encoder'), device.host);
  try {
    const encode = async (prompt: string): Promise<{ embeddings: Float32Array; tokens: number }> => {
      const { ids, length } = tokenizer.encode(cleanPrompt(prompt), rows);
      return { embeddings: await encodePrompt(encoder, [...ids.subarray(0, length)], rows), tokens: length };
    };
    const guided = Math.max(settings.guidanceScale, parts.transformer2 ? settings.guidanceScale2 : 0) > 1;
    const prompt = await encode(settings.prompt);
    const negative = guided ? await encode(settings.negativePrompt) : undefined;
    // Not before: a prompt on the device would stay there if the other one failed.
    const upload = (embeddings: Float32Array) => device.executor.ops.upload(embeddings, [1, rows, encoder.config.width]);
    return {
      ...{ prompt: upload(prompt.embeddings), promptTokens: prompt.tokens },
      ...(negative && { negative: upload(negative.embeddings) }),
    };
  } finally {
    await encoder.dispose();
  }
}
