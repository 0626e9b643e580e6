// What the ids of cases are made of: the same words for the same thing in every bench and every year.
import { basename } from 'node:path';
import type { Setting } from './subject.ts';

/** The model that is measured when none is given. */
export const WAN_13B = 'the shape of Wan 2.1 T2V-1.3B with random weights';

/** A transformer at a size, and where: `wan-2.1-1.3b 832x480x81 30 layers/webgpu f16`. */
export const subjectId = ({ model, width, height, numFrames, layers, dtype }: Setting): string =>
  `${model === WAN_13B ? 'wan-2.1-1.3b' : basename(model)} ${width}x${height}x${numFrames} ${layers} layers/webgpu ${dtype}`;

/** A method as it was asked for: `adaSpa 0.8`. */
export const methodName = (name: string, sparsity?: unknown): string => (sparsity === undefined ? name : `${name} ${sparsity}`);
