// The grid of a run, given once for all runs or read from the feeds of each, and its checks.
import type * as ort from 'onnxruntime-common';
import type { Grid } from '../sparse3d/plan.ts';

/** Inputs of a run by name, as an InferenceSession takes them. */
export type Feeds = ort.InferenceSession.FeedsType;
/** The grid of all runs, or of the one with these feeds; no text tokens where it names none. */
export type GridOption = GridSizes | ((feeds: Feeds) => GridSizes);
/** Sides in tokens, and text tokens in the same sequence. Default text 0. */
export type GridSizes = Omit<Grid, 'text'> & Partial<Pick<Grid, 'text'>>;

/** @throws RangeError for sizes that are no whole numbers, and for so many text tokens before the video that are neither all of them nor none. */
export function checkedGrid({ text = 0, ...sides }: GridSizes, textBefore: number): Grid {
  for (const name of ['frames', 'height', 'width'] as const)
    if (!Number.isInteger(sides[name]) || sides[name] < 1)
      throw new RangeError(`grid.${name} is ${sides[name]}; give a whole number of tokens`);
  if (!Number.isInteger(text) || text < 0)
    throw new RangeError(`grid.text is ${text}; give a whole number of text tokens, or leave it out`);
  if (textBefore !== 0 && textBefore !== text)
    throw new RangeError(
      `textBefore is ${textBefore}, but the grid has ${text} text tokens; all of them stand before the video's, or none`,
    );
  return { ...sides, text };
}
