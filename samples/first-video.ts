// A prompt becomes an mp4, dense and with AdaSpa: node dist/samples/first-video.js "PROMPT" [MODEL]. The model is a Wan folder, or the embedded one.
import { adaSpa, dense, saveVideo, TextToVideoPipeline } from '../src/index.ts';

const [prompt = 'a rocket flying up over a night sky', model] = process.argv.slice(2);
const pipe = await TextToVideoPipeline.fromPretrained(model);
for (const attention of [dense(), adaSpa({ sparsity: 0.8 })]) {
  const video = pipe(prompt, {
    seed: 7,
    attention,
    onStep: ({ step, steps, density }) => console.log(`${attention.name}: step ${step + 1}/${steps}, density ${density.toFixed(2)}`),
  });
  const { path } = await saveVideo(video, `${attention.name}.mp4`);
  const { milliseconds, meanDensity } = await video.report;
  console.log(`${path}: ${(milliseconds.denoise / 1000).toFixed(1)} s of denoising at mean density ${meanDensity.toFixed(2)}`);
}
await pipe.dispose();
