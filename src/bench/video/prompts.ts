// Which prompts and seeds a bench makes videos of: given ones, the model's own, or captions drawn from the world of the embedded model.
import type { TextToVideoPipeline } from '../../pipeline.ts';
import { drawPrompts, type Split, type Truth, truthOf } from '../../quality/prompts.ts';
import { loadWorld, type World } from '../../quality/world.ts';
import type { Frame } from '../../video/frame.ts';
import type { BenchPrompt } from './bench.ts';
import type { Adherence } from './case.ts';

export interface PromptOptions {
  readonly prompt?: readonly string[];
  /** How many of the model's own, or of captions. */
  readonly prompts: number;
  readonly captions?: Split;
  /** Of each prompt. */
  readonly seeds: number;
  /** Says of a video whether it shows what the prompt asks for. */
  readonly judge?: (frames: readonly Frame[], truth: Truth) => Promise<Adherence>;
}

/**
 * Prompts with their seeds, from 1 on; a drawn caption has seeds of its own, so that no two videos start from one noise.
 * @throws RangeError when the model has fewer prompts, or knows none; Error without the files that captions are drawn from.
 */
export async function benchPrompts({ vocabulary }: TextToVideoPipeline, options: PromptOptions): Promise<readonly BenchPrompt[]> {
  const { prompt, prompts, captions, seeds, judge } = options;
  if (captions && !vocabulary)
    throw new RangeError('--captions needs a model that says what it was trained on; give each prompt with --prompt');
  const world = vocabulary && (captions || judge) ? await loadWorld() : undefined;
  const judged = (text: string, first: number, truth = world && fullTruth(world, text)): BenchPrompt => ({
    ...{ text, seeds: Array.from({ length: seeds }, (_, at) => first + at) },
    ...(judge && truth && { judge: (frames: readonly Frame[]) => judge(frames, truth) }),
  });
  if (captions) return drawPrompts(world!, captions, prompts).map(({ text, truth }, at) => judged(text, 1 + at * seeds, truth));
  const texts = prompt ?? vocabulary?.prompts.slice(0, prompts) ?? [];
  if (!prompt && texts.length < prompts)
    throw new RangeError(
      vocabulary
        ? `this model has ${texts.length} prompts of its own, not ${prompts}; ask for fewer, or for --captions`
        : 'this model has no prompts of its own; give each with --prompt',
    );
  return texts.map((text) => judged(text, 1));
}

/** What a prompt asks for, if it names everything that is judged. */
function fullTruth(world: World, text: string): Truth | undefined {
  const { subject, scene, motion, size } = truthOf(world, text);
  return subject && scene && motion ? { subject, scene, motion, size } : undefined;
}
