// An inspection on a terminal: a table of the run, a table of each plan, and its block maps in shades.
import { checkInspection, type InspectedPlan, type Inspection, mean } from './run.ts';

/** Shades of a cell, by the share of its block pairs that is read. */
const SHADES = ' ·░▒▓█';
/** Cells of a map at most, across and down; a cell of a terminal is twice as high as wide. */
const [ACROSS, DOWN] = [32, 16];

/** The inspection in lines of `columns` characters at most, if maps fit in them at all. */
export function inspectionText(inspection: Inspection, columns = 100): string {
  checkInspection(inspection);
  const { prompt, method, settings, grid, layers, heads, report, plans } = inspection;
  const tokens = grid.frames * grid.height * grid.width + grid.text;
  return `${[
    `${method}: "${prompt}", seed ${settings.seed}, ${settings.width}x${settings.height}, ${settings.numFrames} frames`,
    `${tokens} tokens (${grid.frames} x ${grid.height} x ${grid.width}), ${layers} layers, ${heads} heads, ${report.steps} steps, mean density ${report.meanDensity.toFixed(2)}`,
    '',
    ...stepLines(inspection),
    '',
    ...plans.flatMap((plan) => [...planLines(plan), '', ...mapLines(plan, columns)]),
    ...(plans.length === 0 ? ['No plan was made where it was looked: these steps compute full attention.'] : []),
  ]
    .join('\n')
    .trimEnd()}\n`;
}

/** Density of each step, all layers together, as a row of bars. */
function stepLines({ calls, report: { steps } }: Inspection): string[] {
  return Array.from({ length: steps }, (_, step) => {
    const own = calls.filter((call) => call.step === step);
    const density = mean(own.flatMap((call) => call.density));
    const phases = ['dense', 'search', 'reuse'].flatMap((phase) => {
      const times = own.filter((call) => call.phase === phase).length;
      return times === 0 ? [] : [times === own.length ? phase : `${phase} ${times}`];
    });
    const phase = own.length === 0 ? 'from the step cache' : phases.join(', ');
    return `step ${String(step).padStart(3)}  ${density.toFixed(2)}  ${'█'.repeat(Math.round(20 * density)).padEnd(20, '·')}  ${phase}`;
  });
}

function planLines({ step, layer, phase, isRead, layout, pools, heads }: InspectedPlan): string[] {
  const { name, blocks, block } = layout.q;
  const kept = isRead ? phase : `${phase}, kept for the next step`;
  const levels = pools.length > 1 || pools[0] > 1 ? `, levels ${pools.map((pool) => (pool === 1 ? 'full' : `1/${pool}`)).join(', ')}` : '';
  const row = ({ density, read, full }: (typeof heads)[number], head: number) =>
    `  head ${String(head).padStart(3)}  density ${density.toFixed(2)}  recall ${read.toFixed(2)}${read === full ? '' : `, in full ${full.toFixed(2)}`}`;
  return [`step ${step}, layer ${layer} (${kept}): ${name}, ${blocks} blocks of ${block}${levels}`, ...heads.map(row)];
}

/** Maps of the heads, as many side by side as fit. */
function mapLines(plan: InspectedPlan, columns: number): string[] {
  const maps = plan.heads.map((_, head) => shades(plan, head));
  const width = maps[0][0].length + 3;
  const abreast = Math.max(1, Math.floor(columns / width));
  return Array.from({ length: Math.ceil(maps.length / abreast) }, (_, row) => {
    const group = maps.slice(row * abreast, (row + 1) * abreast);
    const title = group.map((_, at) => `head ${row * abreast + at}`.padEnd(width)).join('');
    return [
      title.trimEnd(),
      ...group[0].map((_, line) =>
        group
          .map((map) => `${map[line]}   `)
          .join('')
          .trimEnd(),
      ),
      '',
    ];
  }).flat();
}

/** A head's map: query blocks down, key blocks across, several to a cell where there are many. */
function shades({ layout, levels, pools }: InspectedPlan, head: number): string[] {
  const [rows, columns] = [layout.q.blocks, layout.k.blocks];
  const [down, across] = [Math.min(DOWN, rows), Math.min(ACROSS, columns)];
  const edge = (at: number, cells: number, blocks: number): number => Math.floor((at * blocks) / cells);
  return Array.from({ length: down }, (_, line) => {
    const cell = (_: unknown, column: number): string => {
      let [sum, count] = [0, 0];
      for (let row = edge(line, down, rows); row < edge(line + 1, down, rows); row++)
        for (let at = edge(column, across, columns); at < edge(column + 1, across, columns); at++, count++) {
          const level = levels[(head * rows + row) * columns + at];
          sum += level === 0 ? 0 : 1 / pools[level - 1];
        }
      return SHADES[sum === 0 ? 0 : Math.max(1, Math.round((sum / count) * (SHADES.length - 1)))];
    };
    return `│${Array.from({ length: across }, cell).join('')}│`;
  });
}
