// Prompts whose truth is known: drawn from the grammar of the embedded model's captions, seen in training or held out; and the fixed ones.
import { createHash } from 'node:crypto';
import { choice, uniforms } from './draw.ts';
import type { World } from './world.ts';

/** What a prompt asks for, by the names of the world. */
export interface Truth {
  readonly subject: string;
  readonly scene: string;
  readonly motion: string;
  /** '' when no size is named. */
  readonly size: string;
}

export type Split = 'seen' | 'held-out';

export interface TruePrompt {
  readonly text: string;
  readonly truth: Truth;
  readonly split: Split;
}

/** The heads of the judge. */
export const HEADS = ['subject', 'scene', 'motion'] as const;
export type Head = (typeof HEADS)[number];

/** A tenth of all pairs of a subject with a motion or a scene: the first 16 bits of MD5 of "subject|other" are under 6554 of 65536. */
export function isPairHeldOut({ neverHeldOut }: World, subject: string, other: string): boolean {
  if (neverHeldOut.some(([a, b]) => a === subject && b === other)) return false;
  return createHash('md5').update(`${subject}|${other}`).digest().readUInt16BE(0) < 6554;
}

/** Whether training never drew this combination: its motion or its scene is held out for its subject. */
export function splitOf(world: World, { subject, scene, motion }: Pick<Truth, Head>): Split {
  return [motion, scene].some((other) => isPairHeldOut(world, subject, other)) ? 'held-out' : 'seen';
}

/**
 * Prompts of one split that name subject, motion and scene, as samples/train/evaluate.py words them: half of the parts in their first wording.
 * No text comes twice, and the first n of a larger count are those of a smaller one. Other draws than Python's, from the same grammar.
 */
export function drawPrompts(world: World, split: Split, count: number, seed = 0): TruePrompt[] {
  const uniform = uniforms(seed, split === 'seen' ? 0 : 1);
  const drawn = new Map<string, TruePrompt>();
  while (drawn.size < count) {
    const { colour, ...truth } = drawTruth(world, split, uniform);
    const part = (say: Say) => say(world, { ...truth, colour }, uniform, uniform() < 0.5);
    const text = [part(noun), part(doing), part(where)].join(' ');
    if (!drawn.has(text)) drawn.set(text, { text, truth, split });
  }
  return [...drawn.values()];
}

/** The first 24 fixed prompts of the model card, in the gallery with two seeds each. */
export const galleryPrompts = (world: World): TruePrompt[] => world.prompts.slice(0, 24).map((text) => withTruth(world, text));

/** A prompt with its truth. @throws RangeError unless it names a subject, a scene and a motion of the world. */
export function withTruth(world: World, text: string): TruePrompt {
  const { subject, scene, motion, size } = truthOf(world, text);
  if (!subject || !scene || !motion) {
    const missing = Object.entries({ subject, scene, motion }).flatMap(([name, found]) => (found ? [] : [name]));
    throw new RangeError(`"${text}" names no ${missing.join(' and no ')} of the model's world, so it cannot be judged; name one of each.`);
  }
  return { text, truth: { subject, scene, motion, size }, split: splitOf(world, { subject, scene, motion }) };
}

/** Prompts from outside the model's world: shown as they come, and never judged. */
export const OUTSIDE_PROMPTS: readonly string[] = [
  'a dragon flying over a castle',
  'a zebra walking in a meadow',
  'a pizza bouncing on a city street',
  'a submarine swimming underwater',
  'a rainbow over green hills',
  'a cat riding a bicycle',
  'two dogs running in a park',
  'an astronaut in space',
  'a train driving to the left',
  'a happy robot dancing at night',
  'a purple elephant',
  'a whale jumping out of the sea',
  'a motorcycle on a road',
  'a horse running on the beach',
  'a duck swimming on the sea',
  'snow falling on a mountain',
  'a clown with a red balloon',
  'a spider climbing up',
  'the moon over the ocean',
  'a penguin eating pizza',
];

