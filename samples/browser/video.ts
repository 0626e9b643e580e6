// A page that makes videos of the embedded model on this browser's WebGPU, a sparse one and, for comparison, a dense one by the same seed.
//   npm run browser          serves it at http://localhost:5173/video.html
// `?model=` after its address names another model: a folder on a server, relative to the page or whole.
import { catalogue, type Frame, type GeneratedVideo, methodNamed, TextToVideoPipeline, type Vocabulary } from '../../src/browser.ts';
import { showClip } from './clip.ts';
import { onWebgpu, stopped } from './gpu.ts';
import { element, find, say, shown } from './page.ts';

const field = (name: string): HTMLInputElement => find<HTMLInputElement>(`#wish [name=${name}]`);
const numberIn = (name: string): number => field(name).valueAsNumber;

/** Fills the form with what the model takes by default, and shows its words. */
function showModel({ defaults, vocabulary }: TextToVideoPipeline): void {
  const { width, height, numFrames: frames, numInferenceSteps: steps } = defaults;
  for (const [name, value] of Object.entries({ width, height, frames, steps })) field(name).value = `${value}`;
  for (const { name } of catalogue) find('#wish [name=method]').append(new Option(name));
  field('method').value = 'adaSpa';
  if (vocabulary) showVocabulary(vocabulary);
}

function showVocabulary({ prompts, subjects, scenes, motions }: Vocabulary): void {
  field('prompt').value = prompts[0] ?? '';
  find('#prompts').append(...prompts.map((prompt) => new Option(prompt)));
  const list = shown('#vocabulary', 'dl');
  for (const [name, words] of Object.entries({ subjects, scenes, motions }))
    list.append(element('dt', name), element('dd', words.join(', ')));
}

/** Makes the wished video, and the dense one beside it, one after the other. */
async function make(pipe: TextToVideoPipeline, signal: AbortSignal): Promise<void> {
  const { name, sparsity, preset } = methodNamed(field('method').value);
  const wished = preset(sparsity ? { sparsity: numberIn('sparsity') } : {});
  const methods = field('beside').checked && name !== 'dense' ? [wished, methodNamed('dense').preset()] : [wished];
  find('#clips').replaceChildren();
  for (const attention of methods) {
    const video = pipe(field('prompt').value, {
      attention,
      signal,
      seed: numberIn('seed'),
      width: numberIn('width'),
      height: numberIn('height'),
      numFrames: numberIn('frames'),
      numInferenceSteps: numberIn('steps'),
      onStep: ({ step, steps }) => say(`${attention.name}: step ${step + 1} of ${steps}…`, { done: (step + 1) / steps }),
    });
    say(`${attention.name}: loading weights and compiling kernels…`, { done: 0 });
    find('#clips').append(showClip(await framesOf(video, attention.name), video, await caption(video)));
  }
  say('Done.', { kind: 'passed' });
}

async function framesOf(video: GeneratedVideo, name: string): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of video) {
    frames.push(frame);
    say(`${name}: frame ${frames.length} of ${video.numFrames}…`, { done: frames.length / video.numFrames });
  }
  return frames;
}

async function caption({ report, settings }: GeneratedVideo): Promise<string> {
  const { method, milliseconds, meanDensity, tokens } = await report;
  const seconds = (time: number): string => `${(time / 1000).toFixed(1)} s`;
  const whole = milliseconds.text + milliseconds.denoise + milliseconds.decode;
  return `${method}, seed ${settings.seed}: ${seconds(whole)}, of it denoising ${seconds(milliseconds.denoise)}; ${Math.round(100 * meanDensity)} % of attention over ${tokens} tokens`;
}

async function main(): Promise<void> {
  const model = new URLSearchParams(location.search).get('model') ?? 'wan-mini';
  const pipe = await TextToVideoPipeline.fromPretrained(model, { device: 'webgpu' });
  showModel(pipe);
  const { adapter, dtype } = pipe.device;
  const stored =
    dtype === 'f16' ? 'numbers are stored as f16' : 'it has no f16, so numbers are stored as f32: slower, and in twice the memory';
  say(`Ready on ${adapter}; ${stored}.`);
  const [button, stop] = [find<HTMLButtonElement>('#make'), find<HTMLButtonElement>('#stop')];
  button.disabled = false;
  find<HTMLFormElement>('#wish').addEventListener('submit', async (event) => {
    event.preventDefault();
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    [button.disabled, stop.hidden] = [true, false];
    await make(pipe, abort.signal).catch((error: Error) => (abort.signal.aborted ? say('Stopped.') : stopped(error)));
    [button.disabled, stop.hidden] = [false, true];
  });
}

onWebgpu(main);
