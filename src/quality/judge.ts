// Judges clips of the embedded model against what their prompts ask for: a probe names subject, scene and motion, and tracking finds the sprite.
import { loadRuntime, type RuntimeChoice } from '../backend/runtime.ts';
import type { Frame } from '../video/frame.ts';
import { openProbe, type Verdict, verdictOf } from './probe.ts';
import type { Head, Truth } from './prompts.ts';
import { type Templates, templatesOf } from './sprites.ts';
import { createTracker, isDirection, type Track } from './track.ts';
import { viewOf } from './view.ts';
import { loadWorld, type World } from './world.ts';

/** What was found in a clip, and whether it is what was asked for. */
export interface Judgement {
  readonly verdict: Verdict;
  readonly subject: boolean;
  readonly scene: boolean;
  readonly motion: boolean;
  /** Whether the sprite was tracked going the way that was asked for; absent for motions without a direction. */
  readonly direction?: boolean;
  /** Mean correlation along the track; absent as `direction` is. */
  readonly peak?: number;
}

/** Clips of any size with at least 8 frames; frames are read and not kept. */
export interface Judge {
  readonly world: World;
  /** What the probe sees in a clip. */
  verdict(frames: readonly Frame[]): Promise<Verdict>;
  /** Where a subject of this size is in the clip. */
  track(frames: readonly Frame[], sprite: Pick<Truth, 'subject' | 'size'>): Promise<Track>;
  judge(frames: readonly Frame[], truth: Truth): Promise<Judgement>;
  dispose(): Promise<void>;
}

export interface JudgeOptions {
  /** A training folder with the files of `JUDGE_FILES`; by default that of the embedded model. */
  readonly folder?: string;
  readonly runtime?: RuntimeChoice;
}

/**
 * Opens the judge on the CPU. It knows nothing but the embedded model's world, and its verdict on other clips means nothing.
 * @throws Error with one sentence when a file is missing or damaged, UnsupportedError for a runtime that is not installed.
 */
export async function loadJudge({ folder, runtime: choice }: JudgeOptions = {}): Promise<Judge> {
  const world = await loadWorld(folder);
  const runtime = await loadRuntime(choice);
  const probe = await openProbe(world, runtime);
  const tracker = createTracker(runtime);
  const known = new Map<string, Promise<Templates>>();
  const templates = ({ subject, size }: Pick<Truth, 'subject' | 'size'>): Promise<Templates> => {
    const key = `${subject}|${size}`;
    const made = known.get(key) ?? templatesOf(world, subject, size);
    known.set(key, made);
    return made;
  };
  const verdict = async (view: Float32Array): Promise<Verdict> => verdictOf(world, await probe.logits(view));
  const track = async (view: Float32Array, sprite: Pick<Truth, 'subject' | 'size'>): Promise<Track> =>
    tracker.track(view, await templates(sprite));
  return {
    world,
    verdict: async (frames) => verdict(viewOf(frames)),
    track: async (frames, sprite) => track(viewOf(frames), sprite),
    async judge(frames, truth) {
      const view = viewOf(frames);
      const found = await verdict(view);
      const right = (head: Head): boolean => found[head].name === truth[head];
      const judged = { verdict: found, subject: right('subject'), scene: right('scene'), motion: right('motion') };
      if (!isDirection(truth.motion)) return judged;
      const { direction, peaks } = await track(view, truth);
      return { ...judged, direction: direction === truth.motion, peak: peaks.reduce((sum, peak) => sum + peak, 0) / peaks.length };
    },
    async dispose() {
      await probe.dispose();
      await tracker.dispose();
    },
  };
}
