// Frames of contenders side by side, at one moment that a slider moves through the video.
import type { Clips } from '../data.ts';
import { choice, h, wide } from './dom.ts';

/** `captionOf` says of a contender what its videos cost. */
export function framesPart(
  clips: readonly Clips[],
  shown: () => readonly string[],
  captionOf: (contender: string) => string,
  redraws: (() => void)[],
): HTMLElement {
  const stage = h('div', { class: 'stage' });
  const slider = h('input', { type: 'range', min: 0, max: 0, value: 0, 'aria-label': 'Moment of the video', input: () => place() });
  const count = h('output', {});
  let [clip, pictures] = [clips[0], [] as { image: HTMLImageElement; sources: readonly string[] }[]];
  const place = () => {
    for (const { image, sources } of pictures) image.src = sources[Math.min(Number(slider.value), sources.length - 1)];
    count.textContent = `${Number(slider.value) + 1} of ${Number(slider.max) + 1}`;
  };
  const draw = () => {
    const own = clip.frames.filter(({ contender }) => shown().includes(contender));
    pictures = own.map(({ contender, pictures: sources }) => ({ image: h('img', { alt: `${contender}: ${clip.prompt}` }), sources }));
    stage.replaceChildren(
      ...pictures.map(({ image }, at) => {
        const { contender } = own[at];
        return h('figure', {}, image, h('figcaption', {}, contender, h('small', {}, captionOf(contender))));
      }),
      own.length === 0 ? h('p', { class: 'note' }, 'No frames were kept of those that are shown.') : '',
    );
    slider.max = String(Math.max(0, ...pictures.map(({ sources }) => sources.length - 1)));
    place();
  };
  redraws.push(draw);
  draw();
  const play = player(slider, place);
  const prompts = choice(
    'Prompt',
    clips.map(({ prompt, seed }) => `${prompt}, seed ${seed}`),
    (at) => {
      clip = clips[at];
      draw();
    },
  );
  const note = 'The same prompt and seed by each of those that are shown, at one moment: move the slider, by hand or with the arrow keys.';
  return wide('Frames side by side', note, h('div', { class: 'bar' }, prompts, play, slider, count), stage);
}

/** Frames of a played video, each so long. */
const FRAME_MILLISECONDS = 160;

function player(slider: HTMLInputElement, place: () => void): HTMLElement {
  let timer: ReturnType<typeof setInterval> | undefined;
  const button = h('button', { type: 'button', class: 'play', click: () => toggle() }, 'Play');
  const toggle = () => {
    button.textContent = timer === undefined ? 'Pause' : 'Play';
    if (timer !== undefined) {
      clearInterval(timer);
      timer = undefined;
      return;
    }
    timer = setInterval(() => {
      slider.value = String((Number(slider.value) + 1) % (Number(slider.max) + 1));
      place();
    }, FRAME_MILLISECONDS);
  };
  return button;
}