/** What a prompt names of the world, by the longest wording of each kind that stands in it. */
export function truthOf(world: World, text: string): Partial<Truth> & Pick<Truth, 'size'> {
  const sentence = ` ${text.toLowerCase().replace(/[^a-z0-9-]+/g, ' ')} `;
  const longest = (entries: readonly (readonly [name: string, wordings: readonly string[]])[]): string | undefined => {
    const found = entries.flatMap(([name, wordings]) =>
      wordings.filter((wording) => wording !== '' && sentence.includes(` ${wording} `)).map((wording) => ({ name, wording })),
    );
    return found.sort((a, b) => b.wording.length - a.wording.length)[0]?.name;
  };
  const subject = longest(world.subjects.map(({ name, synonyms }) => [name, [name, ...synonyms]]));
  const scene = longest(world.scenes.map(({ name, wordings }) => [name, filled(wordings, '{c}', world.colours)]));
  const verbs = world.subjects.filter(({ name }) => !subject || name === subject).flatMap((one) => [...one.verbs, ANY_VERB]);
  const motion = longest(world.motions.map(({ name, wordings }) => [name, filled(wordings, '{v}', verbs)]));
  const size = longest(world.sizes.map(({ name, words }) => [name, words])) ?? '';
  return { ...(subject && { subject }), ...(scene && { scene }), ...(motion && { motion }), size };
}

/** The verb that any subject may have. */
const ANY_VERB = 'moving';

const filled = (wordings: readonly string[], slot: string, words: readonly string[]): string[] =>
  wordings.flatMap((wording) => (wording.includes(slot) ? words.map((word) => wording.replace(slot, word)) : [wording]));

interface Drawn extends Truth {
  readonly colour: string;
}

function drawTruth(world: World, split: Split, uniform: () => number): Drawn {
  for (;;) {
    const { name: subject, habitat } = choice(uniform, world.subjects);
    const truth = { subject, ...drawUse(world, habitat, uniform), size: choice(uniform, world.sizes).name };
    const colour = choice(uniform, world.colours);
    if (splitOf(world, truth) === split) return { ...truth, colour };
  }
}

/** A scene and a motion, mostly such as suit the habitat. */
function drawUse(world: World, habitat: string, uniform: () => number): Pick<Truth, 'scene' | 'motion'> {
  const scenes = world.scenes.map(({ name }) => name);
  const scene = uniform() < 0.8 ? choice(uniform, [...world.places[habitat], 'plain']) : choice(uniform, scenes);
  const flies = habitat === 'air' || habitat === 'water' || !world.scenes.find(({ name }) => name === scene)!.ground;
  const jumps = habitat === 'land' || habitat === 'any' || !flies;
  const usual = ['left', 'right', 'still', 'grow', ...(flies ? ['up', 'down', 'circle'] : []), ...(jumps ? ['bounce'] : [])];
  const motions = world.motions.map(({ name }) => name);
  return { scene, motion: choice(uniform, uniform() < 0.85 ? usual : motions) };
}

type Say = (world: World, truth: Drawn, uniform: () => number, plain: boolean) => string;

const noun: Say = ({ subjects, sizes }, { subject, size }, uniform, plain) => {
  const { name, synonyms } = subjects.find((one) => one.name === subject)!;
  const called = !plain && uniform() < 0.3 ? choice(uniform, synonyms) : name;
  const adjective = plain ? size : choice(uniform, sizes.find((one) => one.name === size)!.words);
  const words = `${adjective} ${called}`.trim();
  if (!plain && uniform() < 0.15) return `the ${words}`;
  return `${/^[aeiou]/.test(words) && !words.startsWith('uf') ? 'an' : 'a'} ${words}`;
};

const doing: Say = ({ subjects, motions }, { subject, motion }, uniform, plain) => {
  const { verbs } = subjects.find(({ name }) => name === subject)!;
  const verb = plain ? verbs[0] : uniform() < 0.85 ? choice(uniform, verbs) : ANY_VERB;
  const { wordings } = motions.find(({ name }) => name === motion)!;
  return (plain ? wordings[0] : choice(uniform, wordings)).replace('{v}', verb);
};

const where: Say = ({ scenes }, { scene, colour }, uniform, plain) => {
  const { wordings } = scenes.find(({ name }) => name === scene)!;
  return (plain ? wordings[0] : choice(uniform, wordings)).replace('{c}', colour);
};
