// A method of one's own, which is a preset with other stages: AdaSpa's exact scores on 3D tiles, cut by mass instead of rank, and found anew at every
// third step: node dist/samples/own-method.js [MODEL].
import { accelerate, adaSpa, type Method, mass, type Schedule, saveVideo, TextToVideoPipeline, tiles, upTo } from '../src/index.ts';

// A stage is a function: this one says what is due at a step and layer.
const everyThird: Schedule = ({ step, steps }) => {
  if (step < 0.2 * steps) return 'dense';
  return step % 3 === 0 ? 'search' : 'reuse'; // without a plan that could be reused, one is made
};
const tiledMass: Method = {
  ...adaSpa(),
  name: 'tiledMass',
  layout: tiles(4, 4, 4), // boxes of 4 frames x 4 rows x 4 columns share a block
  select: mass(), // a row's best blocks, up to a share of its attention ...
  levels: upTo(0.9), // ... of .9
  schedule: everyThird,
  checkPlans: true, // while it is in the making
};

const pipe = await TextToVideoPipeline.fromPretrained(process.argv[2]);
const { restore } = accelerate(pipe, tiledMass);
const video = pipe('a red car driving to the left on a city street', { seed: 7 });
await saveVideo(video, 'car.mp4');
console.log(`mean density ${(await video.report).meanDensity.toFixed(2)}`);
restore();
await pipe.dispose();
