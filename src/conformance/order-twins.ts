// Orders of each head's own, as the naive twins find them, on tensors of the reference backend.
import type { Ordering } from '../backend/ordering.ts';
import { checkByLabel, checkByWeight, checkLabelMeans, checkNearest, videoOf } from '../search/orders.ts';
import { oneHead, ordersFrom, withHeads } from '../sparse3d/heads.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { meanOf, rowsOf } from '../sparse3d/reference.ts';
import type { Tensor } from '../tensor.ts';
import { type HostTensor, headsOf, make, valuesOf } from './host-tensor.ts';

const rowsIn = (x: Tensor): number[][] => rowsOf(valuesOf(x), 1, x.shape[1])[0];
const distance = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, at) => sum + (x - b[at]) ** 2, 0);
const cut = (tokens: readonly number[], block: number): number[][] =>
  tokens.flatMap((_, at) => (at % block === 0 ? [tokens.slice(at, at + block)] : []));

/** `Ordering` in f64. */
export const orderTwins: Ordering = {
  nearest(x, centers, tokens) {
    checkNearest(x, centers, tokens);
    const all = headsOf(centers as HostTensor);
    const labels = headsOf(x as HostTensor).flatMap((rows, head) =>
      rows.slice(0, tokens).map((row) => {
        const far = all[head].map((center) => distance(row, center));
        return far.indexOf(Math.min(...far));
      }),
    );
    return make([x.shape[0], tokens], labels, 'i32');
  },
  labelMeans(x, labels, centers) {
    checkLabelMeans(x, labels, centers);
    const [own, all] = [rowsIn(labels), headsOf(x as HostTensor)];
    const means = headsOf(centers as HostTensor).flatMap((rows, head) =>
      rows.map((center, label) => {
        const members = all[head].filter((_, token) => own[head][token] === label);
        return members.length > 0 ? meanOf(members) : center;
      }),
    );
    return make(centers.shape, means.flat());
  },
  byLabel(labels, count, shape) {
    checkByLabel(labels, shape);
    const blocks = rowsIn(labels).map((own) =>
      Array.from({ length: count }, (_, label) => own.flatMap((other, token) => (other === label ? [token] : []))).flatMap((tokens) =>
        cut(tokens, shape.block),
      ),
    );
    return ordered(shape, blocks, true);
  },
  byWeight(weights, shape) {
    checkByWeight(weights, shape);
    const blocks = rowsIn(weights).map((own) => {
      const tokens = Array.from({ length: videoOf(shape) }, (_, token) => token);
      return cut(
        tokens.sort((a, b) => own[b] - own[a] || a - b),
        shape.block,
      );
    });
    return ordered(shape, blocks, false);
  },
};

function ordered(shape: Layout, blocks: readonly (readonly (readonly number[])[])[], differ: boolean): Layout {
  const known = blocks.map((own) => ordersFrom(shape, own));
  const layouts = known.map(({ order, counts }) => oneHead(shape, { order: () => order, counts: () => counts }));
  const counts = known.flatMap((own) => [...own.counts]);
  return withHeads(shape, {
    layouts,
    ...(differ && {
      counts: make([known.length, shape.blocks], counts, 'i32'),
      lnCounts: make([known.length, 1, shape.blocks], counts.map(Math.log)),
    }),
  });
}
