// A method of one's own: a preset with another stage. AdaSpa's exact scores on 3D tiles, cut by mass instead of rank: node dist/samples/own-method.js [MODEL].
import { accelerate, adaSpa, type Method, mass, saveVideo, TextToVideoPipeline, tiles, upTo } from '../src/index.ts';

const tiledMass: Method = { ...adaSpa(), name: 'tiledMass', layout: tiles(4, 4, 4), select: mass(), levels: upTo(0.9) };

const pipe = await TextToVideoPipeline.fromPretrained(process.argv[2]);
const { restore } = accelerate(pipe, tiledMass);
const video = pipe('a red car driving to the left on a city street', { seed: 7 });
await saveVideo(video, 'car.mp4');
console.log(`mean density ${(await video.report).meanDensity.toFixed(2)}`);
restore();
await pipe.dispose();
