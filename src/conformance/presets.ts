// Checks of every preset over a short run: dense, search and reuse as the schedule wants, each output held to f64 by the plan it was computed
// with, and that plan to the one that f64 finds. Grids do not divide; text or none, one block or many.
import { createAttention } from '../attention.ts';
import type { Backend } from '../backend/backend.ts';
import type { Method } from '../method.ts';
import { withQueryBlocks } from '../method-queries.ts';
import { catalogue } from '../methods/catalogue.ts';
import { adaSpa, pyramidSparse } from '../methods/published.ts';
import { svg2 } from '../methods/published-clusters.ts';
import { clusters } from '../search/clusters.ts';
import { raster } from '../sparse3d/layout.ts';
import { type Grid, type Plan, tokensOf } from '../sparse3d/plan.ts';
import type { Numbers } from '../tensor.ts';
import { attentionBounds } from './attention.ts';
import { type Check, difference, type Measured, type Size, unlessUnsupported, worst } from './check.ts';
import { valuesOf } from './host-tensor.ts';
import { numbers, type Storage, stored } from './inputs.ts';
import { type PlanNumbers, planDifference } from './plans.ts';
import { referenceBackend } from './reference-backend.ts';

const STEPS = 4;
const HEADS = 2;
const DIM = 24;

const grids: readonly (Grid & { readonly size: Size })[] = [
  { frames: 3, height: 5, width: 7, text: 5, size: 'small' },
  { frames: 4, height: 6, width: 7, text: 9, size: 'large' },
  { frames: 1, height: 3, width: 5, text: 0, size: 'medium' },
];

const sparse = catalogue.map(({ preset }) => preset()).filter(({ name }) => name !== 'dense');
const [small, large] = grids;

/** The methods of the catalogue with their own numbers, and in query blocks of twice as many tokens as key blocks. */
export const presetChecks = (storage: Storage): readonly Check[] => [
  ...sparse.flatMap((method) => grids.map((grid) => presetCheck(method.name, method, grid, storage))),
  ...sparse
    .filter(({ layout }) => !layout.byHead)
    .map((method) => presetCheck(`${method.name} by 128 queries`, withQueryBlocks(method), large, storage)),
  presetCheck('adaSpa by 32 queries and 16 keys', withQueryBlocks({ ...adaSpa(), layout: raster(16) }, 32), small, storage),
  presetCheck('svg2 in small clusters', { ...svg2(), layout: clusters({ queryBlock: 8, keyBlock: 8 }) }, small, storage),
  presetCheck('pyramidSparse by rank', pyramidSparse({ sparsity: 0.7, denseSteps: 0.6 }), small, storage),
];

function presetCheck(name: string, method: Method, { size, ...grid }: (typeof grids)[number], storage: Storage): Check {
  const { frames, height, width, text } = grid;
  return {
    name: `preset ${name}, ${STEPS} steps of ${frames} x ${height} x ${width}${text > 0 ? ' and text' : ''}`,
    size,
    run: (ops) =>
      unlessUnsupported(async () => {
        const { outputs, plans } = await drive(ops, { ...method, checkPlans: true }, grid, storage);
        if (plans.length === 0) throw new Error(`${name} made no plan in ${STEPS} steps`);
        const differences: number[] = [];
        const twin = await drive(referenceBackend, method, grid, storage, (plan) => {
          const used = plans[differences.length];
          const own = { counts: Int32Array.from(valuesOf(plan.counts)), blocks: Int32Array.from(valuesOf(plan.blocks)) };
          differences.push(planDifference(used, own, plan, plan.keyBlocks ?? plan.blocks.shape[2]));
          const [heads, queryBlocks] = plan.counts.shape;
          const upload = (x: Numbers) => referenceBackend.upload(x, [heads, queryBlocks, x.length / heads / queryBlocks]);
          return { ...plan, counts: upload(used.counts), blocks: upload(used.blocks) };
        });
        return worst([...outputs.map((out, step) => outputAt(step, out, twin.outputs[step], storage)), plansDiffer(differences)]);
      }),
  };
}

function outputAt(step: number, out: Numbers, expected: Numbers, storage: Storage): Measured {
  return { what: `out at step ${step}`, error: difference(out, expected, true), tolerance: attentionBounds(storage, true).out.tolerance };
}

/** Scores so near to each other that rounding decides are rare. */
const plansDiffer = (shares: readonly number[]): Measured => ({
  what: 'plan',
  error: shares.reduce((sum, share) => sum + share, 0) / shares.length,
  tolerance: 0.05,
});

interface Run {
  readonly outputs: readonly Numbers[];
  readonly plans: readonly PlanNumbers[];
}

/** Runs a method over a few steps, and notes by what plans it attended; `swap` puts another plan in the place of one. */
async function drive(ops: Backend, method: Method, grid: Grid, storage: Storage, swap = (plan: Plan): Plan => plan): Promise<Run> {
  const used: Promise<PlanNumbers>[] = [];
  const watched: Backend = {
    ...ops,
    attend(q, k, v, plan, ...rest) {
      used.push(Promise.all([ops.read(plan.counts), ops.read(plan.blocks)]).then(([counts, blocks]) => ({ counts, blocks })));
      return ops.attend(q, k, v, swap(plan), ...rest);
    },
  };
  const { attention, take, reset } = createAttention(watched, method);
  const outputs: Numbers[] = [];
  for (let step = 0; step < STEPS; step++) {
    const [q, k, v] = [3, 4, 5].map((seed) => stored(ops, storage, drifting(tokensOf(grid), seed, step), [HEADS, tokensOf(grid), DIM]));
    const out = attention(q, k, v, { step, steps: STEPS, layer: 3, layers: 6, branches: [0], grid });
    outputs.push(await ops.read(out));
    await take();
    for (const tensor of [q, k, v, out]) ops.release(tensor);
  }
  reset();
  return { outputs, plans: await Promise.all(used) };
}

/** Numbers that change a little from step to step, as in a denoising run. */
function drifting(tokens: number, seed: number, step: number): Float32Array {
  const length = HEADS * tokens * DIM;
  const change = numbers(length, 1000 * seed + step, 0.1);
  return numbers(length, seed).map((x, at) => x + change[at]);
}
