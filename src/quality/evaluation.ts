// How well the embedded model follows its prompts: clips are made and judged one by one, and the judgements become shares with intervals.
import type { TextToVideoPipeline } from '../pipeline.ts';
import type { Frame } from '../video/frame.ts';
import { flicker } from './frames.ts';
import { type Interval, shareInterval } from './interval.ts';
import type { Judge, Judgement } from './judge.ts';
import { HEADS, type Head, type TruePrompt, type Truth } from './prompts.ts';

/** A clip that was made and judged. */
export interface JudgedClip extends TruePrompt, Judgement {
  readonly seed: number;
  readonly flicker: number;
  readonly seconds: number;
}

/** Settings of the clips; what is left out is the model's own. */
export interface ClipSettings {
  readonly width?: number;
  readonly height?: number;
  readonly numFrames?: number;
  readonly numInferenceSteps?: number;
}

/** Makes a clip and judges it. */
export async function judgedClip(
  pipe: TextToVideoPipeline,
  judge: Judge,
  prompt: TruePrompt,
  options: ClipSettings & { readonly seed: number; readonly signal?: AbortSignal },
): Promise<JudgedClip> {
  const start = performance.now();
  const frames: Frame[] = [];
  for await (const frame of pipe(prompt.text, options)) frames.push(frame);
  const seconds = (performance.now() - start) / 1000;
  return { ...prompt, ...(await judge.judge(frames, prompt.truth)), seed: options.seed, flicker: flicker(frames), seconds };
}

/** The figures of some clips. */
export interface AdherenceFigures {
  readonly clips: number;
  readonly heads: Readonly<Record<Head, Interval>>;
  /** Of tracking; absent without a prompt whose motion has a direction. */
  readonly direction?: Interval;
  readonly flicker: number;
  /** The same clips judged against the next clip's prompt: what chance gives. Absent for one clip. */
  readonly shuffled?: Readonly<Record<Head, Interval>>;
}

/** @throws RangeError without clips. */
export function adherenceOf(clips: readonly JudgedClip[]): AdherenceFigures {
  if (clips.length === 0) throw new RangeError('There are no judged clips; judge at least 1.');
  const share = (hits: readonly boolean[]): Interval => shareInterval(hits.filter(Boolean).length, hits.length);
  const against = (truthOf: (at: number) => Truth) =>
    Object.fromEntries(
      HEADS.map((head) => [head, share(clips.map(({ verdict }, at) => verdict[head].name === truthOf(at)[head]))]),
    ) as Record<Head, Interval>;
  const tracked = clips.flatMap(({ direction }) => (direction === undefined ? [] : [direction]));
  return {
    clips: clips.length,
    heads: against((at) => clips[at].truth),
    ...(tracked.length > 0 && { direction: share(tracked) }),
    flicker: clips.reduce((sum, clip) => sum + clip.flicker, 0) / clips.length,
    ...(clips.length > 1 && { shuffled: against((at) => clips[(at + 1) % clips.length].truth) }),
  };
}

/** Figures of real renders and of what the VAE makes of them: the ceiling of a model. Shares 0..1. */
export interface Anchor {
  readonly clips: number;
  readonly heads: Readonly<Record<Head, number>>;
  readonly direction: number;
  readonly flicker: number;
}

/** The anchors of a size and split in the eval.json that training wrote beside the model; none when it has not measured them. */
export function anchorsOf(evaluation: unknown, size: string, split: TruePrompt['split']): Readonly<Record<string, Anchor>> {
  const sizes = (evaluation as { sizes?: Record<string, Record<string, Record<string, Measured>>> } | undefined)?.sizes;
  const found = sizes?.[size]?.[split === 'seen' ? 'anchors_seen' : 'anchors_held_out'] ?? {};
  return Object.fromEntries(
    Object.entries(found).map(([name, { n, probe, tracked_direction: direction, flicker }]) => {
      const heads = Object.fromEntries(HEADS.map((head) => [head, probe[head].mean])) as Record<Head, number>;
      return [name, { clips: n, heads, direction: direction.accuracy, flicker }];
    }),
  );
}

interface Measured {
  readonly n: number;
  readonly probe: Readonly<Record<Head, { readonly mean: number }>>;
  readonly tracked_direction: { readonly accuracy: number };
  readonly flicker: number;
}
