// What a video file holds, read back with the ffmpeg of the optional package.
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';

export const binary: string = createRequire(import.meta.url)('@ffmpeg-installer/ffmpeg').path;

const run = (args: readonly string[]): Promise<{ stdout: Buffer; stderr: string }> =>
  new Promise((resolve) => {
    execFile(binary, args, { encoding: 'buffer', maxBuffer: 1 << 26 }, (_, stdout, stderr) =>
      resolve({ stdout, stderr: stderr.toString() }),
    );
  });

/** Size, fps and pixel format from ffmpeg's report, and the decoded frames as RGB. */
export async function probe(path: string) {
  const { stderr } = await run(['-i', path]);
  const [, codec, format, width, height] = /Video: (\w+).*?, (\w+)\(.*?, (\d+)x(\d+)/.exec(stderr) ?? [];
  const fps = Number(/([\d.]+) fps/.exec(stderr)?.[1]);
  const { stdout } = await run(['-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1']);
  const size = Number(width) * Number(height) * 3;
  return { codec, format, width: Number(width), height: Number(height), fps, frames: stdout.length / size, pixels: stdout, report: stderr };
}
