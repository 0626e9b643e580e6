// Colours of charts, from the style sheet, so that light and dark are decided in one place.

/** How many colours tell series apart; then they come again. */
const COLOURS = 10;

/** A colour of the style sheet by its name, as `--ink`. */
export const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A colour for each name, as a reference to the style sheet. */
export const coloursOf = (names: readonly string[]): Map<string, string> =>
  new Map(names.map((name, at) => [name, `var(--c${at % COLOURS})`]));

/** What a reference to the style sheet stands for now: a canvas needs the colour itself. */
export const resolved = (reference: string): string => colour(/var\((--[\w-]+)\)/.exec(reference)?.[1] ?? reference);

/** Calls when light turns to dark or back. */
export function onTheme(redraw: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
}
