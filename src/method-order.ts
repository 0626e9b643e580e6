// The token orders of a method: of one call, whether layers that share a plan have the same, and whether a whole forward has one, so that a model
// may keep it from its first layer to its last.
import type { Layouts, Method, Site } from './method.ts';
import { perLayouts } from './search/tables.ts';
import { isWorthKeeping } from './sparse3d/order.ts';
import { type Layout, PAD, slotCount } from './sparse3d/plan.ts';

/**
 * The order of a method's forwards, that of its queries, or undefined: where layers, steps or branches of a run differ in it, the tokens of
 * queries and of keys are not in one order, no call is ever sparse, or keeping it costs more than it saves. All forwards of a run get the same
 * answer, so a model needs no second set of weights.
 */
export function keptOrder(method: Method): (forward: Omit<Site, 'layer' | 'layout'>) => Layout | undefined {
  const known = new Map<string, Layout | undefined>();
  return ({ steps, layers, branches, grid }) => {
    const key = [steps, layers, branches, grid.frames, grid.height, grid.width, grid.text].join('/');
    if (!known.has(key)) known.set(key, onlyOrder(method, sitesOf({ steps, layers, branches, grid })));
    return known.get(key);
  };
}

/** The order of queries and of keys in one call. */
export function layoutsOf(method: Method, site: Site): Layouts {
  const made = method.layout(site.grid, site);
  return 'q' in made ? made : { q: made, k: made };
}

/** Whether tokens in an order are in that of a call's queries, and but for padding behind the last one in that of its keys. */
export const isOrderOf = (order: Layout, layouts: Layouts): boolean => order === layouts.q && shareOrder(layouts);

const shareOrder = perLayouts(
  ({ q, k }) =>
    q === k ||
    (q.order.length >= k.order.length && q.order.every((token, slot) => token === (slot < k.order.length ? k.order[slot] : PAD))),
);

/** A gather that leaves of rows in the order of queries those that keys have slots for, or undefined where these are all. */
export const keysOf = perLayouts(({ q, k }): Layout | undefined => {
  const slots = slotCount(k);
  if (slots === slotCount(q)) return undefined;
  const { block, blocks } = k;
  return {
    ...{ name: `the slots of ${k.name}`, grid: { frames: slotCount(q), height: 1, width: 1, text: 0 }, block, blocks, videoBlocks: blocks },
    ...{ order: Int32Array.from({ length: slots }, (_, slot) => slot), counts: new Int32Array(blocks).fill(block) },
  };
});

/** @throws RangeError when a layer follows the plan of another one whose blocks hold other tokens. */
export function checkPlanLayer(method: Method, site: Site, { q, k }: Layouts): void {
  const planLayer = method.schedule.planLayer?.(site) ?? site.layer;
  if (planLayer === site.layer) return;
  const other = layoutsOf(method, { ...site, layer: planLayer });
  if (other.q !== q || other.k !== k)
    throw new RangeError(
      `layer ${site.layer} follows the plan of layer ${planLayer}, whose tokens are in the order ${other.q.name}, not ${q.name}; give all layers one layout, or let each search`,
    );
}

function onlyOrder(method: Method, sites: readonly Site[]): Layout | undefined {
  if (method.layout.byHead || sites.every((site) => method.schedule(site) === 'dense')) return undefined;
  let order: Layouts | undefined;
  for (const site of sites) {
    const own = layoutsOf(method, site);
    order ??= own;
    if (own.q !== order.q || own.k !== order.k) return undefined;
  }
  return order && isOrderOf(order.q, order) && isWorthKeeping(order.q) ? order.q : undefined;
}

/** Every call of a run, branch by branch. */
function sitesOf({ steps, layers, branches, grid }: Omit<Site, 'step' | 'layer' | 'layout'>): Site[] {
  return Array.from({ length: steps * layers }, (_, at) => ({ step: Math.floor(at / layers), layer: at % layers })).flatMap((place) =>
    branches.map((branch) => ({ ...place, steps, layers, branches: [branch], grid })),
  );
}
