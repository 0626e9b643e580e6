// Small clips of a fixed pattern, for figures that were computed elsewhere on the same numbers.
import type { Frame } from '../../src/video/frame.ts';

/** RGB frames whose byte at frame t, row y, column x, colour c is (7x + 13y + 29c + 17t + (xy(c + 1) mod modulus)) mod 256. */
export function pattern(count: number, height: number, width: number, modulus: number): Frame[] {
  return Array.from({ length: count }, (_, t) => {
    const data = new Uint8Array(height * width * 3);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = 7 * x + 13 * y + 29 * c + 17 * t + ((x * y * (c + 1)) % modulus);
    return { index: t, width, height, data };
  });
}

/** Frames of one colour each, by brightness in 0..255. */
export const flat = (values: readonly number[], size = 12): Frame[] =>
  values.map((value, index) => ({ index, width: size, height: size, data: new Uint8Array(size * size * 3).fill(value) }));
