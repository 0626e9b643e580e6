// Whether videos show what their prompts ask for, by the judge of the embedded model, where a model has that vocabulary.
import { loadJudge } from '../../quality/judge.ts';
import { HEADS, type Truth } from '../../quality/prompts.ts';
import { drawingFailure } from '../../quality/sprites.ts';
import { isDirection } from '../../quality/track.ts';
import { VIEW_FRAMES } from '../../quality/view.ts';
import type { Frame } from '../../video/frame.ts';
import type { Vocabulary } from '../../vocabulary.ts';
import type { Adherence } from './case.ts';

export interface Judging {
  judge(frames: readonly Frame[], truth: Truth): Promise<Adherence>;
  /** What is not judged, and why; absent when everything is. */
  readonly without?: string;
  dispose(): Promise<void>;
}

/**
 * Opens the judge for a model with this vocabulary and videos of so many frames, or says why there is none. Tracking draws sprites with sharp,
 * which may not be installed: the direction is left out then.
 */
export async function openJudging(vocabulary: Vocabulary | undefined, numFrames: number): Promise<Judging | string> {
  if (!vocabulary) return 'adherence is not judged: this model does not say what it was trained on';
  if (numFrames < VIEW_FRAMES) return `adherence is not judged: that takes ${VIEW_FRAMES} frames, and a video has ${numFrames}`;
  const judge = await loadJudge().catch((error: Error) => error);
  if (judge instanceof Error) return `adherence is not judged: ${judge.message.replace(/\.$/, '')}`;
  const strange = judge.world.subjects.find(({ name }) => !vocabulary.subjects.includes(name));
  if (strange) {
    await judge.dispose();
    return `adherence is not judged: this model does not know "${strange.name}", which the judge does`;
  }
  const failure = await drawingFailure();
  return {
    async judge(frames, truth) {
      const verdict = await judge.verdict(frames);
      const [subject, scene, motion] = HEADS.map((head) => verdict[head].name === truth[head]);
      if (failure !== undefined || !isDirection(truth.motion)) return { subject, scene, motion };
      const { direction } = await judge.track(frames, truth);
      return { subject, scene, motion, direction: direction === truth.motion };
    },
    ...(failure !== undefined && { without: `directions are not tracked, because ${failure}` }),
    dispose: () => judge.dispose(),
  };
}
