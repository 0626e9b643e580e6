// What a method reads in a run, on the terminal and as pictures: node dist/samples/look-at-plans.js [METHOD] [FOLDER] [MODEL].
import { inspectionText, inspectRun, methodNamed, saveInspection, TextToVideoPipeline } from '../src/index.ts';

const [method = 'pyramidSparse', folder = 'plans', model] = process.argv.slice(2);
const pipe = await TextToVideoPipeline.fromPretrained(model);
const inspection = await inspectRun(pipe, 'a red car driving to the left on a city street', {
  method: methodNamed(method).preset(),
  layers: [0, 4],
  settings: { seed: 7 },
});
console.log(inspectionText(inspection));
await saveInspection(inspection, folder);
const heads = inspection.plans.flatMap((plan) => plan.heads.map((head, at) => ({ layer: plan.layer, head: at, ...head })));
const worst = heads.sort((a, b) => a.read - b.read)[0];
console.log(
  `least recall: layer ${worst.layer}, head ${worst.head}, ${worst.read.toFixed(2)} of the mass at density ${worst.density.toFixed(2)}`,
);
await pipe.dispose();
