// An inspection on the page: density of every layer and head over the steps, and the pictures of plans with their recall.
import { type Colour, levelColour, QUERY, UNREAD } from '../../inspect/colours.ts';
import type { PlansSection } from '../data.ts';
import { choice, h, key, wide } from './dom.ts';
import { heatMap, scale } from './heat.ts';

export function plansSection(section: PlansSection): HTMLElement {
  const { method, prompt, seed, width, height, numFrames, steps, grid } = section;
  const tokens = grid.frames * grid.height * grid.width + grid.text;
  return h(
    'article',
    {},
    h('h2', {}, `Plans of ${method}`),
    h(
      'p',
      { class: 'where' },
      `“${prompt}”, seed ${seed} · ${width}x${height}, ${numFrames} frames, ${steps} steps, ${tokens.toLocaleString('en')} tokens`,
    ),
    densityPart(section),
    section.plans.length > 0 && picturesPart(section),
  );
}

/** The whole run, and a step of it by layer and head. */
function densityPart({ calls, layers, heads, steps }: PlansSection): HTMLElement {
  const table = Array.from({ length: steps }, (_, step) =>
    Array.from(
      { length: layers },
      (_, layer) => calls.find((call) => call.step === step && call.layer === layer)?.density ?? Array<number>(heads).fill(0),
    ),
  );
  const mean = (row: readonly number[]) => row.reduce((sum, x) => sum + x, 0) / row.length;
  const whole = {
    title: 'Every step',
    values: table[0].map((_, layer) => table.map((row) => mean(row[layer]))),
    rows: 'layer',
    columns: 'step',
  };
  const one = h('div', {});
  const slider = h('input', { type: 'range', min: 0, max: steps - 1, value: steps - 1, 'aria-label': 'Step', input: () => draw() });
  const draw = () => {
    one.replaceChildren(heatMap({ title: `Step ${slider.value}`, values: table[Number(slider.value)], rows: 'layer', columns: 'head' }));
  };
  draw();
  const bar = h('div', { class: 'bar' }, h('label', { class: 'choice' }, 'Step', slider), scale('none', 'all of it'));
  const note = 'Share of full attention that was computed: by layer over the whole run, and by layer and head at the step of the slider.';
  return wide('Density', note, bar, h('div', { class: 'maps two' }, heatMap(whole), one));
}

function picturesPart({ plans }: PlansSection): HTMLElement {
  const stage = h('div', { class: 'heads' });
  const legend = h('div', { class: 'keys' });
  const draw = (at: number) => {
    const { heads, pools } = plans[at];
    legend.replaceChildren(
      ...pools.map((pool, level) => keyOf(pool === 1 ? 'read in full' : `read at 1/${pool}`, levelColour(level))),
      ...[keyOf('not read', UNREAD), keyOf('the query block', QUERY)],
    );
    stage.replaceChildren(...heads.map(headFigure));
  };
  draw(0);
  const names = plans.map(
    ({ step, layer, layout, isRead }) => `step ${step}, layer ${layer}, ${layout}${isRead ? '' : ', for the next step'}`,
  );
  const note =
    'Left, the plan of a head: query blocks from top to bottom, key blocks from left to right. Right, what one query block reads of each latent frame, in the same colours; what is dark is not read. Recall is the share of the exact softmax mass in what is read.';
  return wide('Block maps and neighbourhoods', note, h('div', { class: 'bar' }, choice('Plan', names, draw), legend), stage);
}

const keyOf = (text: string, colour: Colour): HTMLElement => key(text, { colour: `rgb(${colour})`, mark: 'rect' });

function headFigure(
  { density, read, full, map, neighbourhood }: PlansSection['plans'][number]['heads'][number],
  head: number,
): HTMLElement {
  const recall = full === read ? read.toFixed(3) : `${read.toFixed(3)}, ${full.toFixed(3)} in full`;
  return h(
    'figure',
    { class: 'head' },
    h('figcaption', {}, h('b', {}, `Head ${head}`), h('span', {}, `density ${density.toFixed(3)}`), h('span', {}, `recall ${recall}`)),
    map && h('img', { class: 'map', src: map, alt: `block map of head ${head}` }),
    neighbourhood && h('img', { src: neighbourhood, alt: `what one query block of head ${head} reads` }),
  );
}
