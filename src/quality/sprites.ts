// The sprites that the embedded model was trained on, as pictures to look for in its clips: twin of `templates` in samples/train/track.py.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { VIEW_SIZE } from './view.ts';
import { heightOf, JUDGE_FILES, type World } from './world.ts';

/** A sprite as it looks when it moves in each direction at four phases of its loop: [count, 3, side, side], premultiplied, and where it is opaque. */
export interface Templates {
  readonly count: number;
  readonly side: number;
  readonly colour: Float32Array;
  /** [count, 1, side, side] of 0 and 1. */
  readonly mask: Float32Array;
}

/** Radians, counter-clockwise from the right. */
export const HEADINGS = { left: Math.PI, right: 0, up: Math.PI / 2, down: -Math.PI / 2 } as const;

/** Pixels of a cell of a sprite sheet. */
const CELL = 128;
const PHASES = [0, 0.25, 0.5, 0.75];
/** The frame of the loop that phase 0 shows. */
const FIRST_FRAME = 16;

interface Sheet {
  readonly name: string;
  readonly code: string;
  /** Where the art looks: 180 to the left, 45 up and to the right, null to the front. */
  readonly face: number | null;
  /** Frames of the loop, and cells in a row. */
  readonly n: number;
  readonly cols: number;
}

/** One loop frame, premultiplied RGBA [4, cell, cell] in [0, 1]. */
type Cell = Float32Array;

/** Templates of a subject at a size. @throws Error when a file is missing, RangeError for a subject or size that the world does not have. */
export async function templatesOf(world: World, subject: string, size: string): Promise<Templates> {
  const height = heightOf(world, size);
  const sheets = JSON.parse(await readFile(join(world.folder, JUDGE_FILES[2]), 'utf8')).subjects as readonly Sheet[];
  const sheet = sheets.find(({ name }) => name === subject);
  if (!sheet) throw new RangeError(`subject is "${subject}"; there are sprites of ${sheets.map(({ name }) => name).join(', ')}.`);
  const cells = (await cellsOf(world, sheet)).map((cell) => softened(cell, 1 / height));
  const half = Math.floor((height * VIEW_SIZE) / 2) + 2;
  const [count, side] = [Object.keys(HEADINGS).length * cells.length, 2 * half];
  const [colour, mask] = [new Float32Array(count * 3 * side ** 2), new Float32Array(count * side ** 2)];
  let at = 0;
  for (const heading of Object.values(HEADINGS))
    for (const cell of cells) {
      const picture = placed(cell, sheet.face, heading, height, side);
      colour.set(picture.subarray(0, 3 * side ** 2), at * 3 * side ** 2);
      mask.set(
        picture.subarray(3 * side ** 2).map((alpha) => (alpha > 0.5 ? 1 : 0)),
        at * side ** 2,
      );
      at++;
    }
  return { count, side, colour, mask };
}

async function cellsOf({ folder }: World, { code, n, cols }: Sheet): Promise<Cell[]> {
  const { default: sharp } = await import('sharp'); // not before: the probe works without it
  const file = join(folder, JUDGE_FILES[3].replace('*', code));
  const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return PHASES.map((phase) => {
    const frame = (FIRST_FRAME + Math.floor(phase * n)) % n;
    const [top, left] = [Math.floor(frame / cols) * CELL, (frame % cols) * CELL];
    const cell = new Float32Array(4 * CELL ** 2);
    for (let i = 0; i < CELL ** 2; i++) {
      const from = ((top + Math.floor(i / CELL)) * info.width + left + (i % CELL)) * 4;
      const alpha = data[from + 3] / 255;
      for (let c = 0; c < 3; c++) cell[c * CELL ** 2 + i] = (data[from + c] / 255) * alpha;
      cell[3 * CELL ** 2 + i] = alpha;
    }
    return cell;
  });
}

/** A cell as smooth as the renderer takes it for a sprite drawn `reduction` times smaller: means of 2 or 4 pixels, enlarged again. */
function softened(cell: Cell, reduction: number): Cell {
  const factor = reduction > 2.7 ? 4 : reduction > 1.35 ? 2 : 1;
  if (factor === 1) return cell;
  const size = CELL / factor;
  const small = new Float32Array(4 * size ** 2);
  for (let c = 0; c < 4; c++)
    for (let i = 0; i < CELL ** 2; i++) {
      const [y, x] = [Math.floor(i / CELL / factor), Math.floor((i % CELL) / factor)];
      small[c * size ** 2 + y * size + x] += cell[c * CELL ** 2 + i] / factor ** 2;
    }
  const source = (at: number): number => Math.min(size - 1, Math.max(0, (at + 0.5) / factor - 0.5));
  return Float32Array.from({ length: cell.length }, (_, i) => {
    const [plane, at] = [Math.floor(i / CELL ** 2), i % CELL ** 2];
    return sampled(small.subarray(plane * size ** 2, (plane + 1) * size ** 2), size, source(Math.floor(at / CELL)), source(at % CELL));
  });
}

/** The sprite in the middle of a square of `side` pixels of the view, turned or flipped for its heading: [4, side, side]. */
function placed(cell: Cell, face: number | null, heading: number, height: number, side: number): Float32Array {
  const turned = face === 45;
  const backwards = turned && Math.abs(heading) > Math.PI / 2 + 1e-5;
  const rotation = turned ? (backwards ? 3 : 1) * (Math.PI / 4) - heading : 0;
  // Art that looks to the left is flipped when it moves to the right, and when it moves up or down.
  const flipped = backwards || (face === 180 && Math.cos(heading) > -0.01);
  const [cos, sin, sign] = [Math.cos(rotation) / height, Math.sin(rotation) / height, flipped ? -1 : 1];
  const out = new Float32Array(4 * side ** 2);
  for (let i = 0; i < side ** 2; i++) {
    const [y, x] = [Math.floor(i / side), i % side].map((at) => (2 * at + 1 - side) / VIEW_SIZE);
    const [column, row] = [sign * (cos * x + sin * y), cos * y - sin * x].map((at) => ((at + 1) * CELL - 1) / 2);
    for (let c = 0; c < 4; c++) out[c * side ** 2 + i] = sampled(cell.subarray(c * CELL ** 2, (c + 1) * CELL ** 2), CELL, row, column);
  }
  return out;
}

/** Linear between four pixels of a square picture; outside of it is 0. */
function sampled(picture: Float32Array, size: number, row: number, column: number): number {
  const [top, left] = [Math.floor(row), Math.floor(column)];
  let sum = 0;
  for (const [y, share] of [
    [top, 1 - (row - top)],
    [top + 1, row - top],
  ])
    for (const [x, part] of [
      [left, 1 - (column - left)],
      [left + 1, column - left],
    ])
      if (y >= 0 && x >= 0 && y < size && x < size) sum += share * part * picture[y * size + x];
  return sum;
}

/** Why sprites cannot be drawn on this machine, and so nothing tracked; undefined where they can. */
export const drawingFailure = (): Promise<string | undefined> =>
  import('sharp').then(
    () => undefined,
    (error: Error) => `sharp does not load: ${error.message.split('\n')[0]}`,
  );
