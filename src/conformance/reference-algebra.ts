// The naive twins of operations on score tables, in f64 from their definitions, never optimised.
import type { Algebra } from '../backend/algebra.ts';
import {
  broadcastOf,
  checkFloats,
  checkPick,
  checkProduct,
  checkReshape,
  checkStep,
  checkTop,
  forcingOf,
} from '../search/algebra-checks.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { meanOf, type Rows, rowsOf } from '../sparse3d/reference.ts';
import { elements, type Tensor } from '../tensor.ts';
import { make, valuesOf } from './host-tensor.ts';

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, at) => sum + x * b[at], 0);
const finite = (row: readonly number[]): number[] => row.filter(Number.isFinite);
const total = (row: readonly number[]): number => row.reduce((sum, x) => sum + x, 0);

/** Rows along the last axis. */
function linesOf(x: Tensor): number[][] {
  const size = x.shape[x.shape.length - 1];
  return Array.from({ length: elements(x.shape) / size }, (_, row) => valuesOf(x).slice(row * size, (row + 1) * size));
}

const headsOf = (x: Tensor): Rows[] => rowsOf(valuesOf(x), x.shape[0], x.shape[2]);
const eachLine = (x: Tensor, line: (row: number[]) => readonly number[]): Tensor => make(x.shape, linesOf(x).flatMap(line));
const isReal = ({ block, counts }: Layout, slot: number): boolean => slot % block < counts[Math.floor(slot / block)];

function direction(token: readonly number[]): readonly number[] {
  const length = Math.sqrt(dot(token, token));
  return length > 0 ? token.map((x) => x / length) : token;
}

function shares(row: readonly number[]): number[] {
  const largest = Math.max(...finite(row));
  const sum = total(finite(row).map((x) => Math.exp(x - largest)));
  return row.map((x) => (Number.isFinite(x) ? Math.exp(x - largest) / sum : Math.max(0, x)));
}

function stretched(row: readonly number[]): number[] {
  const [least, largest] = [Math.min(...finite(row)), Math.max(...finite(row))];
  return row.map((x) => (Number.isFinite(x) ? (largest > least ? (x - least) / (largest - least) : 1) : x));
}

/** A row's number as if every axis of its tensor were as long as those of `shape`, with four axes each. */
function spread(x: Tensor, shape: readonly number[], steps: readonly number[]): number[] {
  const [first, second, third, fourth] = shape;
  const values: number[] = [];
  for (let a = 0; a < first; a++)
    for (let b = 0; b < second; b++)
      for (let c = 0; c < third; c++)
        for (let d = 0; d < fourth; d++) values.push(valuesOf(x)[a * steps[0] + b * steps[1] + c * steps[2] + d * steps[3]]);
  return values;
}

const decided = (x: number, y: number, of: (x: number, y: number) => number): number =>
  Number.isFinite(y) ? (Number.isFinite(x) ? of(x, y) : x) : y;

/** `Algebra` in f64. */
export const referenceAlgebra: Algebra = {
  blockMeans(x, layout, { normalized = false } = {}) {
    const means = headsOf(x).flatMap((head) =>
      Array.from({ length: layout.blocks }, (_, block) => {
        const tokens = head.slice(block * layout.block, block * layout.block + layout.counts[block]);
        if (tokens.length === 0) return new Array<number>(x.shape[2]).fill(0);
        return meanOf(normalized ? tokens.map(direction) : tokens);
      }),
    );
    return make([x.shape[0], layout.blocks, x.shape[2]], means.flat());
  },
  center(x, layout) {
    const centered = headsOf(x).map((head) => {
      const mean = meanOf(head.filter((_, slot) => isReal(layout, slot)));
      return head.map((token, slot) => token.map((number, at) => (isReal(layout, slot) ? number - mean[at] : 0)));
    });
    return make(x.shape, centered.flat(2), x.dtype);
  },
  product(a, b, scale) {
    checkProduct(a, b);
    const others = headsOf(b);
    const products = headsOf(a).flatMap((rows, head) =>
      rows.flatMap((row) => others[others.length > 1 ? head : 0].map((other) => scale * dot(row, other))),
    );
    return make([a.shape[0], a.shape[1], b.shape[1]], products);
  },
  softmax: (x) => eachLine(x, shares),
  minMax: (x) => eachLine(x, stretched),
  reduce(x, how) {
    checkFloats('reduce', x);
    const one = {
      sum: (row: number[]) => total(finite(row)),
      max: (row: number[]) => Math.max(...row),
      mean: (row: number[]) => total(finite(row)) / Math.max(1, finite(row).length),
    };
    return make(x.shape.slice(0, -1), linesOf(x).map(one[how]));
  },
  argmax: (x) =>
    make(
      x.shape.slice(0, -1),
      linesOf(x).map((row) => row.indexOf(Math.max(...row))),
      'i32',
    ),
  top(x, count) {
    checkTop(count);
    const isAhead = (row: number[], other: number, at: number) => row[other] > row[at] || (row[other] === row[at] && other < at);
    return eachLine(x, (row) =>
      row.map((number, at) => Number(number > -Infinity && row.filter((_, other) => isAhead(row, other, at)).length < count)),
    );
  },
  step(x, threshold, below, otherwise) {
    checkStep(threshold);
    return make(
      x.shape,
      valuesOf(x).map((number) => (number < threshold ? below : otherwise)),
    );
  },
  multiply(a, b) {
    const { shape, sizes, a: stepA, b: stepB } = broadcastOf('multiply', a, b);
    const by = spread(b, sizes, stepB);
    return make(
      shape,
      spread(a, sizes, stepA).map((x, at) => decided(x, by[at], (one, other) => one * other)),
    );
  },
  force(scores, force) {
    const { shape, sizes, a: stepA, b: stepB } = forcingOf(scores, force);
    const by = spread(force, sizes, stepB);
    return make(
      shape,
      spread(scores, sizes, stepA).map((x, at) => decided(x, by[at], (one, other) => one + other)),
    );
  },
  pick(tables, choice) {
    checkPick(tables, choice);
    const [choices, ...shape] = tables.shape;
    const each = valuesOf(choice).map((chosen) => rowsOf(valuesOf(tables), choices, shape[1])[Math.min(Math.max(chosen, 0), choices - 1)]);
    return make([choice.shape[0], ...shape], each.flat(2));
  },
  reshape(x, shape) {
    checkReshape(x, shape);
    return make(shape, valuesOf(x), x.dtype);
  },
};
