// `zoetrope inspect FILE.onnx`: the attention of an ONNX model, and what of it the wrapper takes, as text or JSON on stdout.
import type { Terminal } from './terminal.ts';

export interface InspectOnnxArguments {
  readonly command: 'inspect onnx';
  readonly path: string;
  readonly json: boolean;
}

/** Prints the listing. Throws an Error with one sentence for a file that cannot be read. */
export async function inspectOnnx({ path, json }: InspectOnnxArguments, terminal: Terminal): Promise<void> {
  const { formatListing, listAttention } = await import('../onnx/list.ts');
  const listing = await listAttention(path);
  terminal.out(json ? `${JSON.stringify(listing)}\n` : formatListing(listing));
}
