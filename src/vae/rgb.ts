// Decoded frames as RGB bytes.
import type { Frame } from '../video/frame.ts';
import type { DecodedFrames, VideoDecoder } from './index.ts';

/** Decoded pieces [frames, 3, height, width] in [0, 1] -> RGB bytes, frame by frame. */
export async function* rgbFrames(pieces: AsyncIterable<DecodedFrames>): AsyncGenerator<Omit<Frame, 'index'>> {
  for await (const { data, frames, height, width } of pieces) {
    const pixels = height * width;
    for (let frame = 0; frame < frames; frame++) {
      const bytes = new Uint8Array(pixels * 3);
      for (let channel = 0; channel < 3; channel++) {
        const plane = (frame * 3 + channel) * pixels;
        for (let i = 0; i < pixels; i++) bytes[i * 3 + channel] = Math.round(255 * Math.min(1, Math.max(0, data[plane + i])));
      }
      yield { data: bytes, width, height };
    }
  }
}

/** The first frame of latents [channels, frames, height, width]: one latent frame is decoded. */
export async function firstFrame(
  vae: VideoDecoder,
  latents: Float32Array,
  [channels, frames, height, width]: readonly number[],
): Promise<Frame> {
  const area = height * width;
  const first = new Float32Array(channels * area);
  for (let channel = 0; channel < channels; channel++)
    first.set(latents.subarray(channel * frames * area, channel * frames * area + area), channel * area);
  for await (const frame of rgbFrames(vae.decode(first, [channels, 1, height, width]))) return { index: 0, ...frame };
  throw new Error('the decoder gave no frame for a preview');
}
