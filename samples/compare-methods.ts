// Methods beside full attention on one prompt and seed: node dist/samples/compare-methods.js [METHODS] [PROMPT] [MODEL].
import { catalogue, dense, type Frame, type Method, methodNamed, psnr, stepCache, TextToVideoPipeline } from '../src/index.ts';

const [names = 'adaSpa,pyramidSparse,exactRest', prompt = 'a red car driving to the left on a city street', model] = process.argv.slice(2);
const pipe = await TextToVideoPipeline.fromPretrained(model);

async function run(attention: Method, cache?: ReturnType<typeof stepCache>) {
  const video = pipe(prompt, { seed: 7, attention, ...(cache && { cache }) });
  const frames: Frame[] = [];
  for await (const frame of video) frames.push(frame);
  return { frames, ...(await video.report) };
}

const exact = await run(dense());
const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(1);
console.log(`dense: ${seconds(exact.milliseconds.denoise)} s, density 1.00`);
const say = (name: string, { frames, milliseconds, meanDensity, stepsSkipped }: Awaited<ReturnType<typeof run>>) =>
  console.log(
    `${name}: ${seconds(milliseconds.denoise)} s, density ${meanDensity.toFixed(2)}, ${stepsSkipped} steps skipped, ${psnr(frames, exact.frames).toFixed(1)} dB`,
  );
for (const name of names.split(',')) {
  const sparse = methodNamed(name).preset();
  say(name, await run(sparse));
  say(`${name} and a step cache`, await run(sparse, stepCache({ threshold: 0.1 })));
}
console.log(`${catalogue.length} methods can be compared`);
await pipe.dispose();
