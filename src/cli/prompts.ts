// Words of prompts: a file name made from one, the known prompts nearest to one, whether it names something the model has seen; and which to run.
import { editDistance } from '../edit-distance.ts';
import type { TextToVideoPipeline } from '../pipeline.ts';

const SMALL_WORDS = new Set('a an the of in on at to by over under with and is are from into through for its it this that'.split(' '));

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const weighty = (text: string): string[] => wordsOf(text).filter((word) => !SMALL_WORDS.has(word));

/**
 * A file name for a prompt: its first three weighty words, as `rocket-flying-up.mp4`, with `-2`, `-3`, ... until `taken` says no.
 * Letters of every script stay; a prompt of none gives `video.mp4`.
 */
export function outputName(prompt: string, taken: (name: string) => boolean): string {
  const stem = weighty(prompt).slice(0, 3).join('-').slice(0, 60) || 'video';
  let name = `${stem}.mp4`;
  for (let number = 2; taken(name); number++) name = `${stem}-${number}.mp4`;
  return name;
}

/** 1 for the same word, less for a typing error or a plural, 0 for another word: "playing" is not nearly "flying". */
function similarity(a: string, b: string): number {
  const length = Math.max(a.length, b.length);
  const edits = editDistance(a, b);
  return edits > (length < 3 ? 0 : length < 8 ? 1 : 2) ? 0 : 1 - edits / length;
}

/** The prompts given, or the first `count` of the model's own. @throws RangeError when it names fewer. */
export function givenPrompts({ vocabulary }: TextToVideoPipeline, given: readonly string[] | undefined, count: number): readonly string[] {
  if (given) return given;
  const own = vocabulary?.prompts ?? [];
  if (own.length < count) throw new RangeError(`the model names ${own.length} prompts, not ${count}; give each with --prompt`);
  return own.slice(0, count);
}

/** The `count` known prompts with most in common with `prompt`, best first: each weighty word counts by its nearest word there. */
export function nearestPrompts(prompt: string, known: readonly string[], count = 3): string[] {
  const asked = weighty(prompt);
  const score = (candidate: string): number => {
    const words = weighty(candidate);
    return asked.reduce((sum, word) => sum + Math.max(0, ...words.map((other) => similarity(word, other))), 0) - 0.01 * words.length;
  };
  return known
    .map((text) => ({ text, score: score(text) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .map(({ text }) => text);
}

/** The first of `subjects` that the prompt names, in singular or plural ("two red cars" names "red car"); undefined if none. */
export function namedSubject(prompt: string, subjects: readonly string[]): string | undefined {
  const words = wordsOf(prompt);
  const same = (word: string | undefined, wanted: string): boolean => word === wanted || word === `${wanted}s` || word === `${wanted}es`;
  return subjects.find((subject) => {
    const wanted = wordsOf(subject);
    return words.some((_, at) => wanted.every((word, i) => same(words[at + i], word)));
  });
}
