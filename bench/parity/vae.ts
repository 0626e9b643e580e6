// Checks of VAE decoders: a whole video, and one of a single frame.
import { readdir } from 'node:fs/promises';
import { loadVae, type VideoDecoder } from '../../src/vae/index.ts';
import { type Comparison, compare, type Fixture, type FixtureArray, floats, TOLERANCE } from './fixture.ts';
import type { Target } from './target.ts';

/** Decodes latents [channels, frames, height, width] to all frames at once, [frames, 3, height, width] in [0, 1]. */
export async function decodeAll(decoder: VideoDecoder, latents: Float32Array, shape: readonly number[]): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  for await (const { data } of decoder.decode(latents, shape)) parts.push(data.slice());
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** [outer, inner, ...rest] -> [inner, outer, ...rest]. */
export function swapLeading(data: Float32Array, outer: number, inner: number): Float32Array {
  const size = data.length / (outer * inner);
  const swapped = new Float32Array(data.length);
  for (let i = 0; i < outer; i++)
    for (let j = 0; j < inner; j++) swapped.set(data.subarray((i * inner + j) * size, (i * inner + j + 1) * size), (j * outer + i) * size);
  return swapped;
}

/** Frames [frames, 3, h, w] in [0, 1] as the reference stores video: [3, frames, h, w] in [-1, 1]. */
export const asSigned = (frames: Float32Array, count: number): Float32Array => swapLeading(frames, count, 3).map((value) => 2 * value - 1);

/** TAEHV: latents [1, T, C, H, W] -> video [1, T', 3, H', W'] in [0, 1]. */
export async function* checkTaehv(fixture: Fixture, { decoding }: Target): AsyncGenerator<Comparison> {
  const [file] = await readdir(fixture.path('taehv'));
  const decoder = await loadVae(fixture.path('taehv', file), decoding);
  try {
    const { data, shape } = await fixture.array('inputs', 'latents');
    const [, frames, channels, height, width] = shape;
    const video = await decodeAll(decoder, swapLeading(data as Float32Array, frames, channels), [channels, frames, height, width]);
    yield compare(`${fixture.name}.video`, video, await floats(fixture, 'outputs', 'video'), TOLERANCE.loop);
  } finally {
    await decoder.dispose();
  }
}

/** AutoencoderKLWan: pipeline latents [1, C, F, H, W] -> video [1, 3, F', H', W'] in [-1, 1]. */
export async function* checkWanVae(
  fixture: Fixture,
  { decoding }: Target,
): AsyncGenerator<Comparison | { name: string; unsupported: string }> {
  const decoder = await loadVae(fixture.path('vae'), decoding);
  try {
    const latents = await fixture.array('inputs', 'latents');
    yield await checkVideo(fixture, decoder, latents, 'video');
    yield await checkVideo(fixture, decoder, latents, 'video_one_frame');
    yield { name: `${fixture.name}.encode_mode`, unsupported: 'VAE encoding' };
  } finally {
    await decoder.dispose();
  }
}

async function checkVideo(fixture: Fixture, decoder: VideoDecoder, latents: FixtureArray, name: string): Promise<Comparison> {
  const expected = await fixture.array('outputs', name);
  const [, channels, stored, height, width] = latents.shape;
  const outFrames = expected.shape[2];
  const frames = (outFrames - 1) / decoder.temporal + 1;
  const perFrame = swapLeading(latents.data as Float32Array, channels, stored).subarray(0, frames * channels * height * width);
  const video = await decodeAll(decoder, swapLeading(perFrame, frames, channels), [channels, frames, height, width]);
  return compare(`${fixture.name}.${name}`, asSigned(video, outFrames), expected.data, TOLERANCE.loop);
}
