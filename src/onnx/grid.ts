// The grid of a run, given once for all runs or read from the feeds of each, and its checks.
import type * as ort from 'onnxruntime-common';
import { checkedGrid, type GridSizes } from '../checks.ts';
import type { Grid } from '../sparse3d/plan.ts';

/** Inputs of a run by name, as an InferenceSession takes them. */
export type Feeds = ort.InferenceSession.FeedsType;
/** The grid of all runs, or of the one with these feeds; no text tokens where it names none. */
export type GridOption = GridSizes | ((feeds: Feeds) => GridSizes);
/** @throws as `checkedGrid` does, and RangeError for so many text tokens before the video that are neither all of them nor none. */
export function gridWithText(grid: GridSizes, textBefore: number): Grid {
  const checked = checkedGrid(grid);
  const { text } = checked;
  if (textBefore !== 0 && textBefore !== text)
    throw new RangeError(
      `textBefore is ${textBefore}, but the grid has ${text} text tokens; all of them stand before the video's, or none`,
    );
  return checked;
}
