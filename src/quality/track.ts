// Finds a sprite in a view by normalised cross-correlation, without learning, and names the way it moves. Twin of samples/train/track.py.
import type { InferenceSession } from 'onnxruntime-common';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Runtime } from '../backend/runtime.ts';
import { HEADINGS, type Templates } from './sprites.ts';
import { VIEW_FRAMES, VIEW_SIZE } from './view.ts';

export type Direction = keyof typeof HEADINGS;

/** Whether a motion goes one way, so that tracking can judge it. */
export const isDirection = (motion: string): motion is Direction => Object.hasOwn(HEADINGS, motion);

export interface Track {
  /** undefined when it moves less than 0.06 of a frame. */
  readonly direction?: Direction;
  /** Where it is in each frame of the view, in frame widths and heights from the top left. */
  readonly path: readonly { readonly x: number; readonly y: number }[];
  /** Correlation at those places, at most 1. */
  readonly peaks: readonly number[];
}

export interface Tracker {
  track(view: Float32Array, templates: Templates): Promise<Track>;
  dispose(): Promise<void>;
}

/** A tracker; it keeps one session for each size of templates. */
export function createTracker(runtime: Runtime): Tracker {
  const sessions = new Map<string, Promise<InferenceSession>>();
  const sessionOf = ({ count, side }: Templates): Promise<InferenceSession> => {
    const key = `${count} ${side}`;
    const session = sessions.get(key) ?? runtime.session(correlation(count, side));
    sessions.set(key, session);
    return session;
  };
  return {
    async track(view, templates) {
      const { best } = await (await sessionOf(templates)).run(feeds(view, templates, runtime));
      return trackOf(best.data as Float32Array);
    },
    async dispose() {
      for (const session of sessions.values()) await (await session).release();
    },
  };
}

/** Least travel that has a direction, in frame widths. */
const LEAST = 0.06;

/** Reads the largest correlation of every frame, [8, 128, 128]. */
function trackOf(best: Float32Array): Track {
  const frames = Array.from({ length: VIEW_FRAMES }, (_, at) => {
    const own = best.subarray(at * VIEW_SIZE ** 2, (at + 1) * VIEW_SIZE ** 2);
    const place = own.reduce((most, value, i) => (value > own[most] ? i : most), 0);
    return { x: (place % VIEW_SIZE) / VIEW_SIZE, y: Math.floor(place / VIEW_SIZE) / VIEW_SIZE, peak: own[place] };
  });
  const travel = (axis: 'x' | 'y'): number => {
    const middle = (three: readonly { x: number; y: number }[]) => three.map((one) => one[axis]).sort((a, b) => a - b)[1];
    return middle(frames.slice(-3)) - middle(frames.slice(0, 3));
  };
  const [dx, dy] = [travel('x'), travel('y')];
  const along: Direction = Math.abs(dx) > Math.abs(dy) ? (dx > 0 ? 'right' : 'left') : dy > 0 ? 'down' : 'up';
  const moves = Math.max(Math.abs(dx), Math.abs(dy)) >= LEAST;
  return { ...(moves && { direction: along }), path: frames.map(({ x, y }) => ({ x, y })), peaks: frames.map(({ peak }) => peak) };
}

/** Templates without their mean under the mask, and the numbers that the correlation is divided by. */
function feeds(view: Float32Array, { count, side, colour, mask }: Templates, { Tensor }: Runtime) {
  const area = side ** 2;
  const [centred, pixels, energy] = [new Float32Array(colour.length), new Float32Array(count), new Float32Array(count)];
  for (let one = 0; one < count; one++) {
    const opaque = mask.subarray(one * area, (one + 1) * area);
    const [own, to] = [colour, centred].map((all) => all.subarray(one * 3 * area, (one + 1) * 3 * area));
    pixels[one] = 3 * opaque.reduce((sum, value) => sum + value, 0);
    const mean = own.reduce((sum, value, i) => sum + value * opaque[i % area], 0) / pixels[one];
    for (let i = 0; i < own.length; i++) to[i] = (own[i] - mean) * opaque[i % area];
    energy[one] = to.reduce((sum, value) => sum + value ** 2, 0);
  }
  return {
    view: new Tensor('float32', view, [VIEW_FRAMES, 3, VIEW_SIZE, VIEW_SIZE]),
    template: new Tensor('float32', centred, [count, 3, side, side]),
    mask: new Tensor('float32', mask, [count, 1, side, side]),
    pixels: new Tensor('float32', pixels, [1, count, 1, 1]),
    energy: new Tensor('float32', energy, [1, count, 1, 1]),
  };
}

/** `best` [8, 128, 128]: the largest correlation of any template with what lies around each place; variance under the mask counts at least 0.01. */
function correlation(count: number, side: number): Uint8Array {
  const graph = new OnnxGraph();
  const view = graph.input('view', 'f32', [VIEW_FRAMES, 3, VIEW_SIZE, VIEW_SIZE]);
  const template = graph.input('template', 'f32', [count, 3, side, side]);
  const mask = graph.input('mask', 'f32', [count, 1, side, side]);
  const [pixels, energy] = ['pixels', 'energy'].map((name) => graph.input(name, 'f32', [1, count, 1, 1]));
  const half = side / 2;
  const around = (x: string, kernel: string): string => graph.node('Conv', [x, kernel], { pads: [half, half, half - 1, half - 1] });
  const total = (x: string): string => graph.node('ReduceSum', [x, graph.ints([1])]);
  const sum = around(total(view), mask);
  const squares = around(total(graph.node('Mul', [view, view])), mask);
  const variance = graph.node('Sub', [squares, graph.node('Div', [graph.node('Mul', [sum, sum]), pixels])]);
  const scale = graph.node('Mul', [graph.node('Max', [variance, graph.scalar(0.01)]), energy]);
  const score = graph.node('Div', [around(view, template), graph.node('Sqrt', [scale])]);
  graph.node('ReduceMax', [score, graph.ints([1])], { keepdims: 0 }, '', 'best');
  graph.output('best', 'f32', [VIEW_FRAMES, VIEW_SIZE, VIEW_SIZE]);
  return graph.build();
}
