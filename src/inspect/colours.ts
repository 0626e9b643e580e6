// The colours of plans in pictures, and beside them on the page of a report.

/** Red, green and blue, 0..255. */
export type Colour = readonly [number, number, number];

/** What is not read. */
export const UNREAD: Colour = [21, 25, 34];
/** The query block's outline. */
export const QUERY: Colour = [255, 45, 120];
/** Levels, finest first; those beyond take the last. */
const LEVELS: readonly Colour[] = [
  [255, 209, 102],
  [64, 196, 170],
  [58, 134, 255],
  [131, 86, 220],
  [92, 103, 125],
];

/** The colour of a level, counted from 0. */
export const levelColour = (level: number): Colour => LEVELS[Math.min(level, LEVELS.length - 1)];
