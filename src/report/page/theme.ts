// Colours of charts, from the style sheet, so that light and dark are decided in one place.

/** How many colours tell series apart; then they come again with the next mark. */
const COLOURS = 10;
/** Marks of points, as the style sheet draws them in legends too. */
const MARKS = ['circle', 'rect', 'triangle', 'rectRot'] as const;

export type Mark = (typeof MARKS)[number];

/** How a series looks: a reference to a colour of the style sheet, and the mark of its points. */
export interface Look {
  readonly colour: string;
  readonly mark: Mark;
}

/** A colour of the style sheet by its name, as `--ink`. */
export const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A look for each name: forty differ. */
export const looksOf = (names: readonly string[]): Map<string, Look> =>
  new Map(names.map((name, at) => [name, { colour: `var(--c${at % COLOURS})`, mark: MARKS[Math.floor(at / COLOURS) % MARKS.length] }]));

/** What a reference to the style sheet stands for now: a canvas needs the colour itself. */
export const resolved = (reference: string): string => colour(/var\((--[\w-]+)\)/.exec(reference)?.[1] ?? reference);

/** Calls when light turns to dark or back. */
export function onTheme(redraw: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
}
