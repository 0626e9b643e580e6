// Prompts as the transformer takes them: cleaned, cut in tokens, encoded.
import { join } from 'node:path';
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
    const encode = async (prompt: string): Promise<{ tensor: Tensor; tokens: number }> => {
      const { ids, length } = tokenizer.encode(cleanPrompt(prompt), rows);
      const embeddings = await encodePrompt(encoder, [...ids.subarray(0, length)], rows);
      return { tensor: device.executor.ops.upload(embeddings, [1, rows, encoder.config.width]), tokens: length };
    };
    const { tensor: prompt, tokens: promptTokens } = await encode(settings.prompt);
    const guided = Math.max(settings.guidanceScale, parts.transformer2 ? settings.guidanceScale2 : 0) > 1;
    return { prompt, promptTokens, ...(guided && { negative: (await encode(settings.negativePrompt)).tensor }) };
  } finally {
    await encoder.dispose();
  }
}
