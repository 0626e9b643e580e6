// How wide the rows of a plan are: what the levels and budgets can ask for at most, and what is forced beside it.
import type { Selection } from '../backend/backend.ts';

/** Head budgets are factors up to this; see `headBudgets`. */
const LARGEST_BUDGET = 1.5;

/** ceil(share * count), forgiving the rounding of shares such as 1 - 0.7, which would add a block. */
export const ceilShare = (share: number, count: number): number => Math.ceil(share * count * (1 - 1e-6));

/** What of a selection decides how wide rows are. */
type Promised = Pick<Selection, 'measure' | 'over' | 'levels' | 'floor' | 'ceiling' | 'forced'> & { readonly budgets?: unknown };

/**
 * Key blocks that a row of a selection lists at most, from 1 to kBlocks. Known, when it is known how many blocks are forced, for rank cuts of a
 * row, and for one level with a ceiling; a row that asks for more is read whole. Other measures promise nothing.
 */
export function planWidth({ measure, over = 'row', levels, floor = 0, ceiling = 1, budgets, forced }: Promised, kBlocks: number): number {
  if (forced === undefined) return kBlocks;
  const asked = measure === 'rank' && over === 'row' ? levels[levels.length - 1].upTo * (budgets ? LARGEST_BUDGET : 1) : 1;
  const cut = levels.length === 1 ? Math.min(asked, ceiling) : asked;
  // One more than the share of it: f32 and f64 may round to either side.
  return Math.max(1, Math.min(kBlocks, forced + ceilShare(Math.max(floor, cut), kBlocks) + 1));
}
