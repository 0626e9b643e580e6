// Reproducible normal noise by a counter-based generator: value i depends on (seed, stream, i) alone, so any part of it
// can be made anywhere, in any order, by a GPU as well (Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

/** One Philox4x32 block of 10 rounds: four 32-bit words of counter and two of key to four random words, written to `out`. */
export function philox4x32(counter: ArrayLike<number>, key: ArrayLike<number>, out: Uint32Array): void {
  let c0 = counter[0] >>> 0;
  let c1 = counter[1] >>> 0;
  let c2 = counter[2] >>> 0;
  let c3 = counter[3] >>> 0;
  let k0 = key[0] >>> 0;
  let k1 = key[1] >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The upper 32 bits of the product of two unsigned 32-bit numbers, by 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const cross = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(cross / 65536);
}

/**
 * `count` independent values of N(0, 1) as float32. Element i takes one block of Philox4x32-10:
 * counter (i mod 2^32, floor(i / 2^32), stream, 0), key (seed mod 2^32, floor(seed / 2^32)); of its words w0, w1
 * u = ((w0 >>> 8) + 1) / 2^24 in (0, 1], v = (w1 >>> 8) / 2^24 in [0, 1), and the value is sqrt(-2 ln u) cos(2 pi v) (Box and Muller, 1958).
 * 24 bits are exact in float32, so other hardware differs only by its own ln, sqrt and cos; |value| <= 5.77.
 * `stream` (0..2^32 - 1) separates independent uses of one seed. Throws a RangeError for a seed or count that is no whole number of 0..2^53 - 1.
 */
export function gaussianNoise(seed: number, count: number, stream = 0): Float32Array<ArrayBuffer> {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`seed is ${seed}; give a whole number of 0..2^53 - 1.`);
  if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`count is ${count}; give a whole number >= 0.`);
  if (stream !== stream >>> 0) throw new RangeError(`stream is ${stream}; give a whole number of 0..2^32 - 1.`);
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const counter = [0, 0, stream, 0];
  const words = new Uint32Array(4);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    counter[0] = i % 2 ** 32;
    counter[1] = Math.floor(i / 2 ** 32);
    philox4x32(counter, key, words);
    const u = ((words[0] >>> 8) + 1) / 2 ** 24;
    const v = (words[1] >>> 8) / 2 ** 24;
    out[i] = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  }
  return out;
}
