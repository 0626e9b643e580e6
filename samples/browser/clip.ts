// Frames on a canvas: a loop, a slider that halts it at a frame, and a file of it.
import type { Frame, Video } from '../../src/browser.ts';
import { element } from './page.ts';

const TYPE = 'video/webm';

/** A figure that plays frames for as long as it is on the page. */
export function showClip(frames: readonly Frame[], { width, height, fps }: Video, caption: string): HTMLElement {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const slider = Object.assign(document.createElement('input'), { type: 'range', max: `${frames.length - 1}`, ariaLabel: 'frame' });
  const context = canvas.getContext('2d')!;
  const pictures = frames.map(pictureOf);
  const show = (index: number): void => {
    slider.valueAsNumber = index;
    context.putImageData(pictures[index], 0, 0);
  };
  let loop = 0;
  const play = (): void => {
    clearInterval(loop);
    show(0);
    loop = window.setInterval(
      () => (canvas.isConnected ? show((slider.valueAsNumber + 1) % frames.length) : clearInterval(loop)),
      1000 / fps,
    );
  };
  slider.addEventListener('input', () => {
    clearInterval(loop);
    show(slider.valueAsNumber);
  });
  const figure = document.createElement('figure');
  figure.append(canvas, slider, element('figcaption', caption));
  // Safari records no webm.
  if (MediaRecorder.isTypeSupported(TYPE)) figure.append(saving(canvas, play, (1000 * frames.length) / fps));
  play();
  return figure;
}

/** A button that records one turn of the loop, as it plays, and saves it. */
function saving(canvas: HTMLCanvasElement, play: () => void, milliseconds: number): HTMLElement {
  const button = element('button', 'Save as webm') as HTMLButtonElement;
  button.addEventListener('click', () => {
    const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: TYPE });
    recorder.addEventListener('dataavailable', ({ data }) => {
      Object.assign(document.createElement('a'), { href: URL.createObjectURL(data), download: 'zoetrope.webm' }).click();
      button.disabled = false;
    });
    button.disabled = true;
    recorder.start();
    play();
    setTimeout(() => recorder.stop(), milliseconds);
  });
  return button;
}

function pictureOf({ data, width, height }: Frame): ImageData {
  const picture = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    picture.data.set(data.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
    picture.data[4 * pixel + 3] = 255;
  }
  return picture;
}
