// Methods that need training, in the form that works without: the idea of a stage is taken, what is learned is left out.
import type { Method } from '../method.ts';
import { upTo } from '../search/levels.ts';
import { forced, pattern } from '../search/pattern.ts';
import { firstFrame, ownBlock, shards } from '../search/patterns.ts';
import { searchOnce } from '../search/schedule.ts';
import { tiles } from '../sparse3d/layout.ts';

/**
 * S2-Attention (of its abstract), untrained: each head reads another quarter of the key blocks, the union is everything. Departs: the rule of
 * the shards, the adjacent blocks, the first frame and the dense .2 of the steps are ours.
 */
export const s2 = ({ shares = 4 } = {}): Method => ({
  name: 's2',
  layout: tiles(4, 4, 4),
  score: pattern(shards({ of: shares }), ownBlock({ reach: 1 }), firstFrame()),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.2 }),
});
