// Plans as pictures: the block map of a head, and the tokens that one query block reads, drawn over the frames of the run.
import { type Grid, tokensOfBlock } from '../sparse3d/plan.ts';
import type { Frame } from '../video/frame.ts';
import { contactSheet, frameImage } from '../video/frames.ts';
import { type Colour, levelColour, QUERY, UNREAD } from './colours.ts';
import type { InspectedPlan, Inspection } from './run.ts';

const colourOf = (level: number): Colour => (level === 0 ? UNREAD : levelColour(level - 1));

/** Sides of pictures in pixels, about. */
const SIDE = 384;

/** Query blocks from top to bottom, key blocks from left to right, in the colour of their level. */
export function blockMap({ layout, levels }: InspectedPlan, head: number): Frame {
  const [rows, columns] = [layout.q.blocks, layout.k.blocks];
  const cell = Math.max(1, Math.floor(SIDE / Math.max(rows, columns)));
  const [width, height] = [columns * cell, rows * cell];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const pair = (head * rows + Math.floor(y / cell)) * columns + Math.floor(x / cell);
      data.set(colourOf(levels[pair]), (y * width + x) * 3);
    }
  return { index: 0, width, height, data };
}

/** The query block that holds the token in the middle of the video. */
export function middleBlock({ layout: { q } }: InspectedPlan): number {
  const { frames, height, width } = q.grid;
  const token = ((frames >> 1) * height + (height >> 1)) * width + (width >> 1);
  return Math.floor(q.order.indexOf(token) / q.block);
}

/**
 * What one query block of a head reads, a frame of the run for each latent frame: what is read in full is tinted in the colour of the finest level,
 * coarser levels more so in theirs, the rest is dark, and the query block has an outline. Text tokens are not drawn.
 * @throws RangeError for a query block that there is not.
 */
export async function neighbourhood(inspection: Inspection, plan: InspectedPlan, head: number, queryBlock: number): Promise<Frame> {
  const { q } = plan.layout;
  if (!(Number.isInteger(queryBlock) && queryBlock >= 0 && queryBlock < q.blocks))
    throw new RangeError(`there is no query block ${queryBlock}: this layout has ${q.blocks}, counted from 0`);
  const reach: Reach = {
    grid: q.grid,
    pools: plan.pools,
    levels: tokenLevels(plan, head, queryBlock),
    own: new Set(tokensOfBlock(q, queryBlock)),
  };
  const { frames } = inspection;
  const scale = Math.max(1, Math.round(SIDE / 2 / Math.max(frames[0].width, frames[0].height)));
  const drawn = await Promise.all(frames.map(async (frame, at) => apart(drawOver(await enlarged(frame, scale), at, reach))));
  const rows = Math.ceil(drawn.length / 6);
  return contactSheet(drawn, Math.ceil(drawn.length / rows));
}

/** What one query block reads, by token. */
interface Reach {
  readonly grid: Grid;
  readonly pools: readonly number[];
  /** Of each video token, as in `InspectedPlan.levels`. */
  readonly levels: Uint8Array;
  /** Tokens of the query block. */
  readonly own: ReadonlySet<number>;
}

function tokenLevels({ layout: { q, k }, levels }: InspectedPlan, head: number, queryBlock: number): Uint8Array {
  const { frames, height, width } = k.grid;
  const tokens = new Uint8Array(frames * height * width);
  for (let block = 0; block < k.videoBlocks; block++)
    for (const token of tokensOfBlock(k, block)) tokens[token] = levels[(head * q.blocks + queryBlock) * k.blocks + block];
  return tokens;
}

async function enlarged(frame: Frame, scale: number): Promise<Frame> {
  const [width, height] = [frame.width * scale, frame.height * scale];
  return { ...frame, width, height, data: await frameImage(frame).resize(width, height).raw().toBuffer() };
}

/** With a dark gap to the next one. */
async function apart(frame: Frame): Promise<Frame> {
  const [width, height] = [frame.width + GAP, frame.height + GAP];
  const background = { r: 0, g: 0, b: 0 };
  return { ...frame, width, height, data: await frameImage(frame).extend({ right: GAP, bottom: GAP, background }).raw().toBuffer() };
}

/** Pixels between frames. */
const GAP = 4;
/** Pixels of an outline. */
const LINE = 2;

function drawOver(frame: Frame, at: number, { grid, pools, levels, own }: Reach): Frame {
  const { width, height } = frame;
  const tokenAt = (x: number, y: number): number =>
    (at * grid.height + Math.floor((y * grid.height) / height)) * grid.width + Math.floor((x * grid.width) / width);
  const isEdge = (x: number, y: number): boolean =>
    [
      [x - LINE, y],
      [x + LINE, y],
      [x, y - LINE],
      [x, y + LINE],
    ].some(([nextX, nextY]) => nextX < 0 || nextY < 0 || nextX >= width || nextY >= height || !own.has(tokenAt(nextX, nextY)));
  const data = new Uint8Array(frame.data.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const token = tokenAt(x, y);
      const pixel = (y * width + x) * 3;
      if (own.has(token) && isEdge(x, y)) data.set(QUERY, pixel);
      else for (let c = 0; c < 3; c++) data[pixel + c] = shade(frame.data[pixel + c], levels[token], pools, c);
    }
  return { ...frame, data };
}

/** A channel of a pixel of the frame in the light of its token's level; what is read in full keeps most of its own, and shows on a dark scene too. */
function shade(value: number, level: number, pools: readonly number[], channel: number): number {
  if (level === 0) return 0.15 * value + 0.6 * UNREAD[channel];
  const own = pools[level - 1] === 1 ? 0.65 : 0.4;
  return own * value + (1 - own) * colourOf(level)[channel];
}
