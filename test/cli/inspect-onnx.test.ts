// zoetrope inspect FILE.onnx: what it prints of an export, as text and as JSON, and of a file that it cannot read.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { type Exports, unpackExports } from '../onnx/exports.ts';

let exports: Exports;
beforeAll(async () => {
  exports = await unpackExports();
});
afterAll(() => rmSync(exports.folder, { recursive: true }));

async function run(...words: string[]) {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    isScreen: false,
    columns: 80,
  };
  const code = await main(words, terminal, new AbortController().signal);
  return { code, out: out.join(''), err: err.join('') };
}

test('text names every attention with what is done to it', async () => {
  const path = exports.path('wan-sdpa-dynamo-23');
  const { code, out } = await run('inspect', path);
  expect(code).toBe(0);
  expect(out.split('\n').slice(1)).toEqual([
    '  inputs hidden_states [1, 4, 3, 8, 12], timestep [1], encoder_hidden_states [1, 5, 12]',
    '  4 attentions, 2 taken:',
    '  taken  node_scaled_dot_product_attention    self-attention, Attention, 2 heads, 72 tokens, width 8',
    '  left   node_scaled_dot_product_attention_1  cross-attention: its keys come from gelu, its queries from layer_norm_1',
    '  taken  node_scaled_dot_product_attention_2  self-attention, Attention, 2 heads, 72 tokens, width 8',
    '  left   node_scaled_dot_product_attention_3  cross-attention: its keys come from gelu, its queries from layer_norm_4',
    '',
  ]);
});

test('JSON holds the same', async () => {
  const { code, out } = await run('inspect', exports.path('joint-einsum-script-17'), '--json');
  const listing = JSON.parse(out);
  expect(code).toBe(0);
  expect(listing).toMatchObject({ opset: 17, outputs: ['output'] });
  expect(listing.attention).toEqual([
    { node: '/blocks.0/Softmax', form: 'softmax between products', kind: 'self', taken: true },
    { node: '/blocks.1/Softmax', form: 'softmax between products', kind: 'self', taken: true },
  ]);
});

test('a file that cannot be read is one sentence', async () => {
  const path = join(exports.folder, 'damaged.onnx');
  writeFileSync(path, new Uint8Array([10, 200, 1, 3]));
  const { code, out, err } = await run('inspect', path);
  expect([code, out]).toEqual([1, '']);
  expect(err).toMatch(/^Error: .*damaged\.onnx is damaged or no ONNX model \(.*\); export or copy it again\.\n$/);
});
