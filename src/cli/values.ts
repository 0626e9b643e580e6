// Readers of flag values: a word becomes a number, or a RangeError that names the flag, the word and what is wanted.

/** How numbers may be stored. */
export const DTYPES = ['f32', 'f16'] as const;

/** `832x480`, `832*480` or `832X480` as width and height in pixels. Throws a RangeError that names the value. */
export function parseSize(text: string): { width: number; height: number } {
  const match = /^(\d+)[xX*×](\d+)$/.exec(text.trim());
  const [width, height] = [Number(match?.[1]), Number(match?.[2])];
  if (!(width > 0 && height > 0)) throw new RangeError(`size is "${text}"; give width x height in pixels, as 832x480.`);
  return { width, height };
}

/** `0,0.6` or `0:0.6`: the share of the steps, from and to, that guidance is used on. Throws a RangeError that names the value. */
export function parseInterval(text: string): [number, number] {
  const parts = text.split(/[,:]/).map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const [from, to] = parts;
  if (parts.length !== 2 || !(from >= 0 && from < to && to <= 1)) {
    throw new RangeError(`guidance-interval is "${text}"; give two shares of the steps, from and to, within 0 and 1, as 0,0.6.`);
  }
  return [from, to];
}

/** A reader of numbers from `min` to `max`, for a flag's value; its RangeError names the flag, the value and `wanted`. */
export function numberIn(name: string, wanted: string, min: number, max: number, whole = false): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(value >= min && value <= max) || (whole && !Number.isInteger(value)))
      throw new RangeError(`${name} is "${text}"; give ${wanted}.`);
    return value;
  };
}

/** A reader of whole numbers from 1 to `max`. */
export const count = (name: string, unit: string, max: number): ((text: string) => number) =>
  numberIn(name, `a whole number of ${unit} from 1 to ${max}`, 1, max, true);

/** A reader of words with commas between, each read by `read`; what is said twice counts once. Throws a RangeError where a word is missing. */
export const listOf =
  <Value>(read: (word: string) => Value): ((text: string) => Value[]) =>
  (text) => {
    const words = text.split(',').map((word) => word.trim());
    if (words.includes('')) throw new RangeError(`"${text}" is a list with an empty place; give words with one comma between.`);
    return [...new Set(words.map(read))];
  };

/** A reader of a prompt that may be given more than once: all of them. Throws a TypeError for one that is blank. */
export function anotherPrompt(text: string, before: readonly string[] = []): readonly string[] {
  if (text.trim() === '') throw new TypeError('A prompt is empty; say what the video shows, or leave it out.');
  return [...before, text];
}

/** Stands for "above 0" and "below 1". */
export const TINY = 1e-6;
