// What `zoetrope inspect` says of an ONNX file: its inputs and results, and each attention with why it would or would not be taken.
import { shown } from '../checks.ts';
import type { Finding } from './find.ts';

/** One attention of a file, and whether `accelerate` takes it. */
export interface ListedAttention extends Omit<Finding, 'candidate'> {
  /** Whether it would be computed by the method. */
  readonly taken: boolean;
}

/** An ONNX file as it would be accelerated. Sizes that stay open are -1. */
export interface OnnxListing {
  /** The file. */
  readonly path: string;
  /** Name and version of what wrote it, where the file says. */
  readonly producer: string;
  /** Version of ONNX's own operators. */
  readonly opset: number;
  /** What a run is fed. */
  readonly inputs: readonly {
    /** Its key in the feeds. */
    readonly name: string;
    /** As far as the file states it. */
    readonly shape?: readonly number[];
  }[];
  /** Names of the results. */
  readonly outputs: readonly string[];
  /** Each attention, and what looks like one. */
  readonly attention: readonly ListedAttention[];
}

/** Reads a file's graph; weights in other files are not read. @throws Error when it is missing, damaged or no ONNX model. */
export async function listAttention(path: string): Promise<OnnxListing> {
  if (typeof path !== 'string') throw new TypeError(`the file is ${shown(path)}; give the path of an ONNX model`);
  // Not before: few need what reads ONNX.
  const [{ readOnnx }, { graphOf }, { findAttention }, { numberOf }] = await Promise.all([
    import('./file.ts'),
    import('./graph.ts'),
    import('./find.ts'),
    import('./schema.ts'),
  ]);
  const { model } = await readOnnx(path);
  const graph = graphOf(model.graph);
  return {
    path,
    producer: [model.producerName, model.producerVersion].filter(Boolean).join(' '),
    opset: numberOf(model.opsetImport.find(({ domain }) => !domain)?.version),
    inputs: graph.inputs.map((name) => ({ name, shape: graph.shape(name) })),
    outputs: graph.outputs,
    attention: findAttention(graph).map(({ candidate: _, ...finding }) => ({
      ...finding,
      taken: finding.kind === 'self' && finding.reason === undefined,
    })),
  };
}

/** The listing as lines of text. @throws TypeError for what is no listing. */
export function formatListing(listing: OnnxListing): string {
  if (!Array.isArray((listing as OnnxListing | undefined)?.attention))
    throw new TypeError(`the listing is ${shown(listing)}; give what listAttention returned`);
  const { path, producer, opset, inputs, attention } = listing;
  const taken = attention.filter((one) => one.taken).length;
  const stated = inputs.map(({ name, shape }) => `${name}${shape ? ` [${shape.map((size) => (size < 0 ? '?' : size)).join(', ')}]` : ''}`);
  const width = Math.max(0, ...attention.map(({ node }) => node.length));
  const rows = attention.map((one) => `  ${one.taken ? 'taken' : 'left '}  ${one.node.padEnd(width)}  ${described(one)}`);
  return [
    `${path}: opset ${opset}${producer && `, written by ${producer}`}`,
    `  inputs ${stated.join(', ')}`,
    `  ${attention.length} attention${attention.length === 1 ? '' : 's'}, ${taken} taken${attention.length ? ':' : ''}`,
    ...rows,
    '',
  ].join('\n');
}

function described({ taken, form, heads, tokens, dim, reason }: ListedAttention): string {
  const open = (size: number | undefined): string => (size === undefined ? '?' : String(size));
  const sizes = heads || tokens || dim ? `, ${open(heads)} heads, ${open(tokens)} tokens, width ${open(dim)}` : '';
  return taken ? `self-attention, ${form}${sizes}` : `${reason}`;
}
