// Checks of text encoders: hidden states with and without a mask, and the prompt embeddings of Wan's pipeline.
import type { CpuDevice } from '../../src/backend/cpu.ts';
import { encodePrompt, loadTextEncoder, relativeBucket } from '../../src/text/encoder.ts';
import { type Comparison, compare, type Fixture, floats, TOLERANCE } from './fixture.ts';

/** Outputs of a fixture: which of them mask the padding. */
const MASKED: Readonly<Record<string, boolean>> = { last_hidden_state: true, masked: true, nomask: false };

export async function* checkTextEncoder(fixture: Fixture, device: CpuDevice): AsyncGenerator<Comparison> {
  const ids = await fixture.array('inputs', 'input_ids');
  const mask = (await fixture.array('inputs', 'attention_mask')).data;
  const [batch, length] = ids.shape;
  const encoder = await loadTextEncoder(fixture.path('text_encoder'), device);
  const row = (numbers: ArrayLike<number>, item: number): number[] => Array.from(numbers).slice(item * length, (item + 1) * length);
  const all = async (encode: (ids: number[], mask: number[]) => Promise<Float32Array>): Promise<number[]> => {
    const states: number[] = [];
    for (let item = 0; item < batch; item++) states.push(...(await encode(row(ids.data, item), row(mask, item))));
    return states;
  };
  try {
    for (const name of await fixture.names('outputs')) {
      const expected = await floats(fixture, 'outputs', name);
      const actual =
        name === 'prompt_embeds'
          ? await all((own, bits) => encodePrompt(encoder, own.slice(0, bits.filter(Boolean).length), length))
          : await all((own, bits) => encoder.encode(own, MASKED[name] ? bits : undefined));
      yield compare(`${fixture.name}.${name}`, actual, expected, TOLERANCE.forward);
    }
    if (await fixture.has('intermediates.safetensors')) {
      const table = await fixture.array('intermediates', 'bucket_table');
      const reach = (table.data.length - 1) / 2;
      const buckets = Array.from(table.data, (_, index) => relativeBucket(index - reach, encoder.config));
      yield compare(`${fixture.name}.bucket_table`, buckets, table.data, 0);
    }
  } finally {
    await encoder.dispose();
  }
}
