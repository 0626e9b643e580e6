// Whether the rows of a plan are what a `Plan` promises: for methods whose selectors are not known to be right.
import type { Backend } from '../backend/backend.ts';
import { checkPlan } from './checks.ts';
import type { Layout, Plan } from './plan.ts';

/**
 * The density of a plan, once its rows are read back and found to be in order.
 * @throws TypeError for what is no plan and RangeError for shapes that do not fit, both at once; rejects with a RangeError that names the head
 * and the query block of the first row that is wrong.
 */
export function checkedDensity(ops: Backend, plan: Plan, heads: number, layout: { q: Layout; k: Layout }): Promise<number> {
  if (!plan?.counts || !plan.blocks || !Array.isArray(plan.levels))
    throw new TypeError('the selector of the method returned no plan; return { counts, blocks, levels }, as ops.select does');
  checkPlan(plan, heads, layout);
  const known = Promise.all([ops.density(plan, layout), ops.read(plan.counts), ops.read(plan.blocks)]);
  return known.then(([density, counts, blocks]) => {
    checkRows(counts, blocks, plan, layout);
    return density;
  });
}

/** @throws RangeError for the first row that is empty, counts more than it lists, or names a block that there is not or twice. */
function checkRows(counts: ArrayLike<number>, blocks: ArrayLike<number>, plan: Plan, layout: { q: Layout; k: Layout }): void {
  const levels = plan.levels.length;
  const width = plan.blocks.shape[2];
  for (let row = 0; row < counts.length / levels; row++) {
    const own = Array.from({ length: levels }, (_, level) => counts[row * levels + level]);
    const read = own.reduce((sum, count) => sum + count, 0);
    const listed = Array.from({ length: Math.min(read, width) }, (_, at) => blocks[row * width + at]);
    const wrong = wrongWith(own, read, listed, width, layout.k.blocks);
    if (wrong === undefined) continue;
    const where = `head ${Math.floor(row / layout.q.blocks)}, query block ${row % layout.q.blocks}`;
    throw new RangeError(`the plan of the method is invalid at ${where}: ${wrong}`);
  }
}

function wrongWith(own: readonly number[], read: number, listed: readonly number[], width: number, keyBlocks: number): string | undefined {
  if (own.some((count) => count < 0)) return `a level counts ${Math.min(...own)} blocks; counts are 0 or more`;
  if (read === 0) return 'it reads no key block; every row needs at least one';
  if (own[0] === keyBlocks && read === keyBlocks) return undefined; // read whole: there need be no list
  if (read > width) return `it counts ${read} key blocks and lists ${width}`;
  const strange = listed.find((block) => !(block >= 0 && block < keyBlocks));
  if (strange !== undefined) return `it names key block ${strange}; there are ${keyBlocks}, from 0`;
  const twice = listed.find((block, at) => listed.indexOf(block) !== at);
  return twice === undefined ? undefined : `it names key block ${twice} twice, whose mass would count twice`;
}
